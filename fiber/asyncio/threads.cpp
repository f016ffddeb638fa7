#include <fiber/asyncio/threads.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/core/signal_mask.hpp>

#include <optional>
#include <system_error>
#include <thread>

namespace fiber::asyncio {

void EventLoop::set_default_executor(
    std::shared_ptr<concurrent::futures::ThreadPoolExecutor> executor) const {
  if (executor == nullptr) throw TypeError("executor must be ThreadPoolExecutor instance");
  object().default_executor = std::move(executor);
}

namespace detail {

ExternalDone::ExternalDone(LoopObject* loop) : HandleObject(loop), LoopDependent(*loop) {
  loop->retain();
  loop->outside_work.fetch_add(1);
}

// Lowers the count of outstanding jobs, on the loop's thread: if the other thread lowered it, the
// loop could still see the job as outstanding after its delivery, and wait for it.
ExternalDone::~ExternalDone() {
  leave();
  loop()->outside_work.fetch_sub(1);
  loop()->release();
}

void ExternalDone::post() noexcept {
  const core::Ref<LoopObject> its_loop(loop());
  its_loop->post(core::Ref<HandleObject>::adopt(this));
}

void post_or_drop(ExternalDone* call, bool wanted) noexcept {
  if (!wanted) call->cancel();
  call->post();
}

concurrent::futures::ThreadPoolExecutor& default_executor(LoopObject& loop) {
  if (loop.executor_shutdown_called) throw RuntimeError("Executor shutdown has been called");
  if (loop.default_executor == nullptr)
    loop.default_executor = std::make_shared<concurrent::futures::ThreadPoolExecutor>(
        concurrent::futures::ThreadPoolOptions{.thread_name_prefix = "asyncio"});
  return static_cast<concurrent::futures::ThreadPoolExecutor&>(*loop.default_executor);
}

namespace {

// Waits for the executor's threads by polling, for a process that could not start the thread which
// joins them.
void wait_without_thread(const concurrent::futures::ThreadPoolExecutor& executor) {
  constexpr std::chrono::milliseconds kPause{5};
  while (executor.has_threads()) asyncio::await(asyncio::sleep(kPause));
}

}  // namespace

void shutdown_default_executor(LoopObject& loop, nanoseconds timeout) {
  loop.executor_shutdown_called = true;
  const auto executor =
      std::static_pointer_cast<concurrent::futures::ThreadPoolExecutor>(loop.default_executor);
  if (executor == nullptr) return;
  // Joining blocks, so another thread does it.
  const Future<> joined = EventLoop(&loop).create_future();
  concurrent::futures::Future<void> done;
  done.set_running_or_notify_cancel();
  auto* copy = new CopyState<void>(&loop, joined, false);
  ExternalOwner post(copy);
  copy->set_source(done);
  done.add_done_callback([post = std::move(post)]() mutable { post.release()->post(); });
  std::thread joiner;
  try {
    const core::SignalsBlocked blocked;
    joiner = std::thread([executor, done] {
      executor->shutdown({.wait = true});
      done.set_result();
    });
  } catch (const std::system_error&) {
    executor->shutdown({.wait = false});
  }
  // Lets the thread go on by itself once no code waits for it.
  struct LetGo {
    std::thread& thread;
    ~LetGo() {
      if (thread.joinable()) thread.detach();
    }
  } let_go{joiner};
  std::optional<nanoseconds> limit;
  if (timeout != nanoseconds::max()) limit = timeout;
  try {
    asyncio::with(Timeout(deadline_after(limit)), [&] {
      if (joiner.joinable())
        asyncio::await(joined);
      else
        wait_without_thread(*executor);
    });
    if (joiner.joinable()) joiner.join();
  } catch (const TimeoutError&) {
    log(LogLevel::warning,
        "RuntimeWarning: The executor did not finish joining its threads in time.");
    executor->shutdown({.wait = false});
  }
}

}  // namespace detail
}  // namespace fiber::asyncio
