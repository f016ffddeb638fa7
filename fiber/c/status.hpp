// Conversions between the statuses of <fiber/fiber.h> and exceptions.
//
// A status that a function of the interface has returned and a body passes on becomes again the
// exception from which it was made: the last failure of each body is remembered, for the last few
// bodies.
#pragma once

#include <fiber/exceptions.hpp>

#include <exception>
#include <string>

namespace fiber::c {

// A status of the program's own on its way through C++ code.
class Status : public Exception {
 public:
  explicit Status(int status);
  ~Status() override;
  int status() const noexcept { return status_; }

 private:
  int status_;
};

// An object of another thread was used on this one: FIBER_WRONG_THREAD.
class WrongThread : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~WrongThread() override;
};

// Throws WrongThread; or RuntimeError, if the calling thread exits and has ended its fibers: then
// it is not known any more which thread has made the object.
[[noreturn]] void refuse_thread(const char* why);

// Returns the status for an exception; remembers both for fiber_last_error and raise.
FIBER_API int caught(const std::exception_ptr& error) noexcept;
// Throws the exception for which the status stands. FIBER_OK throws nothing.
void raise(int status);
std::exception_ptr exception_of(int status);
// Forgets the failure of the running body, which ends.
void body_ends() noexcept;

// Calls a body of the program's; throws the exception for which its status stands.
inline void* call_body(int (*body)(void*, void**), void* argument, void* value) {
  struct End {
    ~End() { body_ends(); }
  } end;
  raise(body(argument, &value));
  return value;
}

FIBER_API int invalid(const char* what) noexcept;

// Calls `function`; returns the status of the exception that it throws.
template <class F>
int guarded(F&& function) noexcept {
  try {
    function();
    return 0;
  } catch (...) {
    return caught(std::current_exception());
  }
}

}  // namespace fiber::c
