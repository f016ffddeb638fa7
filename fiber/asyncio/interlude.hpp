#pragma once

#include <fiber/greenlet/object.hpp>

#include <utility>

namespace fiber::asyncio::detail {

/// Guards user code that runs between two fibers and may itself switch: marks the current greenlet
/// running, restores its context and state afterwards. On the stack of a fiber that has ended, the
/// current greenlet is the hub.
class Interlude {
 public:
  explicit Interlude(fiber::detail::GreenletObject* current) noexcept
      : current_(current),
        place_(current->context),
        state_(current->state),
        waiting_(std::exchange(current->waiting, false)) {
    current->state = fiber::detail::GreenletState::current;
  }
  Interlude(const Interlude&) = delete;
  Interlude& operator=(const Interlude&) = delete;
  ~Interlude() {
    current_->context = place_;
    current_->state = state_;
    current_->waiting = waiting_;
  }

 private:
  fiber::detail::GreenletObject* current_;
  core::Context place_;
  fiber::detail::GreenletState state_;
  bool waiting_;
};

}  // namespace fiber::asyncio::detail
