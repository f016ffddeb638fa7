// What threads wait for, where it meets tasks: read-write locks, semaphores, and initialisers that
// run once.
//
// All tasks of a loop are one thread, so that waiting for what another task holds or has begun would
// stop the thread for ever. Nothing tells when it is free: it is tried again, after 25 ms at most.
// Functions that cannot fail wait to their end, although the task is cancelled.
#include <fiber/monkey/threads.hpp>

#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <cstdint>

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

namespace fiber::monkey::detail {

#if defined(__GLIBC__)
namespace {

// Set before anything is patched; not by static variables of functions, whose initialisation is
// one of these calls.
struct Originals {
  int (*rdlock)(pthread_rwlock_t*);
  int (*wrlock)(pthread_rwlock_t*);
  int (*timedrdlock)(pthread_rwlock_t*, const timespec*);
  int (*timedwrlock)(pthread_rwlock_t*, const timespec*);
  int (*sem_wait)(sem_t*);
  int (*sem_timedwait)(sem_t*, const timespec*);
  int (*sem_clockwait)(sem_t*, clockid_t, const timespec*);
  int (*once)(pthread_once_t*, void (*)());
  int (*guard_acquire)(std::uint64_t*);
};
constinit Originals originals{};

template <class F>
void find(F*& function, const char* name) noexcept {
  function = reinterpret_cast<F*>(find_symbol(name));
}
void find_originals() noexcept {
  find(originals.rdlock, "pthread_rwlock_rdlock");
  find(originals.wrlock, "pthread_rwlock_wrlock");
  find(originals.timedrdlock, "pthread_rwlock_timedrdlock");
  find(originals.timedwrlock, "pthread_rwlock_timedwrlock");
  find(originals.sem_wait, "sem_wait");
  find(originals.sem_timedwait, "sem_timedwait");
  find(originals.sem_clockwait, "sem_clockwait");
  find(originals.once, "pthread_once");
  find(originals.guard_acquire, "__cxa_guard_acquire");
}

// On the loop's clock; what has passed already is now.
std::int64_t deadline_of(const Call& call, clockid_t clock, const timespec& until) noexcept {
  timespec now{};
  ::clock_gettime(clock, &now);
  return call.deadline_after(nanoseconds(until) - nanoseconds(now));
}

// Calls `attempt`, which returns an error, until it returns another one than EBUSY, or the deadline
// has come: then, and outside of tasks, what `block` returns. Cancellation comes afterwards.
template <class F, class G>
int until_free(F attempt, G block, clockid_t clock = CLOCK_REALTIME,
               const timespec* until = nullptr) noexcept {
  const int error = errno;
  const PolicyOfCall policy(Cancel::never);
  const Call call;
  if (!call || (until != nullptr && !is_valid(*until))) return block();
  const std::int64_t deadline = until != nullptr ? deadline_of(call, clock, *until) : kNever;
  Backoff backoff;
  int result = 0;
  while ((result = attempt()) == EBUSY) {
    if (backoff.pause(call, deadline) || errno == EINTR) continue;
    result = errno == EAGAIN && until != nullptr ? ETIMEDOUT : block();
    break;
  }
  errno = error;
  return result;
}

// --- read-write locks: a task that waits for itself stops alone, and is not told (EDEADLK) -------

int rdlock_(pthread_rwlock_t* lock) noexcept {
  return until_free([=] { return ::pthread_rwlock_tryrdlock(lock); },
                    [=] { return originals.rdlock(lock); });
}

int wrlock_(pthread_rwlock_t* lock) noexcept {
  return until_free([=] { return ::pthread_rwlock_trywrlock(lock); },
                    [=] { return originals.wrlock(lock); });
}

int timedrdlock_(pthread_rwlock_t* lock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_tryrdlock(lock); },
                    [=] { return originals.timedrdlock(lock, until); }, CLOCK_REALTIME, until);
}

int timedwrlock_(pthread_rwlock_t* lock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_trywrlock(lock); },
                    [=] { return originals.timedwrlock(lock, until); }, CLOCK_REALTIME, until);
}

// --- semaphores ---------------------------------------------------------------------------------

// They fail as calls do: with ECANCELED, say.
template <class F>
int when_posted(sem_t* semaphore, clockid_t clock, const timespec* until, F block) noexcept {
  const Call call;
  if (!call || (until != nullptr && !is_valid(*until))) return block();
  const std::int64_t deadline = until != nullptr ? deadline_of(call, clock, *until) : kNever;
  Backoff backoff;
  for (;;) {
    if (::sem_trywait(semaphore) == 0) return call.done(0);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -1;
    if (backoff.pause(call, deadline)) continue;
    if (errno == EAGAIN) errno = ETIMEDOUT;
    return -1;
  }
}

int sem_wait_(sem_t* semaphore) noexcept {
  return when_posted(semaphore, CLOCK_REALTIME, nullptr,
                     [=] { return originals.sem_wait(semaphore); });
}

int sem_timedwait_(sem_t* semaphore, const timespec* until) noexcept {
  return when_posted(semaphore, CLOCK_REALTIME, until,
                     [=] { return originals.sem_timedwait(semaphore, until); });
}

int sem_clockwait_(sem_t* semaphore, clockid_t clock, const timespec* until) noexcept {
  return when_posted(semaphore, clock, until,
                     [=] { return originals.sem_clockwait(semaphore, clock, until); });
}

// --- what runs once -----------------------------------------------------------------------------

// While another task or thread runs it: `is_begun(word)`.
template <class F>
void wait_while_begun(const int* word, F is_begun) noexcept {
  const auto attempt = [=] {
    return is_begun(__atomic_load_n(word, __ATOMIC_ACQUIRE)) ? EBUSY : 0;
  };
  if (attempt() == EBUSY) until_free(attempt, [] { return 0; });
}

int once_(pthread_once_t* control, void (*initialise)()) {
  if (control != nullptr) wait_while_begun(control, [](int word) { return (word & 1) != 0; });
  return originals.once(control, initialise);
}

// Of a static variable of a function, as the C++ runtime has it: the lowest bit says that it is
// done, others that somebody is at it.
int guard_acquire_(std::uint64_t* guard) {
  wait_while_begun(reinterpret_cast<const int*>(guard),
                   [](int word) { return word != 0 && (word & 1) == 0; });
  return originals.guard_acquire(guard);
}

}  // namespace

std::span<const Hook> thread_hooks() noexcept {
  find_originals();
  static const Hook hooks[] = {
    plain_hook<rdlock_>("pthread_rwlock_rdlock"),
    plain_hook<wrlock_>("pthread_rwlock_wrlock"),
    plain_hook<timedrdlock_>("pthread_rwlock_timedrdlock"),
    plain_hook<timedwrlock_>("pthread_rwlock_timedwrlock"),
    hook<sem_wait_>("sem_wait"),
    hook<sem_timedwait_>("sem_timedwait"),
    hook<sem_clockwait_>("sem_clockwait"),
#if !defined(FIBER_TSAN)  // which has one of its own
    plain_hook<once_>("pthread_once"),
#endif
#if defined(__GLIBCXX__) && defined(__linux__)
    plain_hook<guard_acquire_>("__cxa_guard_acquire"),
#endif
  };
  return hooks;
}
#else
std::span<const Hook> thread_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
