// Mutexes of threads, used by tasks: for a mutex, all tasks of a loop are one thread.
//
// Locking a mutex that another task of this thread holds would block the thread forever, since that
// task could not go on; a recursive mutex would let the second task in. So the second task waits on
// the loop, and tries again after 25 ms at most. For a mutex that another thread holds, the thread
// waits as usual. Cancellation takes effect afterwards: callers of lock expect no failure.
#include <fiber/core/own_thread.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/threads.hpp>
#include <fiber/monkey/waiting.hpp>

#include <ctime>
#include <mutex>
#include <new>
#include <unordered_map>

#include <pthread.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

namespace fiber::monkey::detail {

#if defined(__GLIBC__)
namespace {

int kind_of(const pthread_mutex_t* mutex) noexcept { return mutex->__data.__kind & 3; }
bool tells_holders_apart(const pthread_mutex_t* mutex) noexcept {
  return kind_of(mutex) == PTHREAD_MUTEX_RECURSIVE_NP ||
         kind_of(mutex) == PTHREAD_MUTEX_ERRORCHECK_NP;
}
int owner_of(const pthread_mutex_t* mutex) noexcept {
  return __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED);
}
int running_thread() noexcept {
  thread_local unsigned known = 0;
  thread_local int thread = 0;
  if (known != forks()) {
    known = forks();
    thread = static_cast<int>(::syscall(SYS_gettid));
  }
  return thread;
}
bool is_ours(const pthread_mutex_t* mutex) noexcept { return owner_of(mutex) == running_thread(); }

// Returns the thread of a task with own_thread_state, which libc itself distinguishes; null for
// other tasks.
const core::OwnThread* lent_thread() noexcept {
  const core::ThreadState* thread = core::tls_thread_state;
  return thread != nullptr ? thread->lent : nullptr;
}
// Whether waiting for a mutex of `owner` would stop `owner` itself, which runs on this thread.
bool is_stopped_by_waiting(int owner) noexcept {
  return owner == running_thread() || core::OwnThread::is_of_this_thread(owner);
}

// The tasks of this thread that hold a mutex which is recursive or checks for errors, and how often
// each has locked it: code outside of tasks may hold a recursive one, too.
struct Holder {
  const TaskBase* task = nullptr;
  std::size_t times = 0;
};
using Holders = std::unordered_map<const pthread_mutex_t*, Holder>;
Holders*& holders() noexcept {
  thread_local Holders* all = nullptr;
  return all;
}
const TaskBase* holder_of(const pthread_mutex_t* mutex) noexcept {
  if (holders() == nullptr) return nullptr;
  const auto found = holders()->find(mutex);
  return found != holders()->end() ? found->second.task : nullptr;
}
// Notes the holder of a mutex. Without memory for the note, the mutex behaves as without patching.
// Leaves errno unchanged, as locking does.
void note(const pthread_mutex_t* mutex, const TaskBase* task) noexcept {
  const int error = errno;
  try {
    if (holders() == nullptr) holders() = new Holders;
    Holder& holder = (*holders())[mutex];
    holder = {task, holder.task == task ? holder.times + 1 : 1};
  } catch (const std::bad_alloc&) {
    errno = error;
  }
}
// Notes that a holder unlocks the mutex; `all`: nothing holds it afterwards.
void forget(const pthread_mutex_t* mutex, bool all) noexcept {
  if (holders() == nullptr) return;
  const auto found = holders()->find(mutex);
  if (found == holders()->end() || (!all && --found->second.times > 0)) return;
  holders()->erase(found);
  if (!holders()->empty()) return;
  delete holders();
  holders() = nullptr;
}

// The owner of a robust mutex may have died: with EOWNERDEAD, too, the caller has the mutex.
bool has_locked(int result) noexcept { return result == 0 || result == EOWNERDEAD; }

bool is_held_by_another(const Call& call, const pthread_mutex_t* mutex) noexcept {
  if (!is_ours(mutex)) return false;
  const TaskBase* holder = holder_of(mutex);
  return holder != nullptr && holder != &call.task();
}

// Locks the mutex. `block` calls libc's function. An invalid time limit or clock is left to libc.
template <class F>
int lock_until(pthread_mutex_t* mutex, clockid_t clock, const timespec* until, F block) noexcept {
  const int error = errno;
  const PolicyOfCall policy(Cancel::never);
  const Call call;
  if (!call || mutex == nullptr || (until != nullptr && !is_limit(clock, *until))) return block();
  const std::int64_t deadline = until != nullptr ? call.deadline_at(clock, *until) : kNever;
  Backoff backoff;
  bool timed_out = false;
  const auto pause = [&] {
    if (backoff.pause(call, deadline) || errno == EINTR) return true;
    timed_out = errno == EAGAIN && until != nullptr;
    return false;
  };
  const core::OwnThread* lent = lent_thread();
  const bool has_notes = tells_holders_apart(mutex) && lent == nullptr;
  while (has_notes && is_held_by_another(call, mutex) && pause()) {
  }
  const int self = lent != nullptr ? lent->id() : running_thread();
  int result = timed_out ? ETIMEDOUT : 0;
  // If this task holds the mutex already, lock() reports the mistake, or the task blocks itself.
  while (!timed_out && (result = real().mutex_trylock(mutex)) == EBUSY &&
         is_stopped_by_waiting(owner_of(mutex)) &&
         !(tells_holders_apart(mutex) && owner_of(mutex) == self) && pause()) {
  }
  errno = error;
  if (timed_out) return ETIMEDOUT;
  if (result == EBUSY) result = block();
  if (has_locked(result) && has_notes) note(mutex, &call.task());
  return result;
}

int lock_(pthread_mutex_t* mutex) noexcept {
  return lock_until(mutex, CLOCK_REALTIME, nullptr, [=] { return real().mutex_lock(mutex); });
}

int timedlock_(pthread_mutex_t* mutex, const timespec* until) noexcept {
  return lock_until(mutex, CLOCK_REALTIME, until,
                    [=] { return real_threads().mutex_timedlock(mutex, until); });
}

int clocklock_(pthread_mutex_t* mutex, clockid_t clock, const timespec* until) noexcept {
  return lock_until(mutex, clock, until,
                    [=] { return real_threads().mutex_clocklock(mutex, clock, until); });
}

int trylock_(pthread_mutex_t* mutex) noexcept {
  const Call call;
  if (!call || mutex == nullptr || !tells_holders_apart(mutex) || lent_thread() != nullptr)
    return real().mutex_trylock(mutex);
  if (is_held_by_another(call, mutex)) return EBUSY;
  const int result = real().mutex_trylock(mutex);
  if (has_locked(result)) note(mutex, &call.task());
  return result;
}

// A mutex that tells holders apart (recursive, error-checking) refuses a task that does not hold
// it.
int unlock_(pthread_mutex_t* mutex) noexcept {
  if (holders() != nullptr && mutex != nullptr && tells_holders_apart(mutex) && is_ours(mutex)) {
    const Call call;
    if (call && lent_thread() == nullptr && is_held_by_another(call, mutex)) return EPERM;
    const bool all = mutex->__data.__count <= 1;
    if (all || (call && holder_of(mutex) == &call.task())) forget(mutex, all);
  }
  return real().mutex_unlock(mutex);
}

// --- C11's mutexes, which are pthread_mutex_t in glibc ------------------------------------------

pthread_mutex_t* as_pthread(mtx_t* mutex) noexcept {
  return reinterpret_cast<pthread_mutex_t*>(mutex);
}
int as_thrd(int error) noexcept {
  switch (error) {
    case 0: return thrd_success;
    case EBUSY: return thrd_busy;
    case ETIMEDOUT: return thrd_timedout;
    case ENOMEM: return thrd_nomem;
    default: return thrd_error;
  }
}

int mtx_lock_(mtx_t* mutex) noexcept { return as_thrd(lock_(as_pthread(mutex))); }
int mtx_trylock_(mtx_t* mutex) noexcept { return as_thrd(trylock_(as_pthread(mutex))); }
int mtx_unlock_(mtx_t* mutex) noexcept { return as_thrd(unlock_(as_pthread(mutex))); }
int mtx_timedlock_(mtx_t* mutex, const timespec* until) noexcept {
  return as_thrd(timedlock_(as_pthread(mutex), until));
}

}  // namespace

