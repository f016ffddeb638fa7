// Futures: results that are not ready yet. Python: asyncio.futures.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace fiber {
/// The type of a void result where a value is needed, as in the tuple that gather returns.
using None = std::monostate;
}  // namespace fiber

namespace fiber::asyncio {

/// Whether a result of this type may be copied for each task that awaits it. For a type whose copy
/// does not compile though it claims to be copyable (a struct with a std::vector of
/// std::unique_ptr) a program says: template <> inline constexpr bool
/// fiber::asyncio::copyable_result<Mine> = false; containers, optional values, variants, tuples and
/// pairs are known.
template <class T>
inline constexpr bool copyable_result = true;

namespace detail {

[[noreturn]] FIBER_API void refuse_taken();

template <class T>
struct Slot {
  std::optional<std::remove_cv_t<T>> value;
  std::remove_cv_t<T>& get() noexcept { return *value; }
};
template <class T>
struct Slot<T&> {
  T* value = nullptr;
  T& get() noexcept { return *value; }
};
template <>
struct Slot<void> {};

/// The type in which the result of code that returns a T is stored: an rvalue reference, whose
/// object may not live long, and a const type become a plain value.
template <class T>
using result_of_t = std::conditional_t<std::is_lvalue_reference_v<T>, T, std::remove_cvref_t<T>>;

/// A range that owns its elements: they are const if the range is, and end with the range. Views
/// and handles (such as Queue) are no containers in this sense.
template <class T>
concept has_elements = !std::is_trivially_destructible_v<T> && requires(const T& all) {
  typename T::value_type;
  { *std::ranges::begin(all) } -> std::same_as<const typename T::value_type&>;
} && !std::ranges::view<T>;

/// A std::optional and its like: std::expected, Outcome.
template <class T>
concept has_optional_value = requires(const T& optional) {
  typename T::value_type;
  { optional.has_value() } -> std::same_as<bool>;
  { optional.value() } -> std::same_as<const typename T::value_type&>;
};

/// A std::stack, a std::queue or a std::priority_queue.
template <class T>
concept adapts_container = requires {
  requires std::same_as<typename T::container_type::value_type, typename T::value_type>;
};

template <class T>
constexpr bool is_copyable();

/// A template may be copied if each of its arguments may.
template <class T>
struct holds_copyable : std::true_type {};
template <class... T>
struct holds_copyable<std::tuple<T...>> : std::bool_constant<(... && is_copyable<T>())> {};
template <class A, class B>
struct holds_copyable<std::pair<A, B>> : std::bool_constant<is_copyable<A>() && is_copyable<B>()> {
};
template <class... T>
struct holds_copyable<std::variant<T...>> : std::bool_constant<(... && is_copyable<T>())> {};

/// Returns whether a copy of T compiles. std::copy_constructible is not enough: it is true for a
/// std::vector of any elements, and for a class with such a member. The elements of containers and
/// the arguments of tuples, pairs and variants are checked, too; those of handles and iterators are
/// not.
template <class T>
constexpr bool is_copyable() {
  if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
    return true;
  else if constexpr (std::is_const_v<T>)
    return is_copyable<std::remove_const_t<T>>();
  else if constexpr (!std::copy_constructible<T> || !copyable_result<T>)
    return false;
  else if constexpr (adapts_container<T>)
    return is_copyable<typename T::container_type>();
  else if constexpr (has_elements<T> || has_optional_value<T>)
    return std::same_as<typename T::value_type, T> ||
           is_copyable<std::remove_cv_t<typename T::value_type>>();
  else
    return holds_copyable<T>::value;
}

/// Throws InvalidStateError if the result was moved out. Called before the result is read.
template <class T>
void check_not_taken(const FutureBase& future) {
  if constexpr (!is_copyable<T>())
    if (future.taken) [[unlikely]]
      refuse_taken();
}

template <class T>
Slot<T>& slot_of(FutureBase& future) noexcept {
  return *static_cast<Slot<T>*>(future.result_address());
}

template <class T, class Base = FutureBase>
class WithSlot : public Base {
 public:
  template <class... Args>
  explicit WithSlot(Args&&... args) : Base(std::forward<Args>(args)...) {
    this->result_offset_ = static_cast<std::uint32_t>(
        reinterpret_cast<char*>(&slot_) - reinterpret_cast<char*>(static_cast<FutureBase*>(this)));
  }

 protected:
  Slot<T> slot_;
};

/// A done-callback of the user's.
template <class T, class F>
class DoneCallback final : public WithCallable<F, HandleObject> {
 public:
  using WithCallable<F, HandleObject>::WithCallable;
  void call() override {
    if constexpr (std::invocable<F&, Future<T>>)
      this->function_(Future<T>(future_.get()));
    else
      this->function_();
  }
  void scheduled_by(FutureBase* done) noexcept override { future_ = FutureRef(done); }
  bool calls(const core::Type& type, const void* function) const override {
    if constexpr (std::equality_comparable<F>)
      return this->has_callable() && core::same_type(type, core::TypeOf<F>::type) &&
             *static_cast<const F*>(function) == this->function_;
    return HandleObject::calls(type, function);
  }

