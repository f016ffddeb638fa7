// Running a whole program of tasks. Python: asyncio.runners.
#pragma once

#include <fiber/asyncio/asyncgens.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/with.hpp>
#include <fiber/standard.hpp>

#include <optional>
#include <utility>

namespace fiber::asyncio {

template <class A>
decltype(auto) EventLoop::run_until_complete(A&& awaitable) const {
  object().check_closed();
  object().check_not_running();
  constexpr bool kIsFuture = future_like<A>;
  const auto future = asyncio::ensure_future(std::forward<A>(awaitable), *this);
  object().run_until_done(future.base(), !kIsFuture);
  using T = typename std::remove_cvref_t<decltype(future)>::result_type;
  if constexpr (kIsFuture)
    return asyncio::await(static_cast<const Future<T>&>(future));
  else
    return asyncio::await_future<T>(future.base(), true);
}

inline auto EventLoop::shutdown_asyncgens() const {
  return detail::Deferred([loop = *this] { detail::close_generators(loop.object()); });
}

namespace detail {
/// Cancels the unfinished tasks, waits for them, and reports the errors with which they ended.
FIBER_API void cancel_all_tasks(const EventLoop& loop);
}  // namespace detail

/// Keyword arguments of run() and Runner, which throw ValueError if loop_factory returns a null
/// loop.
struct RunnerOptions {
  std::optional<bool> debug = {};                ///< default: the loop's own
  std::function<EventLoop()> loop_factory = {};  ///< default: new_event_loop
  std::optional<bool> raise_deadlock = {};       ///< see EventLoop::set_raise_deadlock
};

/// Runs several main functions in one loop and, unless told otherwise, in one context; the loop is
/// made at first use and cleaned up by close(): running tasks are cancelled and awaited, then
/// generators are closed, then the default executor's threads are joined. Python: asyncio.Runner.
///
/// In the main thread, while SIGINT has its default effect, Ctrl-C cancels the main task; when the
/// task has ended by that, run() throws KeyboardInterrupt. A second Ctrl-C throws it at once, as
/// soon as the loop is reached.
class FIBER_API Runner {
 public:
  explicit Runner(RunnerOptions options = {});
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  /// Closes the runner; errors without a caller to go to are reported as unraisable.
  ~Runner();

  /// Runs `main`. Throws RuntimeError when closed, or inside a running loop.
  template <detail::taskable A>
  decltype(auto) run(A&& main, CallOptions options = {}) {
    refuse_running_loop();
    lazy_init();
    const bool shares_context = !options.context;
    const auto& context = shares_context ? context_ : options.context;
    auto coroutine = detail::as_coroutine(std::forward<A>(main));
    using Made = Task<typename decltype(coroutine)::result_type>;
    loop_.object().tasks().make(coroutine.object(),
                                {.context = context.object(), .own_context = false});
    const Made task(&coroutine.object());
    coroutine = {};
    Interrupts interrupts(*this, task.base(), shares_context);
    using T = typename decltype(task)::result_type;
    interrupts.run();
    return asyncio::await_future<T>(task.base(), true);
  }
  /// Returns the loop, made at the first call.
  EventLoop get_loop();
  /// Throws what a clean-up does not keep to itself; RuntimeError while the loop runs, which stays
  /// open then, with all its tasks cancelled.
  void close();

  /// For asyncio::with.
  Runner& enter() {
    lazy_init();
    return *this;
  }
  bool exit(const std::exception_ptr&) {
    close();
    return false;
  }

 private:
  class Interrupts {
   public:
    Interrupts(Runner& runner, detail::FutureBase& task, bool shares_context);
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;
    void run();

   private:
    Runner& runner_;
    detail::TaskBase& task_;
    int count_ = 0;
    bool installed_ = false;
    bool shares_context_;
  };

  static void refuse_running_loop();
  void lazy_init();

  enum class State { created, initialized, closed };
  State state_ = State::created;
  RunnerOptions options_;
  EventLoop loop_;
  contextvars::Context context_ = nullptr;  ///< null: empty
};

/// Runs `main` (a coroutine object, an awaitable or a callable) in a loop of its own and returns
/// its result. Throws its exception; RuntimeError inside a running loop. Python: asyncio.run.
template <detail::taskable A>
decltype(auto) run(A&& main, RunnerOptions options = {}) {
  if (detail::asyncio_thread().running != nullptr)
    throw RuntimeError("asyncio.run() cannot be called from a running event loop");
  return asyncio::with(Runner(std::move(options)), [&main](Runner& runner) -> decltype(auto) {
    return runner.run(std::forward<A>(main));
  });
}
/// Refuses a type that no task can run in one line; the result converts to anything.
template <class A>
  requires(!detail::taskable<A>)
detail::Anything run(A&&, const RunnerOptions& = {}) {
  return detail::refuse_task<A>();
}

}  // namespace fiber::asyncio
