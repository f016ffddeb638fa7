// Tasks and their combinations. Python: asyncio.tasks.
#pragma once

#include <fiber/asyncio/combinators.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/standard.hpp>
#include <fiber/traceback.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio {

namespace detail {

FIBER_API std::vector<traceback::FrameSummary> get_stack(TaskBase& task,
                                                         const std::optional<std::size_t>& limit);
FIBER_API void print_stack(TaskBase& task, const std::optional<std::size_t>& limit,
                           std::ostream* out);

/// The functions that references to tasks have: Task<T> and TaskRef.
template <class Reference>
class TaskFunctions {
 public:
  std::string get_name() const { return task().get_name(); }
  void set_name(std::string name) const { task().set_name(std::move(name)); }
  /// `cancelling` returns the number of calls of cancel(), less the calls of uncancel(). `uncancel`
  /// returns the new number; at 0 a cancellation that was not delivered yet is withdrawn.
  int cancelling() const { return task().cancelling(); }
  int uncancel() const { return task().uncancel(); }
  /// Returns the context in which the task runs.
  contextvars::Context get_context() const { return task().get_context(); }
  /// Returns the task's coroutine: a reference that tells its name.
  CoroutineRef get_coro() const;
  /// Returns the task's frames, the library's too, outermost first; empty before its first step and
  /// after its end. `limit`: the number of frames, the innermost ones. See also print_call_graph.
  std::vector<traceback::FrameSummary> get_stack(
      const std::optional<std::size_t>& limit = std::nullopt) const {
    return detail::get_stack(task(), limit);
  }
  /// Writes the frames of get_stack() to stderr, or to `out`.
  void print_stack() const { detail::print_stack(task(), std::nullopt, nullptr); }
  void print_stack(const std::optional<std::size_t>& limit, std::ostream& out) const {
    detail::print_stack(task(), limit, &out);
  }

 private:
  TaskBase& task() const {
    return static_cast<TaskBase&>(static_cast<const Reference&>(*this).base());
  }
};

}  // namespace detail

/// A coroutine that runs concurrently. A counted reference; dropping it neither cancels nor stops
/// the task, which its loop keeps until it is done. Python: asyncio.Task.
template <class T = void>
class Task : public Future<T>, public detail::TaskFunctions<Task<T>> {
 public:
  Task() noexcept = default;
  explicit Task(detail::FutureBase* task) noexcept : Future<T>(task) {}
};

/// A coroutine object of any result type: the argument of a task factory.
class FIBER_API CoroutineRef : private FutureRef {
 public:
  CoroutineRef() noexcept = default;
  explicit CoroutineRef(detail::TaskBase* coroutine) noexcept : FutureRef(coroutine) {}
  /// Returns the name given to async(), else that of the function, or of the lambda's type. Python:
  /// coro.__qualname__.
  std::string name() const { return object().coroutine_name().str(); }
  using FutureRef::operator bool;
  friend bool operator==(const CoroutineRef& a, const CoroutineRef& b) noexcept {
    return a.get() == b.get();
  }
  detail::TaskBase& object() const { return static_cast<detail::TaskBase&>(base()); }
};

/// A task of any result type.
class FIBER_API TaskRef : public FutureRef, public detail::TaskFunctions<TaskRef> {
 public:
  TaskRef() noexcept = default;
  explicit TaskRef(detail::TaskBase* task) noexcept : FutureRef(task) {}
  template <class T>
  TaskRef(const Task<T>& task) noexcept  // NOLINT(google-explicit-constructor)
      : FutureRef(task) {}
  /// Makes a task of a coroutine object, without regard for the loop's task factory; factories
  /// return it. Python: asyncio.Task(coro, loop=loop, **options).
  TaskRef(const CoroutineRef& coroutine, const EventLoop& loop, const TaskOptions& options);
};

template <class Reference>
CoroutineRef detail::TaskFunctions<Reference>::get_coro() const {
  return CoroutineRef(&task());
}

/// A task factory that starts each task at once, inside create_task: its body runs until it first
/// has to wait, and a task that never waits is done when create_task returns. Only while the loop
/// runs; otherwise the task starts as usual. Python: loop.set_task_factory(eager_task_factory).
FIBER_API TaskRef eager_task_factory(const EventLoop& loop, const CoroutineRef& coroutine,
                                     const TaskOptions& options);
/// An eager_task_factory for tasks that another factory makes, which must heed `eager_start`.
FIBER_API task_factory create_eager_task_factory(task_factory constructor);

