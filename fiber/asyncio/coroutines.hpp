// Coroutine objects, and await. Python: `async def`, `await`.
//
// A coroutine function is made by async(); calling it makes a coroutine object, in which nothing
// runs yet. await() runs it right here, in the current task, at any depth of calls; create_task()
// runs it concurrently.
#pragma once

#include <fiber/asyncio/detail/coroutine_name.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fiber::asyncio {

namespace detail {

/// The type of an expression that does not compile: it makes one error enough.
struct Anything {
  template <class T>
  operator T&() const;  ///< NOLINT(google-explicit-constructor)
  Anything await_() const;
};
template <class A>
struct is_chrono_duration : std::false_type {};
template <class Rep, class Period>
struct is_chrono_duration<std::chrono::duration<Rep, Period>> : std::true_type {};

/// A callable without arguments whose result can be stored as a T.
template <class F, class T>
concept returns = std::is_invocable_r_v<T, F> || requires(F function) {
  requires std::same_as<result_of_t<std::invoke_result_t<F>>, std::remove_cv_t<T>>;
};

/// A task with a result of type T and an unknown callable. Also a coroutine object: see TaskBase.
template <class T>
class TypedTask : public WithSlot<T, TaskBase> {
 public:
  using WithSlot<T, TaskBase>::WithSlot;
  virtual std::remove_cv_t<T> call() = 0;

  void run_body() final {
    if constexpr (std::is_void_v<T>)
      call();
    else if constexpr (std::is_reference_v<T>)
      this->slot_.value = &call();
    else
      this->slot_.value.emplace(call());
  }
};

template <class T, class F>
class CallableTask final : public TypedTask<T> {
 public:
  template <class G>
  CallableTask(CoroutineName name, G&& function) : TypedTask<T>(name) {
    new (storage_) F(std::forward<G>(function));
  }
  ~CallableTask() override { destroy_callable(); }
  std::remove_cv_t<T> call() override {
    return std::move(*std::launder(reinterpret_cast<F*>(storage_)))();
  }
  void destroy_callable() noexcept override {
    if (std::exchange(alive_, false)) std::launder(reinterpret_cast<F*>(storage_))->~F();
  }

 private:
  alignas(F) std::byte storage_[sizeof(F)];
  bool alive_ = true;
};

/// Makes a task in place of `new`: compilers differ in the deallocation function that they call, if
/// any, when the constructor throws.
template <class Made, class F>
Made* new_task(CoroutineName name, F&& function) {
  constexpr auto kAlignment = std::align_val_t(alignof(Made));
  struct Memory {
    void* block = Made::operator new(sizeof(Made), kAlignment);
    ~Memory() {
      if (block != nullptr) Made::operator delete(block, sizeof(Made), kAlignment);
    }
  } memory;
  Made* made = ::new (memory.block) Made(name, std::forward<F>(function));
  memory.block = nullptr;
  return made;
}

FIBER_API void report_never_awaited(CoroutineName coroutine) noexcept;

/// Throws RuntimeError: a second await has nothing to take.
[[noreturn]] FIBER_API void refuse_second_await();

/// A part of what can be awaited once. Moving takes the one await away from the source.
class Once {
 public:
  Once() noexcept = default;
  Once(const Once&) noexcept = default;
  Once(Once&& other) noexcept : spent_(std::exchange(other.spent_, true)) {}
  Once& operator=(const Once&) noexcept = default;
  Once& operator=(Once&& other) noexcept {
    spent_ = std::exchange(other.spent_, true);
    return *this;
  }
  ~Once() = default;
  /// Throws RuntimeError from the second call on.
  void use() {
    if (std::exchange(spent_, true)) [[unlikely]]
      refuse_second_await();
  }

 private:
  bool spent_ = false;
};

/// A result that is computed when it is awaited: that of sleep(), wait(), Lock::acquire() and the
/// like.
template <class F>
class [[nodiscard]] Deferred {
 public:
  explicit Deferred(F function) : function_(std::move(function)) {}
  /// Throws RuntimeError the second time, and if it was moved from.
  decltype(auto) await_() && {
    once_.use();
    return std::move(function_)();
  }

