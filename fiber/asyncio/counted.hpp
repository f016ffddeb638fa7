// The objects of the stream layer and counted references to them, not for two threads at a time.
#pragma once

#include <fiber/asyncio/base_events.hpp>

#include <cstdint>
#include <utility>

namespace fiber::asyncio::detail {

/// internal: what keeps an object for the library's own use.
/// handle: what a user holds; the object knows how many of those there are.
enum class Reference : bool { internal, handle };

/// What is referred to; belongs to one loop and its thread. What users hold also keeps the loop;
/// what the loop holds must not.
template <class Object>
class CountedObject {
 public:
  CountedObject(const CountedObject&) = delete;
  CountedObject& operator=(const CountedObject&) = delete;

  void retain() noexcept { ++refs_; }
  void release(std::uint32_t references = 1) noexcept {
    refs_ -= references;
    if (refs_ == 0) delete static_cast<Object*>(this);
  }
  void retain_handle() noexcept {
    if (handles_++ == 0) loop_.retain();
    retain();
  }
  void release_handle() noexcept {
    LoopObject* loop = --handles_ == 0 ? &loop_ : nullptr;
    if (loop != nullptr) static_cast<Object*>(this)->no_handles();
    release();
    if (loop != nullptr) loop->release();
  }
  LoopObject& loop() const noexcept { return loop_; }
  bool has_handles() const noexcept { return handles_ != 0; }

 protected:
  explicit CountedObject(LoopObject& loop) noexcept : loop_(loop) {}
  ~CountedObject() = default;
  /// The last handle is gone.
  void no_handles() noexcept {}

  LoopObject& loop_;

 private:
  std::uint32_t refs_ = 0;
  std::uint32_t handles_ = 0;
};

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
