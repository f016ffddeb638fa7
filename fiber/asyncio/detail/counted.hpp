// A counted reference to an object of the stream layer, not for two threads at a time.
#pragma once

#include <utility>

namespace fiber::asyncio::detail {

// internal: what keeps an object for the library's own use.
// handle: what a user holds; the object knows how many of those there are.
enum class Reference : bool { internal, handle };

template <class T, Reference Kind = Reference::internal>
class Counted {
 public:
  Counted() noexcept = default;
  explicit Counted(T* object) noexcept : object_(object) {
    if (object_ != nullptr) retain();
  }
  Counted(const Counted& other) noexcept : Counted(other.object_) {}
  Counted(Counted&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Counted& operator=(Counted other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Counted() {
    if (object_ != nullptr) release();
  }
  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  void retain() const noexcept {
    if constexpr (Kind == Reference::handle)
      object_->retain_handle();
    else
      object_->retain();
  }
  void release() const noexcept {
    if constexpr (Kind == Reference::handle)
      object_->release_handle();
    else
      object_->release();
  }

  T* object_ = nullptr;
};

}  // namespace fiber::asyncio::detail
