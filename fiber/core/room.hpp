// For library functions that need more stack than a small fiber has left.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace fiber::core {

// Calls `function(argument)`, which must not throw, nor switch: on this stack if `bytes` are left
// on it, else on a fresh one of the thread's pool. Throws MemoryError if there is none to be had.
FIBER_API void call_with_room(std::size_t bytes, void (*function)(void* argument) noexcept,
                              void* argument);

template <class F>
void call_with_room(std::size_t bytes, F&& function) {
  call_with_room(
      bytes, [](void* its) noexcept { (*static_cast<std::remove_reference_t<F>*>(its))(); },
      std::addressof(function));
}

}  // namespace fiber::core
