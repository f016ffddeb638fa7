// Errors for waiting code, made where nothing may be lost.
#pragma once

#include <exception>

namespace fiber::detail {

/// Returns the exception that `make()` returns, or std::bad_alloc without memory for it: the
/// waiting code is woken in any case.
template <class Make>
std::exception_ptr error_from(Make make) noexcept {
  try {
    return std::make_exception_ptr(make());
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace fiber::detail
