// The values that generators yield, receive and return: the relations between types that decide how
// a value is handed on, and the place where a returned value is kept.
#pragma once

#include <fiber/core/ref.hpp>
#include <fiber/standard/function.hpp>
#include <fiber/value.hpp>

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace fiber {

template <class Yield, class Send, class Return>
class Generator;

namespace detail {

template <class T>
struct is_generator : std::false_type {};
template <class Yield, class Send, class Return>
struct is_generator<Generator<Yield, Send, Return>> : std::true_type {};

// The type that an iterator's `*` has: the yielded object itself, to be moved from unless it was
// yielded by reference (as std::generator).
template <class Yield>
using item_reference_t = std::conditional_t<std::is_reference_v<Yield>, Yield, Yield&&>;

// True if an item of an inner generator may be handed on as it is, without a conversion.
template <class Inner, class Outer>
inline constexpr bool same_item =
    std::same_as<std::remove_cvref_t<Inner>, std::remove_cvref_t<Outer>> &&
    std::is_convertible_v<item_reference_t<Inner>, item_reference_t<Outer>>;

template <class Inner, class Outer>
inline constexpr bool same_sent =
    std::is_void_v<Inner> || std::is_void_v<Outer> || std::same_as<Inner, Outer>;

template <class T>
void* erase(const volatile T& object) noexcept {
  return const_cast<void*>(static_cast<const volatile void*>(std::addressof(object)));
}

// Returns whether `object` is its type's counterpart of Python's None.
template <class T>
bool is_none(const T& object) {
  if constexpr (std::same_as<T, std::monostate>)
    return true;
  else if constexpr (std::same_as<T, value>)
    return object.empty();
  else if constexpr (requires {
                       { object == std::nullopt } -> std::same_as<bool>;
                     })
    return object == std::nullopt;
  else if constexpr (requires {
                       { object == nullptr } -> std::same_as<bool>;
                     })
    return object == nullptr;
  else
    return false;
}

// The value that all copies of a StopIteration share.
struct SharedValue : core::SharedCounted<SharedValue> {
  explicit SharedValue(value given) : held(std::move(given)) {}
  value held;
};

[[noreturn]] FIBER_API void nothing_sent(const core::Type& wanted);
[[noreturn]] FIBER_API void nothing_returned(const core::Type& wanted);
// Throws TypeError: a view of the type `wanted` would dangle, as its text ends with the
// StopIteration.
[[noreturn]] FIBER_API void nothing_keeps_text(const core::Type& wanted);

// A place for a returned value until it is taken.
template <class Return>
class ResultSlot {
 public:
  // Drops a value that has not been taken, at the end of a scope.
  class Drop {
   public:
    explicit Drop(ResultSlot& slot) noexcept : slot_(slot) {}
    Drop(const Drop&) = delete;
    Drop& operator=(const Drop&) = delete;
    ~Drop() { slot_.drop(); }

   private:
    ResultSlot& slot_;
  };

  template <class F, class Self>
  void fill(F& body, Self& self) {
    if constexpr (std::is_reference_v<Return>)
      held_ = std::addressof(static_cast<Return>(body(self)));
    else
      held_.emplace(body(self));
  }
  void drop() noexcept {
    if constexpr (std::is_reference_v<Return>)
      held_ = nullptr;
    else
      held_.reset();
  }
  // Takes the value over from a StopIteration.
  void fill_from(value& stopped) {
    if (stopped.empty())
      drop();
    else if constexpr (std::is_reference_v<Return>)
      held_ = std::addressof(
          stopped.as<std::reference_wrapper<std::remove_reference_t<Return>>>().get());
    else if constexpr (borrowed_text<std::remove_cv_t<Return>>)
      nothing_keeps_text(core::TypeOf<Return>::type);
    else
      held_.emplace(std::move(stopped.as<std::remove_cv_t<Return>>()));
  }
  // Returns the value for close(): a std::optional, for references a pointer.
  auto take_optional() {
    // No assignment: Return need not have one.
    const Drop dropping(*this);
    return std::move(held_);
  }
  // Returns the value for a StopIteration.
  value as_value() {
    auto taken = take_optional();
    if (!taken) return {};
    if constexpr (std::is_reference_v<Return>)
      return value(std::ref(*taken));
    else
      return value(std::move(*taken));
  }
  Return take() {
    auto taken = take_optional();
    if (taken) return static_cast<Return&&>(*taken);
    if constexpr (std::is_default_constructible_v<Return>)
      return Return();
    else
      nothing_returned(core::TypeOf<Return>::type);
  }

 private:
  std::conditional_t<std::is_reference_v<Return>, std::add_pointer_t<Return>,
                     std::optional<std::remove_reference_t<Return>>>
      held_{};
};
template <>
class ResultSlot<void> {
 public:
  struct Drop {
    explicit Drop(const ResultSlot&) noexcept {}
  };

  template <class F, class Self>
  void fill(F& body, Self& self) {
    static_assert(std::is_void_v<decltype(body(self))>,
                  "the body returns a value: give its type as the third argument of Generator");
    body(self);
  }
  void drop() noexcept {}
  void fill_from(value&) noexcept {}
  value as_value() { return {}; }
  void take() {}
  void take_optional() {}
};

}  // namespace detail
}  // namespace fiber