 private:
  F function_;
  Once once_ = {};
};

}  // namespace detail

/// An awaitable of the user's own: a type whose rvalue has a member await_() that returns the
/// result and may wait.
template <class A>
concept has_await = requires(std::remove_cvref_t<A>&& awaitable) { std::move(awaitable).await_(); };

/// A counted reference to a coroutine object: code that will run once, when it is awaited or made a
/// task. A coroutine object that never runs warns on stderr, as in Python. Not for two threads at a
/// time.
template <class T = void>
class [[nodiscard]] Coroutine {
 public:
  using result_type = T;  ///< what await() returns

  Coroutine() noexcept = default;
  /// Makes a coroutine object of any callable without arguments that returns a T, a const T or a
  /// T&&. The name is for reports, a literal; without one, reports show that of the function, or of
  /// the lambda's type.
  template <class F>
    requires(detail::returns<std::decay_t<F>, T> && !std::same_as<std::decay_t<F>, Coroutine>)
  explicit Coroutine(F&& function)
      : Coroutine(std::forward<F>(function), detail::name_of<F>(function)) {}
  template <class F>
    requires(detail::returns<std::decay_t<F>, T> && !std::same_as<std::decay_t<F>, Coroutine>)
  explicit Coroutine(F&& function, detail::CoroutineName name)
      : task_(detail::new_task<detail::CallableTask<T, std::decay_t<F>>>(
            name, std::forward<F>(function))) {}

  /// Runs the coroutine in the current task. Throws RuntimeError if it has run before.
  T await_() const {
    detail::TypedTask<T>& task = object();
    task.consume();
    const core::Ref<detail::TypedTask<T>> held = task_;
    struct End {
      detail::TypedTask<T>& task;
      ~End() { task.destroy_callable(); }
    } end{task};
    return task.call();
  }

  /// Drops the coroutine without running it, and without a warning.
  void close() const noexcept {
    if (task_ && !task_->consumed()) {
      task_->consume();
      task_->destroy_callable();
    }
  }

  detail::TypedTask<T>& object() const {
    if (!task_) throw ValueError("this coroutine handle is null or was moved from");
    return *task_;
  }

 private:
  core::Ref<detail::TypedTask<T>> task_;
};

namespace detail {

template <class F>
class CoroutineFunction {
 public:
  CoroutineFunction(CoroutineName name, F function) : function_(std::move(function)), name_(name) {}

  CoroutineName name() const noexcept { return name_; }

  template <class... Args>
    requires std::invocable<F, std::decay_t<Args>...>
  auto operator()(Args&&... args) const {
    using Result = result_of_t<std::invoke_result_t<F, std::decay_t<Args>...>>;
    if constexpr (sizeof...(Args) == 0)
      return Coroutine<Result>(F(function_), name_);
    else
      return Coroutine<Result>(
          [function = function_, arguments = std::tuple<std::decay_t<Args>...>(
                                     std::forward<Args>(args)...)]() mutable -> Result {
            return std::apply(std::move(function), std::move(arguments));
          },
          name_);
  }

 private:
  F function_;
  CoroutineName name_;
};

template <class A>
struct is_coroutine : std::false_type {};
template <class T>
struct is_coroutine<Coroutine<T>> : std::true_type {};
template <class A>
struct is_coroutine_function : std::false_type {};
template <class F>
struct is_coroutine_function<CoroutineFunction<F>> : std::true_type {};

template <class F>
struct Naming<CoroutineFunction<F>> {
  static CoroutineName of(const CoroutineFunction<F>& function) noexcept { return function.name(); }
};

}  // namespace detail

/// Makes a coroutine function of `function`: calling the result with arguments copies them into a
/// coroutine object. A result that is an rvalue reference, or const, is stored as a value that is
/// not. The name is for reports; it must outlive the program's use of it (a literal). Without one,
/// reports show that of the function, or of the lambda's type.
template <class F>
auto async(F&& function) {
  const detail::CoroutineName name = detail::name_of<F>(function);
  return detail::CoroutineFunction<std::decay_t<F>>(name, std::forward<F>(function));
}
template <class F>
auto async(const char* name, F&& function) {
  return detail::CoroutineFunction<std::decay_t<F>>(name, std::forward<F>(function));
}

