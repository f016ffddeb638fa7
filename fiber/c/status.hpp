// Between the statuses of <fiber/fiber.h> and exceptions.
//
// A status that a function of the interface has returned and a body passes on becomes the exception
// again that it was made of: what failed last in each body is remembered, for the last few bodies.
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

// What belongs to another thread was used on this one: FIBER_WRONG_THREAD.
class WrongThread : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~WrongThread() override;
};

// The status for an exception; remembers both for fiber_last_error and raise.
FIBER_API int caught(const std::exception_ptr& error) noexcept;
// Throws what the status stands for. FIBER_OK throws nothing.
void raise(int status);
std::exception_ptr exception_of(int status);
// The running body does: what failed in it is nobody's any more.
void body_ends() noexcept;

// Calls a body of the program's; throws what its status stands for.
inline void* call_body(int (*body)(void*, void**), void* argument, void* value) {
  struct End {
    ~End() { body_ends(); }
  } end;
  raise(body(argument, &value));
  return value;
}

FIBER_API int invalid(const char* what) noexcept;

// Calls `function`; the status of what it throws.
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
