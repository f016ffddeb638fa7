// An exception must not leave a callback: the C library's frames would be skipped, and their
// resources leak. The exception is kept here until the library's function has returned.
#pragma once

#include <exception>
#include <utility>

class CallbackBorder {
 public:
  // Calls `function`. Returns false if it, or an earlier one, has thrown: the library should stop.
  template <class F>
  bool pass(F&& function) noexcept {
    if (error_ != nullptr) return false;
    try {
      std::forward<F>(function)();
      return true;
    } catch (...) {
      error_ = std::current_exception();
      return false;
    }
  }

  // To be called once the library's function has returned.
  void rethrow() {
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  std::exception_ptr error_;
};
