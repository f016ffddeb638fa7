// The value that a switch carries: nothing, one object of any movable type, or several as a tuple.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/type.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/core/take.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fiber {

class value;

namespace detail {

struct ValueType {
  const core::Type& type;
  void (*relocate)(void* from, void* to) noexcept;  ///< moves into `to` and ends the life of `from`
  void (*destroy)(void* storage) noexcept;
};

[[noreturn]] FIBER_API void throw_wrong_type(const core::Type* held, const core::Type& wanted);

/// A GreenletExit that ended a greenlet: a value for its parent, told apart from a returned one.
struct Exited {
  std::exception_ptr error;
};

/// Text that other code owns: literals, pointers to characters and views.
template <class T>
concept borrowed_text =
    std::same_as<T, const char*> || std::same_as<T, char*> || std::same_as<T, std::string_view>;

/// Borrowed text travels as std::string: its owner may be gone when the receiver looks at it.
template <class T>
struct value_decay {
  using type = std::decay_t<T>;
};
template <class T>
  requires borrowed_text<std::decay_t<T>>
struct value_decay<T> {
  using type = std::string;
};
template <class T>
using value_decay_t = typename value_decay<T>::type;

}  // namespace detail

/// A value of any movable type. Moves only. Up to three words are kept in place; larger objects,
/// and those whose move may throw, take one allocation. Reading another type than the stored one is
/// a TypeError that names both. A destructor that throws ends the program.
class value {
 public:
  /// Makes an empty value: the one that a switch without arguments carries (Python's empty tuple).
  /// Not defaulted, since a defaulted constructor would first fill each value with zeroes.
  value() noexcept {}  // NOLINT(modernize-use-equals-default)

  template <class T>
    requires(!std::same_as<std::remove_cvref_t<T>, value>)
  value(T&& object) {  // NOLINT(google-explicit-constructor): any value may be sent
    emplace<detail::value_decay_t<T>>(std::forward<T>(object));
  }

  value(value&& other) noexcept : type_(other.type_) {
    if (type_ != nullptr) {
      type_->relocate(other.storage_, storage_);
      other.type_ = nullptr;
    }
  }
  value& operator=(value&& other) noexcept {
    if (this != &other) {
      reset();
      if (other.type_ != nullptr) {
        other.type_->relocate(other.storage_, storage_);
        type_ = core::take(other.type_);
      }
    }
    return *this;
  }
  ~value() { reset(); }

  /// Returns the value that switch_(args...) sends: nothing, the one argument, or a tuple of
  /// several.
  template <class... Args>
  static value pack(Args&&... args) {
    if constexpr (sizeof...(Args) == 0)
      return {};
    else if constexpr (sizeof...(Args) == 1)
      return value(std::forward<Args>(args)...);
    else
      return value(std::tuple<detail::value_decay_t<Args>...>(std::forward<Args>(args)...));
  }

  /// Returns true for the value of a switch without arguments; a null pointer sent on purpose is
  /// not empty.
  bool empty() const noexcept { return type_ == nullptr; }
  /// Returns the readable name of the type; "void" if the value is empty.
  std::string type_name() const { return type_ != nullptr ? type_->type.name() : "void"; }

  /// Returns whether the value is of exactly this type; text is a std::string.
  template <class T>
  bool holds() const noexcept {
    return type_ != nullptr &&
           (type_ == &type_of<T>() || core::same_type(type_->type, core::TypeOf<T>::type));
  }

  /// Returns the object, as exactly the type that was sent; text that was sent as a literal, a
  /// pointer or a view as std::string. Throws TypeError.
  template <class T>
  T& as() & {
    check_readable<T>();
    if (!holds<T>()) [[unlikely]]
      detail::throw_wrong_type(type_ ? &type_->type : nullptr, core::TypeOf<T>::type);
    return *static_cast<T*>(address<T>());
  }
  template <class T>
  const T& as() const& {
    return const_cast<value*>(this)->as<T>();
  }
  template <class T>
  T as() && {
    return std::move(as<T>());
  }

  /// Returns null if the value holds another type.
  template <class T>
  T* get_if() noexcept {
    return holds<T>() ? static_cast<T*>(address<T>()) : nullptr;
  }
  template <class T>
  const T* get_if() const noexcept {
    return const_cast<value*>(this)->get_if<T>();
  }

  /// Returns true if a greenlet that ended by GreenletExit left this value to its parent.
  bool exited() const noexcept { return holds<detail::Exited>(); }
  /// Returns the GreenletExit of an exited greenlet; null for any other value.
  std::exception_ptr exception() const noexcept {
    const auto* exit = get_if<detail::Exited>();
    return exit != nullptr ? exit->error : nullptr;
  }

  /// Destroys the object: the value is empty then.
  void reset() noexcept {
    if (type_ != nullptr) {
      type_->destroy(storage_);
      type_ = nullptr;
    }
  }

 private:
  template <class T>
  static consteval void check_readable() {
    static_assert(std::same_as<T, std::remove_cvref_t<T>>,
                  "as<T>() takes the type that was sent, without & and const");
    static_assert(!detail::borrowed_text<T>,
                  "text is sent as std::string: read it by as<std::string>()");
  }

  template <class T>
  static constexpr bool in_place = sizeof(T) <= 3 * sizeof(void*) && alignof(T) <= alignof(void*) &&
                                   std::is_nothrow_move_constructible_v<T>;

  template <class T>
  void* address() noexcept {
    if constexpr (in_place<T>)
      return std::launder(reinterpret_cast<T*>(storage_));
    else
      return *reinterpret_cast<void**>(storage_);
  }

  template <class T>
  static const detail::ValueType& type_of() noexcept {
    static constexpr detail::ValueType type{
        core::TypeOf<T>::type,
        [](void* from, void* to) noexcept {
          if constexpr (in_place<T>) {
            T* object = std::launder(static_cast<T*>(from));
            new (to) T(std::move(*object));
            object->~T();
          } else {
            *static_cast<void**>(to) = *static_cast<void**>(from);
          }
        },
        [](void* storage) noexcept {
          if constexpr (in_place<T>)
            std::launder(static_cast<T*>(storage))->~T();
          else
            delete static_cast<T*>(*static_cast<void**>(storage));
        }};
    return type;
  }

  template <class T, class... Args>
  void emplace(Args&&... args) {
    static_assert(std::is_move_constructible_v<T>, "a value sent through a switch must be movable");
    if constexpr (in_place<T>)
      new (storage_) T(std::forward<Args>(args)...);
    else
      *reinterpret_cast<void**>(storage_) = new T(std::forward<Args>(args)...);
    type_ = &type_of<T>();
  }

  const detail::ValueType* type_ = nullptr;
  alignas(void*) std::byte storage_[3 * sizeof(void*)];
};

}  // namespace fiber
