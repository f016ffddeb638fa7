#include <fiber/asyncio/stall.hpp>

#include <fiber/asyncio/detail/handle_object.hpp>
#include <fiber/asyncio/detail/thread_question.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>

namespace fiber::asyncio {
namespace {

using std::chrono::steady_clock;

}  // namespace

std::string str(const Stall& stall) {
  char head[64];
  std::snprintf(head, sizeof head, "%.3f", std::chrono::duration<double>(stall.duration).count());
  std::string text = "asyncio: the event loop has not turned for " + std::string(head) + " s: ";
  if (!stall.task.empty())
    text += "task '" + stall.task + "' running " + stall.coroutine + "() keeps it";
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
  explicit Watcher(stall_options options)
      : options_(std::move(options)), loop_(&detail::running_loop()) {
    if (options_.limit <= nanoseconds::zero()) throw ValueError("limit must be positive");
    if (options_.signal < 0 || options_.signal >= NSIG)
      throw ValueError("there is no signal " + std::to_string(options_.signal));
    if (options_.signal != 0) question_.emplace(loop_.object(), options_.signal);
    watcher_.emplace([this] { watch(); });
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_one();
    watcher_->join();
  }

 private:
  // Answered by the loop in its next iteration.
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
    while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
      if (ping != nullptr && ping->answered.load(std::memory_order_relaxed)) ping = nullptr;
      if (loop_.object().sleeping()) continue;
      if (ping == nullptr) {
        ping = send();
        continue;
      }
      const nanoseconds silence = steady_clock::now() - ping->sent;
      if (silence < options_.limit || std::exchange(ping->reported, true)) continue;
      lock.unlock();
      report(silence);
      lock.lock();
    }
  }

  std::shared_ptr<Ping> send() const {
    auto ping = std::make_shared<Ping>();
    const auto step = [ping] { ping->answered.store(true, std::memory_order_relaxed); };
    loop_.object().post(new detail::HandleOf<decltype(step)>(&loop_.object(), step));
    return ping;
  }

  void report(nanoseconds silence) const {
    Stall stall{.duration = silence};
    if (question_)
      if (std::optional<Stall> answer = question_->ask(silence)) stall = std::move(*answer);
    if (options_.hook)
      options_.hook(stall);
    else
      std::fputs(str(stall).c_str(), stderr);
  }

  stall_options options_;
  EventLoop loop_;
  std::optional<detail::ThreadQuestion> question_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::optional<detail::WatcherThread> watcher_;
};

StallMonitor::StallMonitor(stall_options options)
    : watcher_(std::make_unique<Watcher>(std::move(options))) {}

StallMonitor::~StallMonitor() = default;

}  // namespace fiber::asyncio
