// What the handles of locks and queues refer to, counted.
#pragma once

#include <cstdint>
#include <utility>

namespace fiber::asyncio::detail {

// The count is not atomic: whoever refers to it is on the thread of its loop.
class SharedObject {
 public:
  SharedObject() = default;
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  void retain() noexcept { ++refs_; }
  // True if that was the last reference.
  bool drop() noexcept { return --refs_ == 0; }

 protected:
  ~SharedObject() = default;

 private:
  std::uint32_t refs_ = 0;
};

template <class T>
class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_ != nullptr) object_->retain();
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr && object_->drop()) delete object_;
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  friend bool operator==(const Ref& a, const Ref& b) noexcept { return a.object_ == b.object_; }

 private:
  T* object_ = nullptr;
};

}  // namespace fiber::asyncio::detail
