// Moves of plain pointers, as std::exchange(pointer, nullptr) and std::swap do them: for headers
// that users include, since those cost a compiler some fifty types for each type of pointer.
#pragma once

namespace fiber::core {

/// Returns a pointer, and leaves null in its place.
template <class T>
constexpr T* take(T*& pointer) noexcept {
  T* const taken = pointer;
  pointer = nullptr;
  return taken;
}

template <class T>
constexpr void swap_pointers(T*& a, T*& b) noexcept {
  T* const before = a;
  a = b;
  b = before;
}

/// A pointer to `From` converts to one to `To`, as std::convertible_to has it.
template <class From, class To>
concept points_to = requires(From* from, To*& to) { to = from; };

}  // namespace fiber::core
