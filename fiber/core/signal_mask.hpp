// Signals are for the program's own threads.
#pragma once

#include <csignal>
#include <initializer_list>

#include <pthread.h>

namespace fiber::core {

// A thread that is started while it lives, and the children that are started there, have every
// signal blocked: none kills the program, or runs a handler, on a thread of which the program knows
// nothing, and what it has blocked for sigwait or signalfd stays pending. Not blocked are those
// that the thread's own instructions cause, and SIGURG, by which the stall monitor asks.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGURG})
      ::sigdelset(&all, own);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  const sigset_t& before() const noexcept { return before_; }

 private:
  sigset_t before_;
};

}  // namespace fiber::core
