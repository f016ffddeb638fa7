// The owner of one object: std::unique_ptr without <ostream>, which its header includes and which
// is a third of what a small public header costs to compile.
#pragma once

#include <cstddef>
#include <utility>

namespace fiber::core {

template <class T>
class Owner {
 public:
  Owner() noexcept = default;
  Owner(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Takes over an object made by `new`.
  explicit Owner(T* object) noexcept : object_(object) {}
  Owner(Owner&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Owner& operator=(Owner&& other) noexcept {
    Owner(std::move(other)).swap(*this);
    return *this;
  }
  ~Owner() { delete object_; }

  /// Destroys the object; there is no owner while its destructor runs.
  void reset() noexcept { Owner().swap(*this); }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Owner& owner, std::nullptr_t) noexcept {
    return owner.object_ == nullptr;
  }

 private:
  void swap(Owner& other) noexcept { std::swap(object_, other.object_); }

  T* object_ = nullptr;
};

}  // namespace fiber::core