namespace detail {

/// Returns a coroutine for an argument of create_task: coroutine objects unchanged, awaitables and
/// callables wrapped.
template <class T>
Coroutine<T> as_coroutine(const Coroutine<T>& coroutine) {
  return coroutine;
}
template <class T>
Coroutine<T> as_coroutine(Coroutine<T>& coroutine) {
  return coroutine;
}
template <class T>
Coroutine<T> as_coroutine(Coroutine<T>&& coroutine) {
  return std::move(coroutine);
}
template <class A>
  requires(has_await<A> || future_like<A>)
auto as_coroutine(A&& awaitable) {
  using Held = std::remove_cvref_t<A>;
  const CoroutineName name = name_of<A>(awaitable);
  return Coroutine<result_of_t<await_result_t<Held>>>(
      [held = Held(std::forward<A>(awaitable))]() mutable -> await_result_t<Held> {
        return asyncio::await(std::move(held));
      },
      name);
}
template <class F>
  requires(std::invocable<std::decay_t<F>&> && !has_await<F> && !future_like<F>)
auto as_coroutine(F&& function) {
  using Result = std::invoke_result_t<std::decay_t<F>&>;
  if constexpr (has_await<Result>) {
    // A coroutine function: call it, and await the result.
    using Inner = result_of_t<await_result_t<Result>>;
    const CoroutineName name = name_of<F>(function);
    return Coroutine<Inner>(
        [function = std::decay_t<F>(std::forward<F>(function))]() mutable -> Inner {
          return asyncio::await(function());
        },
        name);
  } else {
    return Coroutine<result_of_t<Result>>(std::forward<F>(function));
  }
}

FIBER_API void make_task(LoopObject& loop, TaskBase& task, const TaskOptions& options);

template <class A>
concept taskable = requires(A&& a) { as_coroutine(std::forward<A>(a)); };

template <class A>
Anything refuse_task() {
  static_assert(taskable<A>,
                "a task runs a coroutine object, an awaitable or a callable without parameters, "
                "and this is none, perhaps the result of a call: [=] { return f(3); } is one");
  return {};
}

template <class T>
Task<T> spawn(LoopObject& loop, const Coroutine<T>& coroutine, const std::string& name) {
  TypedTask<T>& task = coroutine.object();
  task.schedule(loop, name);
  return Task<T>(&task);
}
template <class T>
Task<T> spawn(LoopObject& loop, const Coroutine<T>& coroutine, const TaskOptions& options) {
  TypedTask<T>& task = coroutine.object();
  if (!options.context && !options.eager_start && options.stack_size == 0 &&
      options.guard_size == 0 && !options.own_thread_state)
    task.schedule(loop, options.name);
  else
    make_task(loop, task, options);
  return Task<T>(&task);
}

}  // namespace detail

/// Schedules a coroutine object, an awaitable or a callable in the running loop; its first step
/// runs in the next iteration, unless it starts eagerly. A result that is an rvalue reference, or
/// const, is stored as a value that is not. Throws RuntimeError without a running loop.
template <detail::taskable A>
[[nodiscard]] auto create_task(A&& coroutine) {
  return detail::spawn(detail::running_loop(), detail::as_coroutine(std::forward<A>(coroutine)),
                       std::string());
}
template <detail::taskable A>
[[nodiscard]] auto create_task(A&& coroutine, const TaskOptions& options) {
  return detail::spawn(detail::running_loop(), detail::as_coroutine(std::forward<A>(coroutine)),
                       options);
}

/// Refuses a type that no task can run in one line; the result converts to anything.
template <class A>
  requires(!detail::taskable<A>)
detail::Anything create_task(A&&, const TaskOptions& = {}) {
  return detail::refuse_task<A>();
}

template <class A>
auto EventLoop::create_task(A&& coroutine) const {
  if constexpr (detail::taskable<A>) {
    object().home().check_thread();
    return detail::spawn(object(), detail::as_coroutine(std::forward<A>(coroutine)), std::string());
  } else {
    return detail::refuse_task<A>();
  }
}
template <class A>
auto EventLoop::create_task(A&& coroutine, const TaskOptions& options) const {
  if constexpr (detail::taskable<A>) {
    object().home().check_thread();
    return detail::spawn(object(), detail::as_coroutine(std::forward<A>(coroutine)), options);
  } else {
    return detail::refuse_task<A>();
  }
}

/// True for coroutine objects. Python: asyncio.iscoroutine.
template <class A>
constexpr bool iscoroutine(const A&) noexcept {
  return detail::is_coroutine<A>::value;
}
/// Returns true for a result of async(). Python: asyncio.iscoroutinefunction.
template <class A>
constexpr bool iscoroutinefunction(const A&) noexcept {
  return detail::is_coroutine_function<A>::value;
}

namespace detail {

/// Makes a task. A coroutine that the loop refuses is closed without the warning that it never ran:
/// the caller gets the error.
template <class T>
Task<T> spawn_or_close(LoopObject& loop, Coroutine<T> coroutine) {
  if (loop.is_closed()) [[unlikely]]
    coroutine.close();
  return spawn(loop, std::move(coroutine), std::string());
}

}  // namespace detail

