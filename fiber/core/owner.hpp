// The owner of one object, or of an array: for headers that users include. Each std::unique_ptr
// costs a compiler ten times as much, and its header includes <ostream>.
#pragma once

#include <fiber/core/take.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace fiber::core {

template <class T>
class Owner {
 public:
  Owner() noexcept = default;
  Owner(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Takes over an object made by `new`.
  explicit Owner(T* object) noexcept : object_(object) {}
  Owner(Owner&& other) noexcept : object_(take(other.object_)) {}
  template <class U>
    requires points_to<U, T>
  // NOLINTNEXTLINE(google-explicit-constructor)
  Owner(Owner<U>&& other) noexcept : object_(other.release()) {}
  Owner& operator=(Owner&& other) noexcept {
    Owner(std::move(other)).swap(*this);
    return *this;
  }
  ~Owner() { delete object_; }

  /// Destroys the object; there is no owner while its destructor runs.
  void reset() noexcept { Owner().swap(*this); }
  /// Gives the object up: the caller deletes it.
  [[nodiscard]] T* release() noexcept { return take(object_); }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Owner& owner, std::nullptr_t) noexcept {
    return owner.object_ == nullptr;
  }

 private:
  void swap(Owner& other) noexcept { swap_pointers(object_, other.object_); }

  T* object_ = nullptr;
};

/// The owner of an array made by `new T[n]`.
template <class T>
class Owner<T[]> {
 public:
  Owner() noexcept = default;
  Owner(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  explicit Owner(T* first) noexcept : first_(first) {}
  Owner(Owner&& other) noexcept : first_(take(other.first_)) {}
  Owner& operator=(Owner&& other) noexcept {
    Owner dropped(std::move(other));
    swap_pointers(first_, dropped.first_);
    return *this;
  }
  ~Owner() { delete[] first_; }

  void reset() noexcept { *this = Owner(); }

  T* get() const noexcept { return first_; }
  T& operator[](std::size_t index) const noexcept { return first_[index]; }
  friend bool operator==(const Owner& owner, std::nullptr_t) noexcept {
    return owner.first_ == nullptr;
  }

 private:
  T* first_ = nullptr;
};

/// Makes an object and its owner; for `T[]`, an array of value-initialized elements.
template <class T, class... Args>
  requires(!std::is_array_v<T>)
Owner<T> make_owner(Args&&... args) {
  return Owner<T>(new T(std::forward<Args>(args)...));
}
template <class T>
  requires std::is_array_v<T>
Owner<T> make_owner(std::size_t count) {
  return Owner<T>(new std::remove_extent_t<T>[count]());
}

}  // namespace fiber::core
