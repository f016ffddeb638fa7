// An exception must not leave a callback: the C library's frames would be skipped, and what they
// hold with them. It is kept here until the library's function has returned.
#pragma once

#include <exception>
#include <utility>

class CallbackBorder {
 public:
  // Calls `function`. False if it threw, or an earlier one did: the library should be told to stop.
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

  // Once the library's function has returned.
  void rethrow() {
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  std::exception_ptr error_;
};
