// Child processes that call a protocol: loop.subprocess_exec and subprocess_shell. Without one, see
// create_subprocess_exec.
#pragma once

#include <fiber/asyncio/connections.hpp>
#include <fiber/asyncio/subprocess.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fiber::asyncio {

namespace detail {
class SubprocessObject;
}

/// A child process; see BaseTransport. Python: asyncio.SubprocessTransport.
class FIBER_API SubprocessTransport : public BaseTransport {
 public:
  SubprocessTransport() noexcept = default;
  pid_t get_pid() const;  ///< of the process, also after its end
  /// Returns nullopt while the child runs; see Process::returncode.
  std::optional<int> get_returncode() const;
  /// Returns the transport of the child's stdin (0), stdout (1) or stderr (2); a null handle if
  /// that is no pipe.
  Transport get_pipe_transport(int fd) const;
  /// Sends a signal. Throws ProcessLookupError once connection_lost() was called.
  void send_signal(int signal) const;
  void terminate() const;  ///< sends SIGTERM; throws as send_signal()
  void kill() const;       ///< sends SIGKILL; throws as send_signal()

  explicit SubprocessTransport(detail::SubprocessObject& object) noexcept;
};

/// Keyword arguments of loop.subprocess_exec and subprocess_shell; each as in
/// CreateSubprocessOptions, except that the streams are pipes by default.
struct SubprocessOptions {
  subprocess::Redirection stdin_ = subprocess::PIPE;   ///< default: a pipe
  subprocess::Redirection stdout_ = subprocess::PIPE;  ///< default: a pipe
  subprocess::Redirection stderr_ = subprocess::PIPE;  ///< default: a pipe
  std::optional<std::string> cwd = {};                 ///< default: that of this process
  std::optional<subprocess::Environment> env = {};     ///< default: that of this process
  bool start_new_session = false;                      ///< setsid()
};

namespace detail {
FIBER_API SubprocessTransport make_subprocess(LoopObject& loop, const protocol_factory& factory,
                                              const std::vector<std::string>& command,
                                              const SubprocessOptions& options);
}

template <class F, class Options>
auto EventLoop::subprocess_exec(F&& factory, std::vector<std::string> command,
                                const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory),
      [loop = *this, command = std::move(command), options](const detail::protocol_factory& make) {
        return detail::make_subprocess(loop.object(), make, command, options);
      });
}
template <class F, class Options>
auto EventLoop::subprocess_shell(F&& factory, std::string command, const Options& options) const {
  return subprocess_exec(std::forward<F>(factory),
                         std::vector<std::string>{"/bin/sh", "-c", std::move(command)}, options);
}

}  // namespace fiber::asyncio
