// Locks on files.
//
// The kernel does not report when a lock becomes free: locking is tried again, after 25 ms at most.
// The kernel does not see the waiters, and so finds no deadlocks (EDEADLK).
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <cstdarg>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// Repeats `attempt`, which takes the lock, or fails with EAGAIN or EACCES.
template <class F>
int when_free(const Call& call, F attempt) noexcept {
  Backoff backoff;
  for (;;) {
    if (attempt() == 0) return call.done(0);
    if (errno == EINTR) continue;
    if ((errno != EAGAIN && errno != EACCES) || !backoff.pause(call)) return -1;
  }
}

int flock_(int fd, int operation) noexcept {
  const Call call;
  if (!call || (operation & LOCK_NB) != 0) return real().flock(fd, operation);
  return when_free(call, [=] { return real().flock(fd, operation | LOCK_NB); });
}

int lock_record(int fd, int command, void* argument, Cancel how) noexcept {
  const PolicyOfCall policy(how);
  const Call call;
  return when_free(call, [=] { return real().fcntl(fd, command, argument); });
}

// Like libc, takes an argument of any type, even if there is none. Not noexcept: pthread_cancel()
// unwinds a thread that waits for a lock.
template <Cancel How>
int fcntl_(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  if ((command != F_SETLKW && command != F_OFD_SETLKW) || !is_in_task())
    return real().fcntl(fd, command, argument);
  return lock_record(fd, command == F_SETLKW ? F_SETLK : F_OFD_SETLK, argument, How);
}

Hook fcntl_hook(const char* name) noexcept {
  return policy_hook(name, fcntl_<Cancel::error>, fcntl_<Cancel::interrupt>, fcntl_<Cancel::never>);
}

[[maybe_unused]] int lockf_(int fd, int operation, off_t size) noexcept {
  const Call call;
  if (!call || operation != F_LOCK) return real().lockf(fd, operation, size);
  return when_free(call, [=] { return real().lockf(fd, F_TLOCK, size); });
}

}  // namespace

std::span<const Hook> lock_hooks() noexcept {
  static const Hook hooks[] = {
    hook<flock_>("flock"),
    fcntl_hook("fcntl"),
    fcntl_hook("__fcntl"),
    fcntl_hook("fcntl64"),
    hook<lockf_>("lockf64"),
#if defined(__LP64__)  // elsewhere lockf's last argument is shorter
    hook<lockf_>("lockf"),
#endif
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
