// Signal masks: signals are for the program's own threads, not for the library's.
#pragma once

#include <fiber/config.hpp>

#include <csignal>
#include <initializer_list>

#include <pthread.h>

namespace fiber::core {

// Sets the mask of child processes that are started on the calling thread: a thread of this library
// that runs functions of the program, and itself blocks every signal. fork() applies that mask to
// the child, unless there was no memory to register a handler.
FIBER_API void keep_mask_for_children(const sigset_t& mask) noexcept;
// Lets child processes of the calling thread inherit its mask again.
FIBER_API void inherit_mask_in_children() noexcept;
// Returns the mask for child processes; null on other threads, whose children inherit their mask.
FIBER_API const sigset_t* mask_for_children() noexcept;

// Blocks every signal while it lives, for the threads that are started meanwhile: no signal kills
// the program, or runs a handler, on a thread that the program does not know, and signals that the
// program has blocked for sigwait or signalfd stay pending. The exceptions are the signals that a
// thread's own instructions cause, and SIGURG, by which a thread is asked for its place.
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
  // Returns the mask that the program has set here.
  const sigset_t& before() const noexcept {
    const sigset_t* programs = mask_for_children();
    return programs != nullptr ? *programs : before_;
  }

 private:
  sigset_t before_;
};

}  // namespace fiber::core
