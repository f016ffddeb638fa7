// Condition variables of threads, used by tasks.
//
// A task that waited in libc would stop its thread, and with it the task that is to signal. So the
// task waits on the loop, and is listed here, where the replacements of the functions that signal
// find it, on whatever thread they are called. These are patched in every object, even if only one
// object is to be patched: any object may signal.
//
// Threads wait in libc as usual. A signal wakes a task and a thread, if both wait: POSIX lets
// waiters wake up without a reason. A cancelled task wakes up in this way, since waiting cannot
// fail.
#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/threads.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <ctime>
#include <deque>
#include <exception>
#include <memory>
#include <unordered_map>
#include <utility>

#include <pthread.h>
#include <threads.h>

namespace fiber::monkey::detail {

#if defined(__GLIBC__)
namespace {

using asyncio::detail::LoopObject;
using asyncio::detail::Waiter;

// A task that waits for a condition.
struct Waiting {
  explicit Waiting(LoopObject* its_loop) : loop(its_loop) {}

  LoopObject* loop;
  // The task's waiter, used by the thread of the loop alone; null while it does not wait.
  std::shared_ptr<Waiter*> shown = std::make_shared<Waiter*>(nullptr);
  // Wakes the task from another thread.
  asyncio::detail::ExternalOwner wake = asyncio::detail::new_external(loop, [shown = shown] {
    if (*shown != nullptr) (*shown)->wake();
  });
  std::atomic<bool> signalled{false};

