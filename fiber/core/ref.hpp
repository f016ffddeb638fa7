// Counted references: one template for all shared objects, and two ways to count.
//
//   class LockObject final : public core::Counted<LockObject> { ... };
//   core::Ref<LockObject> lock(new LockObject);        // one reference
//   core::Ref<LockObject> another = lock;              // two
//
// An object counts by its members retain() and release(); release() ends the object with the last
// reference. Counted and SharedCounted have these members; an object that ends in a way of its own
// writes them itself, or, with SharedCounted, has a member unreferenced().
#pragma once

#include <fiber/core/take.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fiber::core {

/// A count for objects that one thread uses. A new object has no references.
template <class Self>
class Counted {
 public:
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  void retain() noexcept { ++refs_; }
  void release(std::uint32_t references = 1) noexcept {
    // Not `if (--refs_ == 0)`: where an exception passes, GCC 12 leaves that store out, as if the
    // object were deleted on both ways. The object would never end.
    if (refs_ == references)
      delete static_cast<Self*>(this);
    else
      refs_ -= references;
  }

 protected:
  Counted() noexcept = default;
  ~Counted() = default;
  std::uint32_t refs() const noexcept { return refs_; }

 private:
  std::uint32_t refs_ = 0;
};

/// A count for objects that any thread uses. A new object has no references.
template <class Self>
class SharedCounted {
 public:
  SharedCounted(const SharedCounted&) = delete;
  SharedCounted& operator=(const SharedCounted&) = delete;

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    Self* const self = static_cast<Self*>(this);
    if constexpr (requires { self->unreferenced(); })
      self->unreferenced();
    else
      delete self;
  }

 protected:
  SharedCounted() noexcept = default;
  explicit SharedCounted(long references) noexcept : refs_(references) {}
  ~SharedCounted() = default;
  long refs() const noexcept { return refs_.load(std::memory_order_acquire); }

 private:
  std::atomic<long> refs_{0};
};

/// Says which members of the object count a reference. Where references of several kinds are told
/// apart, each kind is a type like this one.
struct AnyReference {
  static void retain(auto* object) noexcept { object->retain(); }
  static void release(auto* object) noexcept { object->release(); }
};

template <class T, class Kind = AnyReference>
class Ref {
 public:
  Ref() noexcept = default;
  Ref(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Adds a reference, unless it is null.
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_ != nullptr) Kind::retain(object_);
  }
  /// Takes over a reference that the caller has.
  static Ref adopt(T* object) noexcept {
    Ref made;
    made.object_ = object;
    return made;
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(take(other.object_)) {}
  Ref& operator=(Ref other) noexcept {
    swap_pointers(object_, other.object_);
    return *this;
  }
  /// Converts a reference to an object of a derived type.
  template <class U>
    requires points_to<U, T>
  Ref(Ref<U, Kind> other) noexcept  // NOLINT(google-explicit-constructor)
      : object_(other.detach()) {}
  ~Ref() {
    if (object_ != nullptr) Kind::release(object_);
  }

  /// Leaves the reference to the caller.
  [[nodiscard]] T* detach() noexcept { return take(object_); }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) noexcept = default;

 private:
  T* object_ = nullptr;
};

}  // namespace fiber::core
