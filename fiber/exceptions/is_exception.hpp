// A question to an exception_ptr, which tells its type only by being thrown.
#pragma once

#include <exception>

namespace fiber {

/// Returns whether `catch (const E&)` would catch the exception; false for null.
template <class E>
bool is_exception(const std::exception_ptr& error) noexcept {
  if (error == nullptr) return false;
  try {
    std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace fiber