  void tell() noexcept {
    if (own_loop() != loop)
      wake.release()->post();
    else if (*shown != nullptr)
      (*shown)->wake();
  }
};
using WaitingTask = std::shared_ptr<Waiting>;

// All tasks that wait, of all threads.
using Tasks = std::unordered_map<const pthread_cond_t*, std::deque<WaitingTask>>;
Tasks* tasks = nullptr;
pthread_mutex_t tasks_mutex = PTHREAD_MUTEX_INITIALIZER;
std::atomic<std::size_t> task_count{0};

class Locked {
 public:
  Locked() noexcept { real().mutex_lock(&tasks_mutex); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { real().mutex_unlock(&tasks_mutex); }
};

// Throws std::bad_alloc.
void add(const pthread_cond_t* condition, const WaitingTask& task) {
  const Locked lock;
  if (tasks == nullptr) tasks = new Tasks;
  (*tasks)[condition].push_back(task);
  task_count.fetch_add(1);
}

// Returns the first task that waits for the condition, marked as signalled; null if there is none.
WaitingTask take(const pthread_cond_t* condition) noexcept {
  const Locked lock;
  if (tasks == nullptr) return nullptr;
  const auto found = tasks->find(condition);
  if (found == tasks->end()) return nullptr;
  WaitingTask task = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) tasks->erase(found);
  task_count.fetch_sub(1);
  task->signalled = true;
  return task;
}

// Takes a task out that waits no more. It is not listed if it was signalled.
void remove(const pthread_cond_t* condition, const WaitingTask& task) noexcept {
  const Locked lock;
  if (tasks == nullptr) return;
  const auto found = tasks->find(condition);
  if (found == tasks->end() || std::erase(found->second, task) == 0) return;
  if (found->second.empty()) tasks->erase(found);
  task_count.fetch_sub(1);
}

void wake_one(const pthread_cond_t* condition) noexcept {
  if (task_count.load() == 0) return;
  if (const WaitingTask task = take(condition)) task->tell();
}

// Wakes those that wait now: a woken task may wait again at once.
void wake_all(const pthread_cond_t* condition) noexcept {
  if (task_count.load() == 0) return;
  std::deque<WaitingTask> woken;
  {
    const Locked lock;
    if (tasks == nullptr) return;
    const auto found = tasks->find(condition);
    if (found == tasks->end()) return;
    woken.swap(found->second);
    tasks->erase(found);
    task_count.fetch_sub(woken.size());
    for (const WaitingTask& task : woken) task->signalled = true;
  }
  for (const WaitingTask& task : woken) task->tell();
}

// As glibc keeps them in the condition variable.
bool is_shared_with_processes(const pthread_cond_t* condition) noexcept {
  return (__atomic_load_n(&condition->__data.__wrefs, __ATOMIC_RELAXED) & 1U) != 0;
}
clockid_t clock_of(const pthread_cond_t* condition) noexcept {
  const unsigned flags = __atomic_load_n(&condition->__data.__wrefs, __ATOMIC_RELAXED);
  return (flags & 2U) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

// Waits until the task is signalled, or wakes up for another reason. Returns true if the time is
// over.
bool is_late(const Call& call, const pthread_cond_t* condition, const Waiting& waiting,
             std::int64_t deadline) noexcept {
  // A signal of another process is not seen.
  constexpr std::int64_t kLook = 25'000'000;
  std::int64_t until = deadline;
  if (is_shared_with_processes(condition)) until = std::min(deadline, call.deadline_after(kLook));
  while (!waiting.signalled) {
    switch (call.wait({}, until, waiting.shown.get())) {
      case Wake::timed_out: return until == deadline;
      case Wake::failed: return false;
      default: break;
    }
  }
  return false;
}

// `block` calls libc's function.
template <class F>
int wait_until(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
               const timespec* until, F block) noexcept {
  const int error = errno;
  const Call call;
  if (!call || condition == nullptr || mutex == nullptr ||
      (until != nullptr && !is_limit(clock, *until)))
    return block();
  const std::int64_t deadline = until != nullptr ? call.deadline_at(clock, *until) : kNever;
  WaitingTask waiting;
  try {
    waiting = std::make_shared<Waiting>(call.task().loop());
    add(condition, waiting);
  } catch (const std::exception&) {
    return block();
  }
  int result = unlock_mutex(mutex);
  if (result == 0) {
    const bool late = is_late(call, condition, *waiting, deadline);
    remove(condition, waiting);
    result = lock_mutex(mutex);
    if (result == 0 && late && !waiting->signalled) result = ETIMEDOUT;
    // A task that is unwound with its loop must come to an end; there is no better answer.
    if (result == 0 && call.task().abandoned()) result = ECANCELED;
  } else {
    remove(condition, waiting);
  }
  errno = error;
  return result;
}

int wait_(pthread_cond_t* condition, pthread_mutex_t* mutex) noexcept {
  return wait_until(condition, mutex, CLOCK_REALTIME, nullptr,
                    [=] { return real_threads().cond_wait(condition, mutex); });
}

int timedwait_(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until) noexcept {
  const clockid_t clock = condition != nullptr ? clock_of(condition) : CLOCK_REALTIME;
  return wait_until(condition, mutex, clock, until,
                    [=] { return real_threads().cond_timedwait(condition, mutex, until); });
}

int clockwait_(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
               const timespec* until) noexcept {
  return wait_until(condition, mutex, clock, until,
                    [=] { return real_threads().cond_clockwait(condition, mutex, clock, until); });
}

int signal_(pthread_cond_t* condition) noexcept {
  wake_one(condition);
  return real_threads().cond_signal(condition);
}

int broadcast_(pthread_cond_t* condition) noexcept {
  wake_all(condition);
  return real_threads().cond_broadcast(condition);
}

// --- C11's condition variables, which are pthread_cond_t in glibc --------------------------------

pthread_cond_t* as_pthread(cnd_t* condition) noexcept {
  return reinterpret_cast<pthread_cond_t*>(condition);
}
pthread_mutex_t* as_pthread(mtx_t* mutex) noexcept {
  return reinterpret_cast<pthread_mutex_t*>(mutex);
}
int as_thrd(int error) noexcept {
  if (error == 0) return thrd_success;
  return error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int cnd_wait_(cnd_t* condition, mtx_t* mutex) noexcept {
  return as_thrd(wait_(as_pthread(condition), as_pthread(mutex)));
}
int cnd_timedwait_(cnd_t* condition, mtx_t* mutex, const timespec* until) noexcept {
  return as_thrd(timedwait_(as_pthread(condition), as_pthread(mutex), until));
}
int cnd_signal_(cnd_t* condition) noexcept { return as_thrd(signal_(as_pthread(condition))); }
int cnd_broadcast_(cnd_t* condition) noexcept { return as_thrd(broadcast_(as_pthread(condition))); }

}  // namespace

void forget_waiting_tasks() noexcept {
  tasks_mutex = PTHREAD_MUTEX_INITIALIZER;
  tasks = nullptr;
  task_count = 0;
}

std::span<const Hook> condition_hooks() noexcept {
  static const Hook hooks[] = {
      hook<wait_>("pthread_cond_wait"),           hook<timedwait_>("pthread_cond_timedwait"),
      hook<clockwait_>("pthread_cond_clockwait"), hook<cnd_wait_>("cnd_wait"),
      hook<cnd_timedwait_>("cnd_timedwait"),
  };
  return hooks;
}

std::span<const Hook> waking_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<signal_>("pthread_cond_signal"),
      plain_hook<broadcast_>("pthread_cond_broadcast"),
      plain_hook<cnd_signal_>("cnd_signal"),
      plain_hook<cnd_broadcast_>("cnd_broadcast"),
  };
  return hooks;
}
#else
void forget_waiting_tasks() noexcept {}
std::span<const Hook> condition_hooks() noexcept { return {}; }
std::span<const Hook> waking_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
