// Threads and the loop. Python: asyncio.threads, loop.run_in_executor, asyncio.wrap_future.
#pragma once

#include <fiber/asyncio/runners.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/concurrent/thread.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/standard.hpp>
#include <fiber/core/take.hpp>

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace fiber::asyncio {

namespace detail {

/// The handle that is queued in the loop by the thread that ends a concurrent future. The handle
/// holds a reference to a future of the loop, whose count belongs to the loop's thread: so the
/// handle is made on that thread, and drops the reference when the loop is closed, even if the
/// other thread is not done yet.
class FIBER_API ExternalDone : public HandleObject, LoopDependent {
 public:
  explicit ExternalDone(LoopObject* loop);
  ~ExternalDone() override;
  /// Queues the handle, from any thread, once.
  void post() noexcept;
  void loop_closed() noexcept override { drop_callable(); }
};

/// Posts the call. An unwanted call is cancelled and posted too, since its captures may be
/// destroyed only in the loop.
FIBER_API void post_or_drop(ExternalDone* call, bool wanted) noexcept;

/// Owns a call that another thread will post; deletes it by posting, for code that may end without
/// having posted it.
class ExternalOwner {
 public:
  explicit ExternalOwner(ExternalDone* call) noexcept : call_(call) {}
  ExternalOwner(ExternalOwner&& other) noexcept : call_(other.release()) {}
  ExternalOwner& operator=(ExternalOwner&&) = delete;
  ~ExternalOwner() {
    if (call_ != nullptr) post_or_drop(call_, false);
  }
  /// Gives the call up: the caller posts it.
  [[nodiscard]] ExternalDone* release() noexcept { return core::take(call_); }

 private:
  ExternalDone* call_;
};

template <class T>
class CopyState final : public ExternalDone {
 public:
  CopyState(LoopObject* loop, Future<T> destination, bool take)
      : ExternalDone(loop), destination_(std::move(destination)), take_(take) {}
  void set_source(const concurrent::futures::Future<T>& source) noexcept { source_ = source; }

  void call() override {
    if (destination_.done() || !source_) return;
    try {
      copy();
    } catch (...) {
      // A result that cannot be copied or moved: the tasks that await it get the exception.
      if (destination_.done()) throw;
      destination_.set_exception(std::current_exception());
    }
  }

 private:
  void copy() {
    if (source_->cancelled()) {
      destination_.cancel();
    } else if (std::exception_ptr error = source_->exception()) {
      destination_.set_exception(std::move(error));
    } else if constexpr (std::is_void_v<T>) {
      destination_.set_result();
    } else {
      if constexpr (is_copyable<T>()) {
        if (!take_) return destination_.set_result(T(source_->result()));
      }
      destination_.set_result(source_->take_result());
    }
  }
  void destroy_callable() noexcept override {
    destination_ = {};
    source_.reset();
  }
  Future<T> destination_;
  std::optional<concurrent::futures::Future<T>> source_;
  bool take_;
};

/// A future of the loop, made before the concurrent future whose outcome it will get: after the
/// call has been submitted nothing may fail, since nobody would wait for the call's end.
template <class T>
class LoopChain {
 public:
  using Source = concurrent::futures::Future<T>;
  LoopChain(const EventLoop& loop, bool take)
      : destination_(loop.create_future<T>()),
        cancelled_(std::make_shared<std::optional<Source>>()),
        copy_(new CopyState<T>(&loop.object(), destination_, take)) {
    ExternalOwner done(copy_);
    destination_.add_done_callback([source = cancelled_](const Future<T>& future) {
      if (future.cancelled() && *source) (*source)->cancel();
    });
    done_ = Source::callback_of([done = std::move(done)]() mutable { done.release()->post(); });
  }
  Future<T> to(const Source& source) && {
    copy_->set_source(source);
    cancelled_->emplace(source);
    source.add_callback(std::move(done_));
    return std::move(destination_);
  }

 private:
  Future<T> destination_;
  std::shared_ptr<std::optional<Source>> cancelled_;
  CopyState<T>* copy_;  // of done_
  core::Owner<concurrent::futures::detail::Callback> done_;
};

template <class T>
Future<T> chain_to_loop(const EventLoop& loop, const concurrent::futures::Future<T>& source) {
  return LoopChain<T>(loop, false).to(source);
}

/// Makes a call that another thread will post, or will give up.
template <class F>
ExternalOwner new_external(LoopObject* loop, F function) {
  struct Call final : WithCallable<F, ExternalDone> {
    using WithCallable<F, ExternalDone>::WithCallable;
    void call() override { this->function_(); }
  };
  return ExternalOwner(new Call(loop, std::move(function)));
}

FIBER_API concurrent::futures::ThreadPoolExecutor& default_executor(LoopObject& loop);

template <class E>
concept executor_like = std::same_as<std::remove_cvref_t<E>, std::nullptr_t> ||
                        requires(E&& executor) { executor->submit([] {}); } ||
                        requires(E&& executor) { executor.submit([] {}); };

template <class E>
auto& executor_of(LoopObject& loop, E&& executor) {
  if constexpr (std::same_as<std::remove_cvref_t<E>, std::nullptr_t>)
    return default_executor(loop);
  else if constexpr (requires { executor->submit([] {}); })
    return *executor;
  else
    return executor;
}

FIBER_API void shutdown_default_executor(LoopObject& loop, nanoseconds timeout);

}  // namespace detail

/// Returns a future of the loop (default: the running one) that ends as the concurrent future does,
/// in the iteration after. Cancelling it cancels the concurrent one, which cannot stop a running
/// job.
template <class T>
Future<T> wrap_future(concurrent::futures::Future<T> future) {
  return detail::chain_to_loop(get_event_loop(), future);
}
template <class T>
Future<T> wrap_future(concurrent::futures::Future<T> future, const EventLoop& loop) {
  return detail::chain_to_loop(loop, future);
}

template <class Executor, class F, class... Args>
auto EventLoop::run_in_executor(Executor&& executor, F&& function, Args&&... args) const {
  if constexpr (!detail::executor_like<Executor>) {
    static_assert(detail::executor_like<Executor>,
                  "run_in_executor takes an executor first, nullptr for the loop's own: "
                  "run_in_executor(nullptr, f, 3)");
    return detail::Anything();
  } else {
    object().check_closed();
    auto& pool = detail::executor_of(object(), std::forward<Executor>(executor));
    using Source = decltype(pool.submit(std::forward<F>(function), std::forward<Args>(args)...));
    detail::LoopChain<typename std::remove_cvref_t<Source>::value_type> chain(*this, true);
    return std::move(chain).to(pool.submit(std::forward<F>(function), std::forward<Args>(args)...));
  }
}

inline auto EventLoop::shutdown_default_executor(time_limit limit) const {
  const nanoseconds timeout = limit.value().value_or(nanoseconds::max());
  return detail::Deferred(
      [loop = *this, timeout] { detail::shutdown_default_executor(loop.object(), timeout); });
}

/// Runs `function(args...)` on a thread of the default executor, in a copy of the current context;
/// await the result. Python: asyncio.to_thread.
template <class F, class... Args>
  requires(std::invocable<std::decay_t<F>, std::decay_t<Args>...>)
auto to_thread(F&& function, Args&&... args) {
  return detail::Deferred(
      [function = std::decay_t<F>(std::forward<F>(function)),
       arguments = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable {
        auto job = [context = contextvars::copy_context(), function = std::move(function),
                    arguments = std::move(arguments)]() mutable -> decltype(auto) {
          return context.run([&]() -> decltype(auto) {
            return std::apply(std::move(function), std::move(arguments));
          });
        };
        return asyncio::await(get_running_loop().run_in_executor(nullptr, std::move(job)));
      });
}
/// Refuses arguments that the function does not take in one line; the result converts to anything.
template <class F, class... Args>
  requires(!std::invocable<std::decay_t<F>, std::decay_t<Args>...>)
detail::Anything to_thread(F&&, Args&&...) {
  static_assert(std::invocable<std::decay_t<F>, std::decay_t<Args>...>,
                "to_thread takes a function and its arguments, not the result of a call: "
                "to_thread(f, 3)");
  return {};
}

namespace detail {

/// Hands the outcome of a task to a concurrent future. A closed loop drops this without a call:
/// then the future is cancelled, for no other code will end it.
template <class T>
class Delivery {
 public:
  explicit Delivery(concurrent::futures::Future<T> to) : to_(std::move(to)) {}
  Delivery(Delivery&& other) noexcept
      : to_(std::move(other.to_)), due_(std::exchange(other.due_, false)) {}
  Delivery& operator=(Delivery&&) = delete;
  ~Delivery() {
    if (due_) to_.cancel();
  }

  void operator()(const Future<T>& done) {
    due_ = false;
    if (done.cancelled()) to_.cancel();
    if (!to_.set_running_or_notify_cancel()) return;
    if (std::exception_ptr error = done.exception())
      to_.set_exception(std::move(error));
    else if constexpr (std::is_void_v<T>)
      to_.set_result();
    else
      concurrent::futures::detail::end_with(to_, std::move(done.result()));
  }
  void fail(std::exception_ptr error) {
    due_ = false;
    if (to_.set_running_or_notify_cancel()) to_.set_exception(std::move(error));
  }

 private:
  concurrent::futures::Future<T> to_;
  bool due_ = true;
};

}  // namespace detail

/// Runs a coroutine in the loop of another thread; the future's result() waits for it. Cancelling
/// the future cancels the task; the future is cancelled if the loop is closed before its end. Pass
/// a coroutine object by std::move, or a callable.
template <class A>
  requires(!std::is_lvalue_reference_v<A> || std::invocable<std::decay_t<A>&>)
auto run_coroutine_threadsafe(A&& coroutine, const EventLoop& loop) {
  auto object = detail::as_coroutine(std::forward<A>(coroutine));
  using T = typename decltype(object)::result_type;
  concurrent::futures::Future<T> result;
  loop.call_soon_threadsafe(
      [object = std::move(object), result, loop, delivery = detail::Delivery<T>(result)]() mutable {
        Task<T> task;
        try {
          task = loop.create_task(std::exchange(object, {}));
          auto cancel = detail::new_external(&loop.object(), [task] { task.cancel(); });
          result.add_done_callback(
              [cancel = std::move(cancel)](const concurrent::futures::Future<T>& done) mutable {
                detail::post_or_drop(cancel.release(), done.cancelled());
              });
          task.add_done_callback(std::move(delivery));
        } catch (...) {  // of a task factory, or for want of memory: the waiting thread must get it
          detail::withdraw(task);  // before that thread goes on, whose variables it may use
          detail::Delivery<T>(result).fail(std::current_exception());
          if (task) task.cancel();  // nobody would learn of its end
          throw;
        }
      });
  return result;
}

}  // namespace fiber::asyncio