/// Returns a future or task unchanged; makes a task of the running (or set) loop of anything else.
template <class A>
auto ensure_future(A&& awaitable) {
  if constexpr (future_like<A>)
    return std::remove_cvref_t<A>(std::forward<A>(awaitable));
  else if constexpr (!detail::taskable<A>)
    return detail::refuse_task<A>();
  else
    return detail::spawn_or_close(detail::loop_for_futures(),
                                  detail::as_coroutine(std::forward<A>(awaitable)));
}
/// Like ensure_future() above, with the loop in which a new task runs. Throws ValueError for a
/// future of another loop.
template <class A>
auto ensure_future(A&& awaitable, const EventLoop& loop) {
  if constexpr (future_like<A>) {
    detail::check_loop(awaitable.base(), loop.object());
    return std::remove_cvref_t<A>(std::forward<A>(awaitable));
  } else if constexpr (!detail::taskable<A>) {
    return detail::refuse_task<A>();
  } else {
    return detail::spawn_or_close(loop.object(), detail::as_coroutine(std::forward<A>(awaitable)));
  }
}

/// Returns the running task; a null reference in a callback.
FIBER_API TaskRef current_task();
/// Returns the unfinished tasks of the running loop, or of `loop`, oldest first.
FIBER_API std::vector<TaskRef> all_tasks();
FIBER_API std::vector<TaskRef> all_tasks(const EventLoop& loop);

// --- sleep --------------------------------------------------------------------------------------

namespace detail {

FIBER_API void sleep_for(std::int64_t nanoseconds);

struct [[nodiscard]] Sleep {
  std::int64_t delay;
  FIBER_INLINE void await_() && {
    if (delay <= 0)
      yield_now();
    else
      sleep_for(delay);
  }
};

}  // namespace detail

/// Waits for `delay`, or for one iteration if it is not positive. Python: asyncio.sleep.
template <class Rep, class Period>
detail::Sleep sleep(std::chrono::duration<Rep, Period> delay) {
  return {detail::to_nanoseconds(delay)};
}
/// Sleeps for a plain number of seconds, as in Python: sleep(0), sleep(0.5).
template <class Number>
  requires std::is_arithmetic_v<Number>
detail::Sleep sleep(Number seconds) {
  return sleep(std::chrono::duration<double>(seconds));
}
/// Waits for `delay` and returns `result`.
template <class Delay, class T>
auto sleep(Delay delay, T result) {
  return detail::Deferred([delay, result = std::move(result)]() mutable -> T {
    asyncio::sleep(delay).await_();
    return std::move(result);
  });
}

// --- gather -------------------------------------------------------------------------------------

/// The first argument of gather that makes exceptions results like others.
struct return_exceptions_t {};
inline constexpr return_exceptions_t return_exceptions{};  ///< gather(return_exceptions, ...)

/// Runs awaitables concurrently and collects their results in the order of the arguments: a future
/// of a std::tuple (void results are None), or of a std::vector for a range. The first exception
/// goes to the task that awaits the gather; the others run on. Cancelling the gather cancels them
/// all. Python: asyncio.gather.
template <class... A>
  requires((sizeof...(A) != 1) && (... && (future_like<A> || detail::taskable<A>)))
auto gather(A&&... awaitables) {
  return detail::gather_each<false>(std::forward<A>(awaitables)...);
}
template <class... A>
  requires((sizeof...(A) != 1) && (... && (future_like<A> || detail::taskable<A>)))
auto gather(return_exceptions_t, A&&... awaitables) {
  return detail::gather_each<true>(std::forward<A>(awaitables)...);
}
template <class A>
  requires(future_like<A> || detail::taskable<A>)
auto gather(A&& awaitable) {
  return detail::gather_each<false>(std::forward<A>(awaitable));
}
template <class A>
  requires(future_like<A> || detail::taskable<A>)
auto gather(return_exceptions_t, A&& awaitable) {
  return detail::gather_each<true>(std::forward<A>(awaitable));
}

namespace detail {

template <class A>
concept gatherable =
    future_like<A> || taskable<A> || std::same_as<std::remove_cvref_t<A>, return_exceptions_t>;
template <class R>
concept gatherable_range =
    std::ranges::input_range<R> && gatherable<std::ranges::range_reference_t<R>>;
template <class... A>
constexpr bool gathers_range = false;
template <gatherable_range R>
constexpr bool gathers_range<R> = true;
template <class First, gatherable_range R>
constexpr bool gathers_range<First, R> =
    std::same_as<std::remove_cvref_t<First>, return_exceptions_t>;

}  // namespace detail

