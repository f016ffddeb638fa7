// Children by pidfd: signals never reach another process of the same number. Where a sandbox
// refuses it, by whatever errno, or the kernel is older than it, by a thread each, as in CPython.
#include <fiber/platform/process.hpp>

#include <fiber/platform/child_thread.hpp>

#include <cerrno>
#include <csignal>

#include <sys/syscall.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

// Returns whether the call would fail for any other child, too.
bool refused(int error) noexcept {
  return error != ESRCH && error != EMFILE && error != ENFILE && error != ENOMEM;
}

}  // namespace

int open_child(pid_t pid) noexcept {
  const auto descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return descriptor < 0 && refused(errno) ? open_child_by_thread(pid) : descriptor;
}

int signal_child(int descriptor, pid_t pid, int signal) noexcept {
  if (::syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0) == 0) return 0;
  // The number stays the child's until its status is taken, which only the caller does.
  return errno == ESRCH ? -1 : ::kill(pid, signal);
}

}  // namespace fiber::platform
