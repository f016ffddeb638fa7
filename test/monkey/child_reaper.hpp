// A handler of SIGCHLD that waits for every child, as many a daemon has.
#pragma once

#include <cerrno>
#include <csignal>

#include <sys/wait.h>

class ChildReaper {
 public:
  ChildReaper() {
    reaped_ = 0;
    struct sigaction reaper {};
    reaper.sa_handler = reap;
    reaper.sa_flags = SA_RESTART;
    ::sigaction(SIGCHLD, &reaper, &before_);
  }
  ChildReaper(const ChildReaper&) = delete;
  ChildReaper& operator=(const ChildReaper&) = delete;
  ~ChildReaper() { ::sigaction(SIGCHLD, &before_, nullptr); }
  // The number of children that the handler has waited for.
  static int reaped() { return reaped_; }

 private:
  static void reap(int /*signal*/) {
    const int error = errno;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) reaped_ = reaped_ + 1;
    errno = error;
  }
  static inline volatile std::sig_atomic_t reaped_ = 0;
  struct sigaction before_ {};
};

inline bool is_blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return ::sigismember(&mask, signal) == 1;
}