/// A type that `await` takes: a future or task, a coroutine object, or a type with await_().
template <class A>
concept awaitable = future_like<A> || has_await<A>;

/// Waits, and returns the result. For a future: a copy of its result, or, where it cannot be copied
/// or the future has no other handle, the result itself; once the result was moved out, the next
/// await throws InvalidStateError. Throws the awaited code's exception, and CancelledError when the
/// current task is cancelled. RuntimeError outside of a task, if there is a need to wait.
template <has_await A>
FIBER_INLINE decltype(auto) await(A&& awaitable) {
  return std::forward<A>(awaitable).await_();
}

/// Does await() for the handles below. `mine`: the result may be moved out if nobody else holds it.
template <class T>
FIBER_INLINE T await_future(detail::FutureBase& future, bool mine) {
  if (!future.done()) detail::task_for_await().wait(&future);
  future.check_result();
  if constexpr (std::is_reference_v<T>) {
    return detail::slot_of<T>(future).get();
  } else if constexpr (!std::is_void_v<T>) {
    auto& result = detail::slot_of<T>(future).get();
    if constexpr (detail::is_copyable<T>()) {
      if (!mine || future.refs() > 1) return result;
    } else {
      detail::check_not_taken<T>(future);
      future.taken = true;
    }
    return std::move(result);
  }
}

/// Waits for a future or task, by its handle; a temporary handle gives its result up.
template <class T>
FIBER_INLINE T await(const Future<T>& future) {
  // Other code may drop the caller's handle during the wait.
  const Future<T> held = future;  // NOLINT(performance-unnecessary-copy-initialization)
  return await_future<T>(held.base(), false);
}
template <class T>
FIBER_INLINE T await(Future<T>&& future) {
  const Future<T> held = std::move(future);
  return await_future<T>(held.base(), true);
}
template <class T>
FIBER_INLINE T await(const Task<T>& task) {
  return await(static_cast<const Future<T>&>(task));
}
template <class T>
FIBER_INLINE T await(Task<T>&& task) {
  return await(static_cast<Future<T>&&>(task));
}

/// Refuses a type that cannot be awaited in one line; the result converts to anything.
template <class A>
  requires(!awaitable<A>)
detail::Anything await(A&&) {
  using Given = std::remove_cvref_t<A>;
  static_assert(!std::invocable<std::decay_t<A>&>,
                "await takes an awaitable, and this is a function: call it, or pass it to "
                "create_task, gather or wait_for; async(function)() makes a coroutine of it");
  static_assert(std::invocable<std::decay_t<A>&> || !detail::is_chrono_duration<Given>::value,
                "await takes an awaitable, and this is a time: await(asyncio::sleep(time))");
  static_assert(std::invocable<std::decay_t<A>&> || detail::is_chrono_duration<Given>::value,
                "await takes a future, a task, a coroutine object or something with await_(); of "
                "several, await(asyncio::gather(...))");
  return {};
}

/// The parameter of a generator-based coroutine's body.
class GeneratorCoroutine {
 public:
  /// Waits for the awaitable, and returns its result.
  template <awaitable A>
  decltype(auto) yield_from(A&& waited) {
    return asyncio::await(std::forward<A>(waited));
  }
};

/// Makes a coroutine function in the form before `async def`: the body takes `auto& self` first and
/// waits by self.yield_from(awaitable). Python 3.4: `@asyncio.coroutine`.
template <class F>
auto coroutine(F&& function) {
  const detail::CoroutineName name = detail::name_of<F>(function);
  auto body = [function = std::decay_t<F>(std::forward<F>(function))]<class... Args>(
                  Args&&... args) mutable -> decltype(auto) {
    GeneratorCoroutine self;
    return function(self, std::forward<Args>(args)...);
  };
  return detail::CoroutineFunction<decltype(body)>(name, std::move(body));
}

/// The type of await(a).
template <class A>
using await_result_t = decltype(asyncio::await(std::declval<A>()));

}  // namespace fiber::asyncio
