// A call in the loop's next iteration that was made beforehand, with its place in the ready queue.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/core/ref.hpp>

#include <new>
#include <utility>

namespace fiber::asyncio::detail {

/// Calls a member function of its owner as call_soon does, but needs no memory when it is queued:
/// the end of a connection must be reported even without memory. The owner is a HandledObject. The
/// queued call holds a reference to its owner, and is queued once at a time.
template <class Object>
class ReservedCall {
 public:
  /// Throws std::bad_alloc.
  ReservedCall(Object& its, void (Object::*action)())
      : call_(core::Ref<Call>::adopt(new Call(its, action))) {
    its.loop().ready_queue().claim();
  }
  ReservedCall(const ReservedCall&) = delete;
  ReservedCall& operator=(const ReservedCall&) = delete;
  ~ReservedCall() { call_->its.loop().ready_queue().give_back(); }

  void post() noexcept {
    try {
      prepare(call_.get());
    } catch (const std::bad_alloc&) {
      // Without memory for a copy, the call runs in its former context.
    }
    call_->posted = true;
    call_->its.retain();
    call_->retain();
    call_->its.loop().push(Entry(static_cast<HandleObject*>(call_.get())));
  }
  /// For an object whose loop is closed, and the queue with it: drops the reference of a call that
  /// will not come.
  void drop() noexcept {
    if (std::exchange(call_->posted, false)) call_->its.release();
  }

 private:
  struct Call final : HandleObject {
    Call(Object& object, void (Object::*function)()) noexcept
        : HandleObject(&object.loop()), its(object), action(function) {}
    void call() override {
      struct End {
        core::Ref<Object> held;
        ~End() { held->release(); }
      } end{core::Ref<Object>(&its)};
      posted = false;
      its.loop().ready_queue().claim_again();
      (its.*action)();
    }
    Object& its;
    void (Object::*action)();
    bool posted = false;
  };

  core::Ref<Call> call_;
};

}  // namespace fiber::asyncio::detail
