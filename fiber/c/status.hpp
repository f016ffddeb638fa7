// Between the statuses of <fiber/fiber.h> and exceptions.
//
// A status that a function of the interface has returned and a body passes on becomes the exception
// again that it was made of: the last one is remembered for each thread.
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

// The status for an exception; remembers both for fiber_last_error and raise.
FIBER_API int caught(const std::exception_ptr& error) noexcept;
// Throws what the status stands for. FIBER_OK throws nothing.
void raise(int status);
std::exception_ptr exception_of(int status);

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
