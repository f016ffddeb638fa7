// Destroys objects that own one another, in chains of any length, by captures or results: from some
// depth on, one after the other, since a chain may be longer than a stack is deep. The name is that
// of CPython's mechanism.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/stack.hpp>
#include <fiber/core/thread_state.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace fiber::core {

/// The counts of the running stack. A destructor may wait meanwhile, and other stacks run.
inline Nesting& nesting() noexcept {
  const ThreadState* thread = tls_thread_state;
  return thread != nullptr ? thread->stack->nesting : tls_nesting;
}

/// The objects of one kind that wait for their end on one thread. `End` says how an object ends:
///   static T*& next(T& object) noexcept;        // a pointer that the object uses no longer
///   static void destroy(T& object) noexcept;
/// `slot` is the place in `Nesting` of this kind of object, and of no other.
template <class T, class End, std::size_t slot>
class Trashcan {
 public:
  /// Destroys the object, or leaves it to the destructor on this stack that encloses the call.
  void end(T& object) noexcept {
    static_assert(slot < std::tuple_size_v<Nesting>);
    std::uint8_t& nested = nesting()[slot];
    if (nested == kMostNested) [[unlikely]] {
      End::next(object) = std::exchange(waiting_, &object);
      return;
    }
    ++nested;
    End::destroy(object);
    while (waiting_ != nullptr) [[unlikely]]
      End::destroy(*std::exchange(waiting_, End::next(*waiting_)));
    --nested;
  }

 private:
  /// Few enough for the smallest stack, with all kinds in turn.
  static constexpr std::uint8_t kMostNested = 16;
  T* waiting_ = nullptr;
};

}  // namespace fiber::core
