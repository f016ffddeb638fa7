#include <fiber/asyncio/runners.hpp>
#include <fiber/core/thread_state.hpp>

#include <fiber/asyncio/cancellation.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/unix_events.hpp>
#include <fiber/platform/thread.hpp>

#include <atomic>
#include <csignal>

#include <unistd.h>

namespace fiber::asyncio {
namespace {

// State for the signal handler: set before the handler is installed, cleared after it is removed.
std::atomic<detail::LoopObject*> interrupted_loop{nullptr};
std::atomic<int> interrupts{0};  // not looked at yet
struct sigaction previous_action;

void on_sigint(int) {
  const detail::InSignalHandler scope;
  if (detail::LoopObject* loop = interrupted_loop.load()) {
    // The third Ctrl-C: a program that never returns to its loop must still be stoppable.
    if (interrupts.fetch_add(1) >= 2) {
      ::sigaction(SIGINT, &previous_action, nullptr);
      ::raise(SIGINT);
    }
    loop->signals().attend();
  }
}

}  // namespace

void detail::cancel_all_tasks(const EventLoop& loop) {
  const std::vector<TaskRef> to_cancel = all_tasks(loop);
  if (to_cancel.empty()) return;
  try {
    detail::Cancellation::cancel_all(to_cancel);
  } catch (const std::bad_alloc&) {
    // No memory: cancel one after the other, which needs none.
    for (const TaskRef& task : to_cancel) task.cancel();
  }
  loop.run_until_complete(detail::gather_untyped({to_cancel.begin(), to_cancel.end()}));
  for (const TaskRef& task : to_cancel) {
    if (!task.done() || task.cancelled() || !task.base().peek_exception()) continue;
    task.base().set_log_traceback(false);
    loop.object().errors().report_failure(
        "unhandled exception during asyncio.run() shutdown",
        {.exception = task.base().peek_exception(), .task = task});
  }
}

Runner::Runner(RunnerOptions options) : options_(std::move(options)) {}

Runner::~Runner() {
  try {
    close();
  } catch (...) {
    fiber::detail::unraisable(std::current_exception(), "Exception ignored in asyncio::Runner",
                              nullptr);
  }
}

// Throws before anything is made, as in CPython.
void Runner::refuse_running_loop() {
  if (detail::asyncio_thread().running != nullptr)
    throw RuntimeError("Runner.run() cannot be called from a running event loop");
}

void Runner::lazy_init() {
  if (state_ == State::closed) throw RuntimeError("Runner is closed");
  if (state_ == State::initialized) return;
  if (options_.loop_factory) {
    EventLoop made = options_.loop_factory();
    if (!made) throw ValueError("loop_factory has returned a null loop");
    loop_ = std::move(made);
  } else {
    loop_ = new_event_loop();
    set_event_loop(loop_);
  }
  if (options_.debug) loop_.set_debug(*options_.debug);
  if (options_.raise_deadlock) loop_.set_raise_deadlock(*options_.raise_deadlock);
  context_ = contextvars::Context(contextvars::detail::copy_current());
  state_ = State::initialized;
}

EventLoop Runner::get_loop() {
  lazy_init();
  return loop_;
}

void Runner::close() {
  if (state_ != State::initialized) return;
  struct End {
    Runner& runner;
    ~End() {
      // A runner with static storage is destroyed when the thread has ended its fibers.
      if (!runner.options_.loop_factory && !core::thread_is_exiting()) set_event_loop(EventLoop());
      if (runner.loop_.is_running()) return;  // it refuses to be closed
      runner.state_ = State::closed;
      runner.loop_.close();
      runner.loop_ = EventLoop();
    }
  } end{*this};
  // A callback that ends the thread would do so again: the remaining tasks are unwound without
  // another iteration.
  if (loop_.object().thread_ends || core::thread_is_exiting()) {
    for (const TaskRef& task : all_tasks(loop_))
      static_cast<detail::TaskBase&>(task.base()).log_destroy_pending = false;
    return;
  }
  if (loop_.is_running()) {
    // CPython notices when it has cancelled the tasks.
    for (const TaskRef& task : all_tasks(loop_)) task.cancel();
    loop_.close();  // throws
  }
  detail::cancel_all_tasks(loop_);
  loop_.run_until_complete(loop_.shutdown_asyncgens());
  loop_.run_until_complete(loop_.shutdown_default_executor(std::chrono::seconds(300)));
}

Runner::Interrupts::Interrupts(Runner& runner, detail::FutureBase& task, bool shares_context)
    : runner_(runner),
      task_(static_cast<detail::TaskBase&>(task)),
      shares_context_(shares_context) {
  task_.retain();
  if (!platform::is_first_thread()) return;
  struct sigaction current {};
  if (::sigaction(SIGINT, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0 ||
      current.sa_handler != SIG_DFL)
    return;
  detail::LoopObject& loop = runner_.loop_.object();
  interrupts.store(0);
  loop.signals().on_signal = [this] {
    const int arrived = interrupts.exchange(0);
    for (int i = 0; i < arrived; ++i) {
      if (++count_ == 1 && !task_.done()) {
        task_.cancel({});
        continue;
      }
      throw KeyboardInterrupt();
    }
  };
  interrupted_loop.store(&loop);
  previous_action = current;
  struct sigaction ours {};
  ours.sa_handler = on_sigint;
  ours.sa_flags = 0;  // no SA_RESTART: system calls are to be interrupted
  sigemptyset(&ours.sa_mask);
  installed_ = ::sigaction(SIGINT, &ours, nullptr) == 0;
}

Runner::Interrupts::~Interrupts() {
  if (installed_) {
    struct sigaction current {};
    ::sigaction(SIGINT, nullptr, &current);
    if (current.sa_handler == on_sigint)
      ::sigaction(SIGINT, &previous_action, nullptr);
    else
      detail::replace_saved_action(SIGINT, on_sigint, previous_action);
    interrupted_loop.store(nullptr);
    detail::InSignalHandler::wait_for_others();
    runner_.loop_.object().signals().on_signal = nullptr;
  }
  task_.release();
}

void Runner::Interrupts::run() {
  struct KeepContext {
    Interrupts& interrupts;
    ~KeepContext() {
      // Variables that main has set stay set for the next run().
      if (interrupts.shares_context_)
        interrupts.runner_.context_ = interrupts.task_.context_handle();
    }
  } keep{*this};
  runner_.loop_.object().run_until_done(task_, true);
  if (task_.cancelled() && count_ > 0 && task_.uncancel() == 0) throw KeyboardInterrupt();
}

}  // namespace fiber::asyncio
