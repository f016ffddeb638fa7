// Code of the user's, such as a destructor, that the loop runs while it goes from fiber to fiber.
#pragma once

#include <fiber/greenlet/object.hpp>

#include <utility>

namespace fiber::asyncio::detail {

/// Guards user code that runs between two fibers and may itself switch: marks the current greenlet
/// running, restores its context and state afterwards. On the stack of a fiber that has ended, the
/// current greenlet is the hub. `between_fibers`: a place for the current greenlet meanwhile.
class Interlude {
 public:
  explicit Interlude(fiber::detail::GreenletObject* current,
                     fiber::detail::GreenletObject*& between_fibers) noexcept
      : current_(current),
        between_fibers_(between_fibers),
        outer_(between_fibers),
        place_(current->context),
        state_(current->state),
        waiting_(std::exchange(current->waiting, false)) {
    between_fibers = current;
    current->state = fiber::detail::GreenletState::current;
  }
  Interlude(const Interlude&) = delete;
  Interlude& operator=(const Interlude&) = delete;
  ~Interlude() {
    current_->context = place_;
    current_->state = state_;
    current_->waiting = waiting_;
    between_fibers_ = outer_;
  }

 private:
  fiber::detail::GreenletObject* current_;
  fiber::detail::GreenletObject*& between_fibers_;
  fiber::detail::GreenletObject* outer_;
  core::Context place_;
  fiber::detail::GreenletState state_;
  bool waiting_;
};

}  // namespace fiber::asyncio::detail
