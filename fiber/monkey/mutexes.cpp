// Mutexes of threads, where they meet tasks: to a mutex all tasks of a loop are one thread.
//
// One that another task of this thread holds would stop the thread for ever, since that task cannot
// go on; a recursive one would let the second task in. So who finds that waits on the loop, trying
// again, after 25 ms at most. A mutex that another thread holds is waited for as ever. Cancellation
// comes afterwards: who locks a mutex expects no failure.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <mutex>
#include <new>
#include <unordered_map>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fiber::monkey::detail {

#if defined(__GLIBC__)
namespace {

int kind_of(const pthread_mutex_t* mutex) noexcept { return mutex->__data.__kind & 3; }
bool tells_holders_apart(const pthread_mutex_t* mutex) noexcept {
  return kind_of(mutex) == PTHREAD_MUTEX_RECURSIVE_NP ||
         kind_of(mutex) == PTHREAD_MUTEX_ERRORCHECK_NP;
}
bool is_ours(const pthread_mutex_t* mutex) noexcept {
  thread_local unsigned known = 0;
  thread_local int thread = 0;
  if (known != forks()) {
    known = forks();
    thread = static_cast<int>(::syscall(SYS_gettid));
  }
  return __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED) == thread;
}

// Which task of this thread holds a mutex that is recursive or checks for errors.
using Holders = std::unordered_map<const pthread_mutex_t*, const TaskBase*>;
Holders*& holders() noexcept {
  thread_local Holders* all = nullptr;
  return all;
}
const TaskBase* holder_of(const pthread_mutex_t* mutex) noexcept {
  if (holders() == nullptr) return nullptr;
  const auto found = holders()->find(mutex);
  return found != holders()->end() ? found->second : nullptr;
}
// Without memory it is as without this.
void note(const pthread_mutex_t* mutex, const TaskBase* task) noexcept {
  try {
    if (holders() == nullptr) holders() = new Holders;
    (*holders())[mutex] = task;
  } catch (const std::bad_alloc&) {
    errno = 0;
  }
}
void forget(const pthread_mutex_t* mutex) noexcept {
  if (holders() == nullptr) return;
  holders()->erase(mutex);
  if (!holders()->empty()) return;
  delete holders();
  holders() = nullptr;
}

bool is_held_by_another(const Call& call, const pthread_mutex_t* mutex) noexcept {
  if (!is_ours(mutex)) return false;
  const TaskBase* holder = holder_of(mutex);
  return holder != nullptr && holder != &call.task();
}

int lock_(pthread_mutex_t* mutex) noexcept {
  const int error = errno;
  const PolicyOfCall policy(Cancel::never);
  const Call call;
  if (!call || mutex == nullptr) return real().mutex_lock(mutex);
  Backoff backoff;
  if (!tells_holders_apart(mutex)) {
    int result = 0;
    // Held by this thread: by another task, or by this one, which is a mistake that stops it alone.
    while ((result = real().mutex_trylock(mutex)) == EBUSY && is_ours(mutex))
      if (!backoff.pause(call) && errno != EINTR) break;
    errno = error;
    return result == EBUSY ? real().mutex_lock(mutex) : result;
  }
  while (is_held_by_another(call, mutex))
    if (!backoff.pause(call) && errno != EINTR) break;
  errno = error;
  const int result = real().mutex_lock(mutex);
  if (result == 0) note(mutex, &call.task());
  return result;
}

int trylock_(pthread_mutex_t* mutex) noexcept {
  const Call call;
  if (!call || mutex == nullptr || !tells_holders_apart(mutex)) return real().mutex_trylock(mutex);
  if (is_held_by_another(call, mutex)) return EBUSY;
  const int result = real().mutex_trylock(mutex);
  if (result == 0) note(mutex, &call.task());
  return result;
}

int unlock_(pthread_mutex_t* mutex) noexcept {
  if (holders() != nullptr && mutex != nullptr && tells_holders_apart(mutex) && is_ours(mutex) &&
      mutex->__data.__count <= 1)
    forget(mutex);
  return real().mutex_unlock(mutex);
}

}  // namespace

std::span<const Hook> mutex_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<lock_>("pthread_mutex_lock"),
      plain_hook<trylock_>("pthread_mutex_trylock"),
      plain_hook<unlock_>("pthread_mutex_unlock"),
  };
  return hooks;
}
#else
// Of another libc it is not known how its mutexes look inside.
std::span<const Hook> mutex_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
