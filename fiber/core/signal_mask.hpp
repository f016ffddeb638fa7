// Signals are for the program's own threads.
#pragma once

#include <fiber/config.hpp>

#include <csignal>
#include <initializer_list>

#include <pthread.h>

namespace fiber::core {

// On a thread of the library's that runs functions of the program's: child processes that these
// start are to have this mask, not the thread's own, in which everything is blocked. fork() does so
// by itself, unless there was no memory to arrange it.
FIBER_API void keep_mask_for_children(const sigset_t& mask) noexcept;
// Null on other threads, whose children inherit their mask.
FIBER_API const sigset_t* mask_for_children() noexcept;

// A thread that is started while it lives has every signal blocked: none kills the program, or runs
// a handler, on a thread of which the program knows nothing, and what the program has blocked for
// sigwait or signalfd stays pending. Not blocked are those that the thread's own instructions
// cause, and SIGURG, by which the stall monitor asks.
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
  // What the program has blocked here.
  const sigset_t& before() const noexcept {
    const sigset_t* programs = mask_for_children();
    return programs != nullptr ? *programs : before_;
  }

 private:
  sigset_t before_;
};

}  // namespace fiber::core
