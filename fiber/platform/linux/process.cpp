// Children by pidfd: signals never reach another process of the same number.
#include <fiber/platform/process.hpp>

#include <sys/syscall.h>
#include <unistd.h>

namespace fiber::platform {

int open_child(pid_t pid) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

int signal_child(int descriptor, pid_t /*pid*/, int signal) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0));
}

}  // namespace fiber::platform
