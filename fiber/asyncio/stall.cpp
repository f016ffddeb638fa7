#include <fiber/asyncio/stall.hpp>

#include <fiber/asyncio/detail/stubborn.hpp>
#include <fiber/core/backtrace.hpp>
#include <fiber/core/demangle.hpp>
#include <fiber/core/signal_mask.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <ucontext.h>

namespace fiber::asyncio {
namespace {

using std::chrono::steady_clock;

// --- what the stalled thread is asked -----------------------------------------------------------

// Filled in by the signal handler on the loop's thread: no allocation, no locks.
struct Question {
  pthread_t thread;
  const detail::LoopObject* loop;
  std::atomic<bool> answered{false};
  char task[128] = "";
  const char* coroutine = nullptr;
  void* frames[64] = {};
  int frame_count = 0;
  void* interrupted_at = nullptr;
};

// At most one at a time, of all monitors. Whoever takes it out owns it.
std::atomic<Question*> question{nullptr};

void* program_counter([[maybe_unused]] void* context) noexcept {
#if defined(__x86_64__)
  return reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.pc);
#else
  return nullptr;
#endif
}

void write_name(const detail::TaskBase& task, char* to, std::size_t size) noexcept {
  if (const std::string* given = task.given_name()) {
    const std::size_t length = std::min(given->size(), size - 1);
    std::memcpy(to, given->data(), length);
    to[length] = '\0';
    return;
  }
  std::memcpy(to, "Task-", 5);
  *std::to_chars(to + 5, to + size - 1, task.number()).ptr = '\0';
}

void answer(Question& asked, void* context) noexcept {
  const core::ThreadState* thread = core::tls_thread_state;
  if (thread != nullptr && thread->asyncio != nullptr &&
      static_cast<const detail::AsyncioThread*>(thread->asyncio)->running == asked.loop) {
    if (const detail::TaskBase* task = asked.loop->current_task) {
      write_name(*task, asked.task, sizeof asked.task);
      asked.coroutine = task->coroutine_name();
    }
  }
  asked.interrupted_at = program_counter(context);
  asked.frame_count = ::backtrace(asked.frames, static_cast<int>(std::size(asked.frames)));
  asked.answered.store(true, std::memory_order_release);
}

// The handler, while any monitor asks by its signal.
class Handler {
 public:
  static void install(int signal) {
    const std::lock_guard lock(mutex());
    Use& use = uses()[signal];
    if (use.count++ > 0) return;
    void* unused[1];
    ::backtrace(unused, 1);  // loads what it needs, which a handler could not
    struct sigaction ours {};
    ours.sa_sigaction = &Handler::handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(signal, &ours, &use.previous);
  }
  static void remove(int signal) noexcept {
    const std::lock_guard lock(mutex());
    Use& use = uses()[signal];
    if (--use.count > 0) return;
    struct sigaction current {};
    ::sigaction(signal, nullptr, &current);
    if (current.sa_sigaction == &Handler::handle) ::sigaction(signal, &use.previous, nullptr);
  }

 private:
  struct Use {
    int count = 0;
    struct sigaction previous {};
  };
  static std::mutex& mutex() {
    static std::mutex all;
    return all;
  }
  static Use* uses() {
    static Use all[NSIG];
    return all;
  }