template <detail::gatherable_range R>
auto gather(R&& awaitables) {
  return detail::gather_range<false>(std::forward<R>(awaitables));
}
template <detail::gatherable_range R>
auto gather(return_exceptions_t, R&& awaitables) {
  return detail::gather_range<true>(std::forward<R>(awaitables));
}
/// Refuses arguments that cannot be gathered in one line; the result converts to anything.
template <class... A>
  requires(!(... && detail::gatherable<A>) && !detail::gathers_range<A...>)
detail::Anything gather(A&&...) {
  static_assert((... && detail::gatherable<A>),
                "gather takes futures, coroutine objects and callables without parameters, or one "
                "range of them, and an argument is none, perhaps the result of a call: "
                "[=] { return f(3); } is one");
  return {};
}

// --- wait ---------------------------------------------------------------------------------------

/// Keyword arguments of wait.
struct WaitOptions {
  time_limit timeout = {};                 ///< throws no error: see wait_result::pending
  ReturnWhen return_when = ALL_COMPLETED;  ///< see ReturnWhen
};

/// The result of wait(): both lists in the order of the argument.
template <class F>
struct wait_result {
  std::vector<F> done;     ///< with a result, an exception, or cancelled
  std::vector<F> pending;  ///< not done when wait() returned
};

namespace detail {

template <class R>
concept waitable = std::ranges::input_range<R> &&
                   (future_like<std::remove_cvref_t<std::ranges::range_value_t<R>>> ||
                    std::derived_from<std::ranges::range_value_t<R>, FutureRef>);

}  // namespace detail

/// Waits for futures or tasks until `return_when` holds or the timeout is over. Never throws their
/// exceptions, and cancels none. Throws ValueError if there are none, or one belongs to another
/// loop. Python: asyncio.wait.
template <detail::waitable R>
auto wait(R&& futures, WaitOptions options = {}) {
  using F = std::remove_cvref_t<std::ranges::range_value_t<R>>;
  std::vector<F> list;
  if constexpr (std::ranges::sized_range<R>) list.reserve(std::ranges::size(futures));
  for (auto&& future : futures) list.emplace_back(std::forward<decltype(future)>(future));
  return detail::Deferred([list = std::move(list), options]() {
    std::vector<detail::FutureBase*> bases;
    bases.reserve(list.size());
    for (const F& future : list) bases.push_back(&future.base());
    detail::wait_for_any(bases, options.timeout.value(), options.return_when);
    wait_result<F> result;
    auto at = list.begin();
    for (detail::FutureBase* base : bases) {  // a repeated future counts once
      while (at->get() != base) ++at;
      (base->done() ? result.done : result.pending).push_back(*at);
    }
    return result;
  });
}
/// Takes a list: wait({task1, task2}). Futures of different types come back as references to
/// futures of any type, which can be compared with the tasks.
template <class F>
  requires(!std::same_as<F, FutureRef>)
auto wait(std::initializer_list<F> futures, WaitOptions options = {}) {
  return asyncio::wait(std::vector<F>(futures), options);
}
template <class F = FutureRef>
auto wait(std::initializer_list<std::type_identity_t<F>> futures, WaitOptions options = {}) {
  return asyncio::wait(std::vector<F>(futures), options);
}
/// Refuses a range of other things, in one line; the result converts to anything. The next two
/// refuse several arguments, and a time that is no option.
template <std::ranges::input_range R>
  requires(!detail::waitable<R>)
detail::Anything wait(R&&, const WaitOptions& = {}) {
  static_assert(detail::waitable<R>,
                "wait takes tasks and futures; make tasks of coroutines with create_task");
  return {};
}
template <future_like First, future_like... More>
detail::Anything wait(First&&, More&&...) {
  static_assert(!future_like<First>, "wait takes one range or list: wait({task1, task2})");
  return {};
}
template <std::ranges::input_range R, class Rep, class Period>
detail::Anything wait(R&&, std::chrono::duration<Rep, Period>) {
  static_assert(!std::ranges::input_range<R>, "wait takes its time limit by name: {.timeout = 3s}");
  return {};
}

// --- shield -------------------------------------------------------------------------------------

/// Waits for an awaitable in such a way that cancelling the wait does not cancel the awaitable.
/// Python: asyncio.shield.
template <class A>
auto shield(A&& awaitable) {
  if constexpr (!future_like<A> && !detail::taskable<A>)
    return detail::refuse_task<A>();
  else {
    auto inner = asyncio::ensure_future(std::forward<A>(awaitable));
    using T = typename decltype(inner)::result_type;
    return Future<T>(inner).done() ? Future<T>(inner)
                                   : detail::make_shield<T>(inner, !future_like<A>);
  }
}

}  // namespace fiber::asyncio
