#include <fiber/asyncio/stall.hpp>

#include <fiber/asyncio/base_handles.hpp>
#include <fiber/asyncio/stubborn.hpp>
#include <fiber/asyncio/thread_question.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/core/backtrace.hpp>
#include <fiber/core/undying.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <new>

namespace fiber::asyncio {
namespace {

using std::chrono::steady_clock;

}  // namespace

std::string str(const Stall& stall) {
  if (stall.cancelled) {
    std::string text = "asyncio: task " + fiber::detail::quoted(stall.task) + " running " +
                       stall.coroutine +
                       "() was cancelled, and the library that it calls goes on and on\n";
    for (const std::string& frame : stall.backtrace) text += "  at " + frame + "\n";
    return text;
  }
  std::string text =
      "asyncio: the event loop has not turned for " +
      fiber::detail::fixed(std::chrono::duration<double>(stall.duration).count(), 3) + " s: ";
  if (!stall.task.empty())
    text +=
        "task " + fiber::detail::quoted(stall.task) + " running " + stall.coroutine + "() keeps it";
  else if (!stall.backtrace.empty())
    text += "a callback keeps it";
  else
    text += "its thread does not say why";
  text += "\n";
  for (const std::string& frame : stall.backtrace) text += "  at " + frame + "\n";
  return text;
}

// --- the thread ---------------------------------------------------------------------------------

class StallMonitor::Watcher {
 public:
  explicit Watcher(StallOptions options)
      : options_(std::move(options)), loop_(&detail::running_loop()) {
    if (options_.limit <= nanoseconds::zero())
      throw ValueError("StallMonitor: limit must be positive");
    if (options_.signal < 0 || options_.signal >= NSIG)
      throw ValueError("StallMonitor: there is no signal " + std::to_string(options_.signal));
    if (options_.signal != 0) question_.emplace(loop_.object(), options_.signal);
    guard_forks();
    const std::lock_guard lock(all_mutex);
    all.reserve(all.size() + 1);
    watcher_.emplace([this] { watch(); });
    all.push_back(this);
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() {
    {
      const std::lock_guard lock(all_mutex);
      std::erase(all, this);
    }
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_one();
    watcher_->join();
  }

  bool exists() const noexcept { return watcher_->exists(); }

  // Hands a stall to the monitors, on the loop's thread; each shows it on its own thread.
  static void tell(const detail::LoopObject& loop, const Stall& stall) {
    const std::lock_guard lock(all_mutex);
    for (Watcher* watcher : all) {
      if (&watcher->loop_.object() != &loop) continue;
      const std::lock_guard its_lock(watcher->mutex_);
      watcher->told_.push_back(stall);
      watcher->stop_.notify_one();
    }
  }

 private:
  // A question to the loop, answered in its next iteration.
  struct Ping {
    std::atomic<bool> answered{false};
    steady_clock::time_point sent = steady_clock::now();
    bool reported = false;
  };

  void watch() {
    const nanoseconds interval =
        std::max<nanoseconds>(options_.limit / 4, std::chrono::milliseconds(1));
    std::shared_ptr<Ping> ping;
    std::unique_lock lock(mutex_);
    for (;;) {
      stop_.wait_for(lock, interval, [this] { return stopping_ || !told_.empty(); });
      if (stopping_) return;
      if (!told_.empty()) {
        const std::vector<Stall> told = std::exchange(told_, {});
        lock.unlock();
        for (const Stall& stall : told) show(stall);
        lock.lock();
        continue;
      }
      if (ping != nullptr && ping->answered.load(std::memory_order_relaxed)) ping = nullptr;
      if (loop_.object().mailbox().sleeping()) continue;
      if (ping == nullptr) {
        ping = send();
        continue;
      }
      const nanoseconds silence = steady_clock::now() - ping->sent;
      if (silence < options_.limit || ping->reported) continue;
      lock.unlock();
      ping->reported = report(silence);
      lock.lock();
    }
  }

  // Returns null without memory: the monitor's thread tries again after its next pause.
  std::shared_ptr<Ping> send() const noexcept {
    try {
      auto ping = std::make_shared<Ping>();
      const auto step = [ping] { ping->answered.store(true, std::memory_order_relaxed); };
      loop_.object().post(core::Ref<detail::HandleObject>::adopt(
          new detail::HandleOf<decltype(step)>(&loop_.object(), step)));
      return ping;
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  // Returns false without memory: the loop may still stand when the monitor's thread looks again.
  bool report(nanoseconds silence) const noexcept {
    Stall stall{.duration = silence};
    try {
      if (question_)
        if (std::optional<Stall> answer = question_->ask(silence)) stall = std::move(*answer);
    } catch (const std::bad_alloc&) {
      return false;
    }
    show(stall);
    return true;
  }

  // Shows a stall. An exception of the hook ends the process.
  void show(const Stall& stall) const noexcept {
    if (options_.hook) {
      options_.hook(stall);
      return;
    }
    try {
      std::fputs(str(stall).c_str(), stderr);
    } catch (const std::bad_alloc&) {
      std::fputs("asyncio: the event loop stands; no memory for a report\n", stderr);
    }
  }

  // In a child process there are no monitors, and the lock of their list must not stay locked.
  static void guard_forks() {
    static const bool guarded = (core::at_fork([] { all_mutex.lock(); }, [] { all_mutex.unlock(); },
                                               [] {
                                                 all.clear();
                                                 all_mutex.unlock();
                                               }),
                                 true);
    static_cast<void>(guarded);
  }

  StallOptions options_;
  EventLoop loop_;
  std::optional<detail::ThreadQuestion> question_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::vector<Stall> told_;
  std::optional<detail::WatcherThread> watcher_;

  static inline std::mutex all_mutex;
  static inline std::vector<Watcher*> all;
};

void detail::report_stubborn(const TaskBase& task) noexcept {
  try {
    Stall stall{
        .task = task.get_name(), .coroutine = task.coroutine_name().str(), .cancelled = true};
    for (void* address : core::backtrace_from(__builtin_frame_address(0)))
      stall.backtrace.push_back(describe_frame(address));
    StallMonitor::Watcher::tell(*task.loop(), stall);
  } catch (...) {
    // Without memory there is no report.
  }
}

StallMonitor::StallMonitor(StallOptions options)
    : watcher_(std::make_unique<Watcher>(std::move(options))) {}

StallMonitor::~StallMonitor() { detail::end_watcher(std::move(watcher_)); }

}  // namespace fiber::asyncio
