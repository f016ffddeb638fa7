// The base of the stream layer's objects, which count two kinds of references. Not thread-safe.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/core/ref.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

/// Belongs to one loop and its thread. Users' handles are counted apart from the library's own
/// references: a handle keeps the loop alive, and a reference of the loop's own must not.
template <class Object>
class HandledObject : public core::Counted<Object> {
 public:
  void retain_handle() noexcept {
    if (handles_++ == 0) loop_.retain();
    this->retain();
  }
  void release_handle() noexcept {
    LoopObject* loop = --handles_ == 0 ? &loop_ : nullptr;
    if (loop != nullptr) static_cast<Object*>(this)->no_handles();
    this->release();
    if (loop != nullptr) loop->release();
  }
  LoopObject& loop() const noexcept { return loop_; }
  bool has_handles() const noexcept { return handles_ != 0; }

 protected:
  explicit HandledObject(LoopObject& loop) noexcept : loop_(loop) {}
  ~HandledObject() = default;
  /// Called when the last handle is gone.
  void no_handles() noexcept {}

  LoopObject& loop_;

 private:
  std::uint32_t handles_ = 0;
};

/// core::Ref<Object, ByHandle> is a handle, core::Ref<Object> a reference of the library's own.
struct ByHandle {
  static void retain(auto* object) noexcept { object->retain_handle(); }
  static void release(auto* object) noexcept { object->release_handle(); }
};

}  // namespace fiber::asyncio::detail
