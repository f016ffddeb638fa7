#include <fiber/asyncio/thread_question.hpp>

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/core/symbols.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include <dlfcn.h>
#include <unwind.h>

namespace fiber::asyncio::detail {
namespace {

using std::chrono::steady_clock;

// The question and its answer. The signal handler on the loop's thread fills it in: no allocation,
// no locks.
struct Question {
  pthread_t thread;
  const LoopObject* loop;
  std::atomic<bool> answered{false};
  char task[128] = "";
  CoroutineName coroutine = nullptr;
  void* frames[64] = {};
  int frame_count = 0;
  void* interrupted_at = nullptr;
};

// The question that is being asked; all monitors together ask one at a time. The thread that
// exchanges the pointer for null owns the question.
std::atomic<Question*> question{nullptr};
core::Undying<std::mutex> one_question;  // held by the asking thread

struct Walk {
  void** frames;
  int room;
  int count;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* argument) noexcept {
  auto& walk = *static_cast<Walk*>(argument);
  if (walk.count == walk.room) return _URC_END_OF_STACK;
  if (void* address = reinterpret_cast<void*>(_Unwind_GetIP(context)))
    walk.frames[walk.count++] = address;
  return _URC_NO_REASON;
}

// glibc's backtrace(), which other libraries of C do not have.
int frames_here(void** frames, int room) noexcept {
  Walk walk{frames, room, 0};
  _Unwind_Backtrace(note_frame, &walk);
  return walk.count;
}

void write_name(const TaskBase& task, char* to, std::size_t size) noexcept {
  if (const std::string* given = task.given_name()) {
    std::size_t length = std::min(given->size(), size - 1);
    // A letter of UTF-8 is not cut.
    if (length < given->size())
      while (length > 0 && (static_cast<unsigned char>((*given)[length]) & 0xc0U) == 0x80) --length;
    std::memcpy(to, given->data(), length);
    to[length] = '\0';
    return;
  }
  std::memcpy(to, "Task-", 5);
  *std::to_chars(to + 5, to + size - 1, task.number()).ptr = '\0';
}

void answer(Question& asked, void* context) noexcept {
  if (running_loop_or_null() == asked.loop) {
    if (const TaskBase* task = asked.loop->turns().current_task) {
      write_name(*task, asked.task, sizeof asked.task);
      asked.coroutine = task->coroutine_name();
    }
  }
  asked.interrupted_at = reinterpret_cast<void*>(platform::interrupted(context).program_counter);
  asked.frame_count = frames_here(asked.frames, static_cast<int>(std::size(asked.frames)));
  asked.answered.store(true, std::memory_order_release);
}

// The signal handler, installed while any monitor asks by its signal.
class Handler {
 public:
  static void install(int signal) {
    const std::lock_guard lock(mutex());
    Use& use = uses()[signal];
    if (use.count++ > 0) return;
    void* unused[1];
    // The first call of the unwinder may need locks, which a handler cannot take.
    frames_here(unused, 1);
    struct sigaction ours {};
    ours.sa_sigaction = &Handler::handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ::sigemptyset(&ours.sa_mask);
    // Without the handler the signal could end the program.
    if (::sigaction(signal, &ours, &use.previous) != 0) {
      --use.count;
      throw RuntimeError("sig " + std::to_string(signal) + " cannot be caught");
    }
  }
  static void remove(int signal) noexcept {
    const std::lock_guard lock(mutex());
    Use& use = uses()[signal];
    if (--use.count > 0) return;
    struct sigaction current {};
    ::sigaction(signal, nullptr, &current);
    if (current.sa_sigaction == &Handler::handle) ::sigaction(signal, &use.previous, nullptr);
  }
  static std::mutex& mutex() {
    static std::mutex all;
    return all;
  }

 private:
  struct Use {
    int count = 0;
    struct sigaction previous {};
  };
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

// Asks the thread. Returns false if it does not answer, for instance because it blocks the signal.
bool ask(Question& asked, int signal) {
  const std::lock_guard lock(*one_question);
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

Stall stall_of(const Question& asked, nanoseconds duration) {
  Stall stall{.duration = duration};
  stall.task = asked.task;
  if (asked.coroutine.data != nullptr) stall.coroutine = asked.coroutine.str();
  void* const* begin = asked.frames;
  void* const* end = asked.frames + asked.frame_count;
  // The frames above belong to the handler.
  void* const* first = std::find(begin, end, asked.interrupted_at);
  for (void* const* at = first != end ? first : begin; at != end; ++at)
    stall.backtrace.push_back(describe_frame(*at));
  return stall;
}

}  // namespace

std::string describe_frame(void* address) {
  // Return addresses point behind the call.
  const core::Symbol symbol = core::find_symbol(static_cast<const char*>(address) - 1);
  char text[64];
  Dl_info where{};
  if (::dladdr(address, &where) == 0 || where.dli_fname == nullptr) {
    std::snprintf(text, sizeof text, "%p", address);
    return text;
  }
  // Tools that find the line take the offset in the object.
  std::snprintf(
      text, sizeof text, "+0x%zx",
      static_cast<std::size_t>(static_cast<char*>(address) - static_cast<char*>(where.dli_fbase)));
  std::string place = where.dli_fname + std::string(text);
  if (symbol.name.empty()) return place;
  std::snprintf(text, sizeof text, "+0x%zx", symbol.offset + 1);
  return symbol.name + text + " (" + place + ")";
}

ThreadQuestion::ThreadQuestion(const LoopObject& loop, int signal)
    : loop_(&loop), thread_(::pthread_self()), signal_(signal) {
  Handler::install(signal_);
}

ThreadQuestion::~ThreadQuestion() { Handler::remove(signal_); }

std::optional<Stall> ThreadQuestion::ask(nanoseconds silence) const {
  const auto asked = std::make_unique<Question>();
  asked->thread = thread_;
  asked->loop = loop_;
  if (!detail::ask(*asked, signal_)) return std::nullopt;
  return stall_of(*asked, silence);
}

namespace {

std::atomic<int> watchers{0};
std::atomic<unsigned> process{0};  // counts from fork to fork

// Forgets the watchers in a child process: their threads do not exist there, and one of them may
// have been asking at the fork.
void forget_watchers() noexcept {
  watchers.store(0);
  process.fetch_add(1);
  question.store(nullptr);
  new (&*one_question) std::mutex;
  Handler::mutex().unlock();
}

}  // namespace

WatcherThread::WatcherThread(std::function<void()> function) : process_(process.load()) {
  static const bool guarded = (core::at_fork([] { Handler::mutex().lock(); },
                                             [] { Handler::mutex().unlock(); }, forget_watchers),
                               true);
  static_cast<void>(guarded);
  const core::SignalsBlocked blocked;
  watchers.fetch_add(1);
  try {
    thread_ = std::thread(std::move(function));
  } catch (const std::system_error&) {
    watchers.fetch_sub(1);
    throw RuntimeError("can't start new thread");
  } catch (...) {
    watchers.fetch_sub(1);
    throw;
  }
}

void WatcherThread::join() {
  thread_.join();
  watchers.fetch_sub(1);
}

bool WatcherThread::exists() const noexcept { return process_ == process.load(); }

int WatcherThread::count() noexcept { return watchers.load(); }

}  // namespace fiber::asyncio::detail
