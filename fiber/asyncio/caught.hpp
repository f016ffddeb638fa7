// The exceptions of the user's functions that the library may keep.
#pragma once

#include <fiber/cxxabi.hpp>
#include <fiber/greenlet.hpp>

#include <exception>

namespace fiber::asyncio::detail {

/// Returns the RuntimeError in the place of the StopIteration that is being handled, and caused by
/// it: in a generator that waits, a StopIteration of other code would be an end of its own.
/// Python: PEP 479.
std::exception_ptr instead_of_stop_iteration(const char* message) noexcept;

/// Calls the function and returns its exception, null for none. Exceptions that are not meant for
/// the caller pass: the forced unwinding of a thread, KeyboardInterrupt, SystemExit, and
/// GreenletExit unless `keeps_exit()`.
template <class F, class Keeps>
std::exception_ptr caught(F&& function, Keeps keeps_exit) {
  try {
    function();
    return nullptr;
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (const KeyboardInterrupt&) {
    throw;
  } catch (const SystemExit&) {
    throw;
  } catch (const GreenletExit&) {
    if (!keeps_exit()) throw;
    return std::current_exception();
  } catch (...) {
    return std::current_exception();
  }
}
template <class F>
std::exception_ptr caught(F&& function) {
  return caught(function, [] { return false; });
}

}  // namespace fiber::asyncio::detail