 private:
  void destroy_callable() noexcept override {
    future_ = FutureRef();
    WithCallable<F, HandleObject>::destroy_callable();
  }
  FutureRef future_;
};

FIBER_API std::size_t remove_done_callback(FutureBase& future, const HandleObject* handle);
FIBER_API std::size_t remove_done_callbacks(FutureBase& future, const core::Type& type,
                                            const void* function);
FIBER_API void add_done_callback(FutureBase& future, core::Ref<HandleObject> handle);
FIBER_API void add_done_callback(FutureBase& future, core::Ref<HandleObject> handle,
                                 const CallOptions& options);

}  // namespace detail

/// A counted reference to a future with a result of type T (which may be void, a reference, or
/// move-only). Belongs to one loop and its thread. Python: asyncio.Future.
template <class T = void>
class [[nodiscard]] Future : public FutureRef {
 public:
  using result_type = T;  ///< what await() returns

  Future() noexcept = default;
  explicit Future(detail::FutureBase* future) noexcept : FutureRef(future) {}

  /// Returns the result; throws the exception with which the future ended, CancelledError if it was
  /// cancelled, InvalidStateError while it is pending, or if an await has moved the result out.
  std::add_lvalue_reference_t<T> result() const {
    base().check_result();
    detail::check_not_taken<T>(base());
    if constexpr (!std::is_void_v<T>) return detail::slot_of<T>(base()).get();
  }

  /// Ends the future; tasks that await it go on in the next iteration. Throws InvalidStateError if
  /// it is done already, RuntimeError for a task; and, when it is done, RuntimeError if it has
  /// callbacks that its closed loop will never call. A StopIteration is set as a RuntimeError.
  template <class U>
    requires(!std::is_void_v<T> && std::constructible_from<T, U>)
  void set_result(U&& result) const {
    check_settable("set_result");
    if constexpr (std::is_reference_v<T>)
      detail::slot_of<T>(base()).value = &result;
    else
      detail::slot_of<T>(base()).value.emplace(std::forward<U>(result));
    base().finish();
  }
  void set_result() const
    requires std::is_void_v<T>
  {
    check_settable("set_result");
    base().finish();
  }
  /// Ends the future with an exception. Throws InvalidStateError if it is done.
  void set_exception(std::exception_ptr exception) const {
    check_settable("set_exception");
    base().set_exception(std::move(exception));
  }
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  void set_exception(E&& exception) const {
    set_exception(std::make_exception_ptr(std::forward<E>(exception)));
  }

  /// Calls `callback(future)` (or `callback()`) in the iteration after the future is done;
  /// callbacks and awaiting tasks go in the order in which they came. The handle serves to remove
  /// the callback. Throws RuntimeError if the future is done and its loop closed.
  template <class F>
    requires std::invocable<std::decay_t<F>&, Future<T>> || std::invocable<std::decay_t<F>&>
  Handle add_done_callback(F&& callback) const {
    auto handle = make_done_callback(std::forward<F>(callback));
    detail::add_done_callback(base(), handle);
    return Handle(std::move(handle));
  }
  template <class F>
    requires std::invocable<std::decay_t<F>&, Future<T>> || std::invocable<std::decay_t<F>&>
  Handle add_done_callback(F&& callback, const CallOptions& options) const {
    auto handle = make_done_callback(std::forward<F>(callback));
    detail::add_done_callback(base(), handle, options);
    return Handle(std::move(handle));
  }
  /// Returns the number of removed callbacks; 0 once the future is done. A handle removes its one
  /// callback; a function pointer, or any callable that can be compared, removes all that are equal
  /// to it, as in Python.
  std::size_t remove_done_callback(const Handle& callback) const {
    return detail::remove_done_callback(base(), callback.object());
  }
  template <class F>
    requires(std::equality_comparable<std::decay_t<F>> &&
             !std::derived_from<std::decay_t<F>, Handle>)
  std::size_t remove_done_callback(F&& callback) const {
    const std::decay_t<F> function(std::forward<F>(callback));
    return detail::remove_done_callbacks(base(), core::TypeOf<std::decay_t<F>>::type, &function);
  }

 private:
  template <class F>
  core::Ref<detail::HandleObject> make_done_callback(F&& callback) const {
    using Object = detail::DoneCallback<T, std::decay_t<F>>;
    return core::Ref<Object>::adopt(new Object(base().loop(), std::forward<F>(callback)));
  }
  void check_settable(const char* operation) const {
    if (base().is_task()) [[unlikely]]
      throw RuntimeError(std::string("Task does not support ") + operation + " operation");
    if (base().loop()->debug()) [[unlikely]]
      base().loop()->home().check_thread();
    base().check_pending();
  }
};

/// True for Future<T>, Task<T> and types that derive from them.
template <class A>
concept future_like = std::derived_from<std::remove_cvref_t<A>, FutureRef> &&
                      requires { typename std::remove_cvref_t<A>::result_type; };

/// Returns true for futures and tasks. Python: asyncio.isfuture.
template <class A>
constexpr bool isfuture(const A&) noexcept {
  return future_like<A>;
}

template <class T>
Future<T> EventLoop::create_future() const {
  return Future<T>(new detail::WithSlot<T>(&object()));
}

}  // namespace fiber::asyncio
