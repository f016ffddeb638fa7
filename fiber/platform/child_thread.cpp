#include <fiber/platform/child_thread.hpp>

#include <fiber/platform/own_descriptors.hpp>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

static_assert(sizeof(void*) >= 8 && sizeof(pid_t) == 4);

// Waits without taking the child's status: the number stays the child's until the caller takes the
// status.
void* wait_for_end(void* argument) noexcept {
  const auto packed = reinterpret_cast<std::uintptr_t>(argument);
  const auto pid = static_cast<pid_t>(packed >> 32U);
  const auto fd = static_cast<int>(packed & 0xffffffffU);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  // A byte, since a program started meanwhile may have inherited this end of the pipe.
  const char byte = 0;
  if (!leave_own(fd)) return nullptr;
  (void)!::write(fd, &byte, 1);
  ::close(fd);
  return nullptr;
}

// Returns 0 or an errno. The thread handles no signals.
int start_thread(pid_t pid, int fd) noexcept {
  constexpr std::size_t kStack = std::size_t{128} * 1024;
  pthread_attr_t attributes;
  if (const int error = ::pthread_attr_init(&attributes)) return error;
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, kStack);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const auto packed =
      std::uintptr_t{static_cast<std::uint32_t>(pid)} << 32U | static_cast<std::uint32_t>(fd);
  const int error =
      ::pthread_create(&thread, &attributes, &wait_for_end, reinterpret_cast<void*>(packed));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return error;
}

}  // namespace

int open_child_by_thread(pid_t pid) noexcept {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  int error = 0;
  for (const int end : ends)
    if (error == 0 && ::fcntl(end, F_SETFD, FD_CLOEXEC) != 0) error = errno;
  if (error == 0) {
    enter_own(ends[1]);
    error = start_thread(pid, ends[1]);
    if (error == 0) return ends[0];
    leave_own(ends[1]);
  }
  for (const int end : ends) ::close(end);
  errno = error;
  return -1;
}

}  // namespace fiber::platform