int lock_mutex(pthread_mutex_t* mutex) noexcept { return lock_(mutex); }
int unlock_mutex(pthread_mutex_t* mutex) noexcept { return unlock_(mutex); }

std::span<const Hook> mutex_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<lock_>("pthread_mutex_lock"),
      plain_hook<lock_>("__pthread_mutex_lock"),
      plain_hook<trylock_>("pthread_mutex_trylock"),
      plain_hook<trylock_>("__pthread_mutex_trylock"),
      plain_hook<unlock_>("pthread_mutex_unlock"),
      plain_hook<unlock_>("__pthread_mutex_unlock"),
      plain_hook<timedlock_>("pthread_mutex_timedlock"),
      plain_hook<clocklock_>("pthread_mutex_clocklock"),
      plain_hook<mtx_lock_>("mtx_lock"),
      plain_hook<mtx_trylock_>("mtx_trylock"),
      plain_hook<mtx_unlock_>("mtx_unlock"),
      plain_hook<mtx_timedlock_>("mtx_timedlock"),
  };
  return hooks;
}
#else
// The layout of mutexes is known only for glibc.
int lock_mutex(pthread_mutex_t* mutex) noexcept { return real().mutex_lock(mutex); }
int unlock_mutex(pthread_mutex_t* mutex) noexcept { return real().mutex_unlock(mutex); }
std::span<const Hook> mutex_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