  static void handle(int signal, siginfo_t* info, void* context) {
    const int error = errno;
    Question* asked = question.load(std::memory_order_acquire);
    if (asked != nullptr && ::pthread_equal(asked->thread, ::pthread_self()) != 0) {
      if (question.compare_exchange_strong(asked, nullptr)) answer(*asked, context);
    } else {
      const struct sigaction& previous = uses()[signal].previous;
      if ((previous.sa_flags & SA_SIGINFO) != 0)
        previous.sa_sigaction(signal, info, context);
      else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        previous.sa_handler(signal);
    }
    errno = error;
  }
};

// False if the thread does not answer, as one that blocks the signal.
bool ask(Question& asked, int signal) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  question.store(&asked, std::memory_order_release);
  if (::pthread_kill(asked.thread, signal) == 0) {
    const auto give_up = steady_clock::now() + std::chrono::seconds(1);
    while (!asked.answered.load(std::memory_order_acquire) && steady_clock::now() < give_up)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Question* still = &asked;
  if (question.compare_exchange_strong(still, nullptr)) return false;
  while (!asked.answered.load(std::memory_order_acquire)) std::this_thread::yield();
  return true;
}

std::string describe(void* address) {
  char text[64];
  Dl_info where{};
  if (::dladdr(address, &where) == 0 || where.dli_fname == nullptr) {
    std::snprintf(text, sizeof text, "%p", address);
    return text;
  }
  // Return addresses point behind the call; tools that want the line take the offset in the object.
  std::snprintf(
      text, sizeof text, "+0x%zx",
      static_cast<std::size_t>(static_cast<char*>(address) - static_cast<char*>(where.dli_fbase)));
  std::string line = where.dli_fname + std::string(text);
  if (where.dli_sname != nullptr) line = core::demangle(where.dli_sname) + " (" + line + ")";
  return line;
}

Stall stall_of(const Question& asked, nanoseconds duration) {
  Stall stall{.duration = duration};
  stall.task = asked.task;
  if (asked.coroutine != nullptr) stall.coroutine = asked.coroutine;
  void* const* begin = asked.frames;
  void* const* end = asked.frames + asked.frame_count;
  // What lies above is the handler's own.
  void* const* first = std::find(begin, end, asked.interrupted_at);
  for (void* const* at = first != end ? first : begin; at != end; ++at)
    stall.backtrace.push_back(describe(*at));
  return stall;
}

}  // namespace

std::string str(const Stall& stall) {
  if (stall.cancelled) {
    std::string text = "asyncio: task '" + stall.task + "' running " + stall.coroutine +
                       "() was cancelled, and the library that it calls goes on and on\n";
    for (const std::string& frame : stall.backtrace) text += "  at " + frame + "\n";
    return text;
  }
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
      : options_(std::move(options)), loop_(&detail::running_loop()), thread_(::pthread_self()) {
    if (options_.limit <= nanoseconds::zero()) throw ValueError("limit must be positive");
    if (options_.signal < 0 || options_.signal >= NSIG)
      throw ValueError("there is no signal " + std::to_string(options_.signal));
    if (options_.signal != 0) Handler::install(options_.signal);
    try {
      const core::SignalsBlocked blocked;
      watcher_ = std::thread([this] { watch(); });
    } catch (...) {
      if (options_.signal != 0) Handler::remove(options_.signal);
      throw;
    }
    const std::lock_guard lock(all_mutex);
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
    watcher_.join();
    if (options_.signal != 0) Handler::remove(options_.signal);
  }

  // On the loop's thread; shown by the monitor's own.
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
    if (options_.signal != 0) {
      const auto asked = std::make_unique<Question>();
      asked->thread = thread_;
      asked->loop = &loop_.object();
      if (ask(*asked, options_.signal)) stall = stall_of(*asked, silence);
    }
    show(stall);
  }

  void show(const Stall& stall) const {
    if (options_.hook)
      options_.hook(stall);
    else
      std::fputs(str(stall).c_str(), stderr);
  }

  stall_options options_;
  EventLoop loop_;
  pthread_t thread_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::vector<Stall> told_;
  std::thread watcher_;

  static inline std::mutex all_mutex;
  static inline std::vector<Watcher*> all;
};

void detail::report_stubborn(const TaskBase& task) noexcept {
  try {
    Stall stall{.task = task.get_name(), .coroutine = task.coroutine_name(), .cancelled = true};
    for (void* address : core::backtrace_from(__builtin_frame_address(0)))
      stall.backtrace.push_back(describe(address));
    StallMonitor::Watcher::tell(*task.loop(), stall);
  } catch (...) {
    // Nobody can be told without memory.
  }
}

StallMonitor::StallMonitor(stall_options options)
    : watcher_(std::make_unique<Watcher>(std::move(options))) {}

StallMonitor::~StallMonitor() = default;

}  // namespace fiber::asyncio
