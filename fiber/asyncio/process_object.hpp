// A child process: the object behind the Process handles and the subprocess transports.
#pragma once

#include <fiber/asyncio/subprocess.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/core/own_fd.hpp>
#include <fiber/platform/process.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>
#include <unistd.h>

namespace fiber::asyncio::detail {

/// The child, from its start until its end is known. The loop holds a reference meanwhile. The
/// object is made before the child, so that waiting for the child needs no more memory.
class ProcessObject : public core::Counted<ProcessObject> {
 public:
  explicit ProcessObject(LoopObject& loop) noexcept : loop_(loop) {}

  /// Notes that the child runs. Throws OSError; the child is then ended with this object.
  void started(pid_t its_pid) {
    pid = its_pid;
    watch();
  }
  void wait() {
    Waiter waiter(loop_, waiters_);
    waiter.wait();
  }
  void send_signal(int signal) {
    if (returncode || gone_) raise_os_error(ESRCH, "process " + std::to_string(pid));
    if (platform::signal_child(end_.get(), pid, signal) != 0)
      raise_os_error(errno, "process " + std::to_string(pid));
  }

  pid_t pid = 0;  ///< 0 before it has started
  std::optional<int> returncode;
  core::Ref<TransportObject> stdin_transport;
  // Kept until the child's end; unread data survives it only if the program has handles, too.
  core::Ref<ReaderObject> stdout_reader;
  core::Ref<ReaderObject> stderr_reader;
  std::function<void()> on_exit;  ///< called once, on the loop

 private:
  friend core::Counted<ProcessObject>;
  ~ProcessObject() {
    // The loop is closed: no code will ever wait for the child.
    if (pid != 0 && !returncode && !gone_ && ::kill(pid, SIGKILL) == 0) reap(0);
  }

  void watch();
  void watch_anew();
  void ready();
  bool reap(int flags) noexcept;

  LoopObject& loop_;
  core::OwnFd end_;  ///< readable when the child has ended
  /// The child ended before the loop watched it, and its status was taken: the program ignores
  /// SIGCHLD, or waits for every child.
  bool gone_ = false;
  WaiterList waiters_;
};

struct SpawnedProcess {
  core::Ref<ProcessObject> process;
  UniqueFd streams[3];  ///< our ends of the pipes, which do not block; none for other streams
};
/// Starts a child; the loop waits for its end from then on. Throws as create_subprocess_exec does.
SpawnedProcess start_process(LoopObject& loop, const std::vector<std::string>& command,
                             const CreateSubprocessOptions& options);

}  // namespace fiber::asyncio::detail
