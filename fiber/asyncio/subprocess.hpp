// Child processes whose input, output and end are waited for. Python: asyncio.subprocess.
//
//   auto process = await(asyncio::create_subprocess_exec(
//       {"sort", "-r"}, {.stdin_ = asyncio::subprocess::PIPE, .stdout_ =
//       asyncio::subprocess::PIPE}));
//   auto [out, err] = await(process.communicate("a\nb\n"));   // out == "b\na\n"
//   process.returncode();                                     // 0
//
// The handles belong to one loop and its thread. A handle that was moved from may be assigned to;
// all functions throw ValueError.
#pragma once

#include <fiber/asyncio/environment.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fiber::asyncio {

namespace subprocess {

/// The source or target of a standard stream of the child: a descriptor, or one of the constants
/// below.
class Redirection {
 public:
  /// The kind of the source or target.
  enum class Kind : std::uint8_t { inherit, pipe, null, stdout_, descriptor };
  constexpr Redirection() noexcept = default;  ///< that of this process
  /// Uses a descriptor, which stays the caller's.
  constexpr Redirection(int fd) noexcept  // NOLINT(google-explicit-constructor)
      : kind_(Kind::descriptor), fd_(fd) {}
  constexpr explicit Redirection(Kind kind) noexcept : kind_(kind) {}
  constexpr Kind kind() const noexcept { return kind_; }  ///< where it leads
  constexpr int fd() const noexcept { return fd_; }       ///< -1 unless it leads to a descriptor

 private:
  Kind kind_ = Kind::inherit;
  int fd_ = -1;
};
inline constexpr Redirection PIPE{Redirection::Kind::pipe};     ///< a stream to this process
inline constexpr Redirection DEVNULL{Redirection::Kind::null};  ///< /dev/null
/// For stderr_: the target of stdout.
inline constexpr Redirection STDOUT{Redirection::Kind::stdout_};

}  // namespace subprocess

/// Keyword arguments of create_subprocess_exec and create_subprocess_shell.
struct CreateSubprocessOptions {
  subprocess::Redirection stdin_ = {};              ///< default: that of this process
  subprocess::Redirection stdout_ = {};             ///< default: that of this process
  subprocess::Redirection stderr_ = {};             ///< default: that of this process
  std::size_t limit = kDefaultStreamLimit;          ///< of the streams
  std::optional<std::string> cwd = {};              ///< default: that of this process
  std::optional<subprocess::Environment> env = {};  ///< default: that of this process
  bool start_new_session = false;                   ///< call setsid() in the child
};

namespace detail {
class ProcessObject;
}

/// A counted reference to a child process. Dropping the last one closes the child's stdin; the loop
/// still waits for the child's end, so that no zombie stays. A loop that is closed before kills the
/// child.
/// Python: asyncio.subprocess.Process.
class FIBER_API Process {
 public:
  pid_t pid() const;  ///< of the process, also after its end
  /// Returns nullopt while the child runs. Then the exit status, or -N if signal N ended it; 255,
  /// with a warning, if other code has taken the status.
  std::optional<int> returncode() const;
  /// Returns the writer to the child's stdin, if PIPE was asked for; else nothing.
  const std::optional<StreamWriter>& stdin_() const;
  const std::optional<StreamReader>& stdout_() const;  ///< with PIPE, else nothing
  const std::optional<StreamReader>& stderr_() const;  ///< with PIPE, else nothing

  /// Waits until the child has ended, whatever becomes of its pipes (as CPython from 3.15 on);
  /// returns its returncode. A child that fills a pipe without a reader does not end. Await it.
  auto wait() const {
    return detail::Deferred([self = *this] { return self.wait_now(); });
  }
  /// Writes the input, closes stdin, reads both outputs to their ends, waits; returns the outputs,
  /// "" for one that is not a pipe. Throws RuntimeError while another task reads one of them. If it
  /// throws, or is cancelled, the output so far is still to be read. Await it.
  auto communicate(std::string input = {}) const {
    return detail::Deferred([self = *this, input = std::move(input)]() mutable {
      return self.communicate_now(std::move(input));
    });
  }
  /// Sends a signal. Throws ProcessLookupError once the child has ended.
  void send_signal(int signal) const;
  void terminate() const;  ///< sends SIGTERM; throws as send_signal()
  void kill() const;       ///< sends SIGKILL; throws as send_signal()

  explicit Process(detail::ProcessObject& object);

 private:
  struct Handle;
  Handle& handle() const;  ///< throws ValueError if this was moved from
  int wait_now() const;
  std::pair<std::string, std::string> communicate_now(std::string input) const;
  std::shared_ptr<Handle> handle_;
};

namespace detail {
FIBER_API Process spawn_process(const std::vector<std::string>& command,
                                const CreateSubprocessOptions& options);
}

/// Starts a program, looked up in PATH (that of `env`, if given), with its arguments; command[0] is
/// the program. Throws FileNotFoundError, PermissionError and other OSErrors; ValueError for an
/// empty command, for zero bytes within one of the strings, and for an environment variable whose
/// name is empty or has a '='. Await it.
inline auto create_subprocess_exec(std::vector<std::string> command,
                                   CreateSubprocessOptions options = {}) {
  return detail::Deferred([command = std::move(command), options = std::move(options)] {
    return detail::spawn_process(command, options);
  });
}
/// Makes the shell run a command line. Await it.
inline auto create_subprocess_shell(std::string command, CreateSubprocessOptions options = {}) {
  return asyncio::create_subprocess_exec({"/bin/sh", "-c", std::move(command)}, std::move(options));
}

namespace subprocess {
using asyncio::Process;
}

}  // namespace fiber::asyncio
