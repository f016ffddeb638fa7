// Read-write locks, semaphores, the ends of threads, and initialisers that run once, used by tasks.
//
// All tasks of a loop are one thread, so waiting in libc for another task would block the thread
// forever. No event reports that a lock is free: the task tries again, after 25 ms at most.
// Functions that cannot fail wait to their end even if the task is cancelled.
#include <fiber/monkey/threads.hpp>

#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <cstdint>
#include <ctime>
#include <mutex>

#include <pthread.h>
#include <semaphore.h>
#include <threads.h>

namespace fiber::monkey::detail {
namespace {

template <class F>
void find(F*& function, const char* name) noexcept {
  function = reinterpret_cast<F*>(find_symbol(name));
}

RealThreads find_all() noexcept {
  RealThreads all{};
  find(all.mutex_timedlock, "pthread_mutex_timedlock");
  find(all.mutex_clocklock, "pthread_mutex_clocklock");
  find(all.rdlock, "pthread_rwlock_rdlock");
  find(all.wrlock, "pthread_rwlock_wrlock");
  find(all.timedrdlock, "pthread_rwlock_timedrdlock");
  find(all.timedwrlock, "pthread_rwlock_timedwrlock");
  find(all.clockrdlock, "pthread_rwlock_clockrdlock");
  find(all.clockwrlock, "pthread_rwlock_clockwrlock");
  find(all.cond_wait, "pthread_cond_wait");
  find(all.cond_timedwait, "pthread_cond_timedwait");
  find(all.cond_clockwait, "pthread_cond_clockwait");
  find(all.cond_signal, "pthread_cond_signal");
  find(all.cond_broadcast, "pthread_cond_broadcast");
  find(all.join, "pthread_join");
  find(all.timedjoin, "pthread_timedjoin_np");
  find(all.clockjoin, "pthread_clockjoin_np");
  find(all.sem_wait, "sem_wait");
  find(all.sem_timedwait, "sem_timedwait");
  find(all.sem_clockwait, "sem_clockwait");
  find(all.once, "pthread_once");
  find(all.guard_acquire, "__cxa_guard_acquire");
  find(all.setuid, "setuid");
  find(all.setgid, "setgid");
  find(all.seteuid, "seteuid");
  find(all.setegid, "setegid");
  find(all.setreuid, "setreuid");
  find(all.setregid, "setregid");
  find(all.setresuid, "setresuid");
  find(all.setresgid, "setresgid");
  find(all.setgroups, "setgroups");
  find(all.initgroups, "initgroups");
  return all;
}

}  // namespace

const RealThreads& real_threads() noexcept {
  static const RealThreads all = find_all();
  return all;
}

#if defined(__GLIBC__)
namespace {

// Repeats `attempt`, which returns an error number, until the result is not EBUSY, or the time
// limit is over (ETIMEDOUT). Outside of tasks, and where waiting on the loop fails, calls `block`
// instead, which is libc's function. Cancellation takes effect afterwards.
template <class F, class G>
int until_free(F attempt, G block, clockid_t clock = CLOCK_REALTIME,
               const timespec* until = nullptr) noexcept {
  const int error = errno;
  const PolicyOfCall policy(Cancel::never);
  const Call call;
  if (!call || (until != nullptr && !is_limit(clock, *until))) return block();
  const std::int64_t deadline = until != nullptr ? call.deadline_at(clock, *until) : kNever;
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

// --- read-write locks ---------------------------------------------------------------------------
// A task that waits for a lock which it holds itself waits forever: EDEADLK, which libc returns, is
// not detected.

int rdlock_(pthread_rwlock_t* lock) noexcept {
  return until_free([=] { return ::pthread_rwlock_tryrdlock(lock); },
                    [=] { return real_threads().rdlock(lock); });
}

int wrlock_(pthread_rwlock_t* lock) noexcept {
  return until_free([=] { return ::pthread_rwlock_trywrlock(lock); },
                    [=] { return real_threads().wrlock(lock); });
}

int clockrdlock_(pthread_rwlock_t* lock, clockid_t clock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_tryrdlock(lock); },
                    [=] { return real_threads().clockrdlock(lock, clock, until); }, clock, until);
}

int clockwrlock_(pthread_rwlock_t* lock, clockid_t clock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_trywrlock(lock); },
                    [=] { return real_threads().clockwrlock(lock, clock, until); }, clock, until);
}

int timedrdlock_(pthread_rwlock_t* lock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_tryrdlock(lock); },
                    [=] { return real_threads().timedrdlock(lock, until); }, CLOCK_REALTIME, until);
}

int timedwrlock_(pthread_rwlock_t* lock, const timespec* until) noexcept {
  return until_free([=] { return ::pthread_rwlock_trywrlock(lock); },
                    [=] { return real_threads().timedwrlock(lock, until); }, CLOCK_REALTIME, until);
}

// --- semaphores ---------------------------------------------------------------------------------

// Unlike a lock, a semaphore may never be posted: a cancelled task must leave it. POSIX knows one
// failure that says no more than "try again": EINTR. Programs that check results expect EINTR;
// programs that check nothing, and use a semaphore as a lock, need Cancel::never.
template <class F>
int when_posted(sem_t* semaphore, clockid_t clock, const timespec* until, F block) noexcept {
  const PolicyOfCall policy(PolicyOfCall::get() == Cancel::never ? Cancel::never
                                                                 : Cancel::interrupt);
  const Call call;
  if (!call || (until != nullptr && !is_limit(clock, *until))) return block();
  const std::int64_t deadline = until != nullptr ? call.deadline_at(clock, *until) : kNever;
  Backoff backoff;
  for (;;) {
    if (::sem_trywait(semaphore) == 0) return call.done(0);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -1;
    // A wait with a time limit is never restarted after a handler.
    if (backoff.pause(call, deadline, until == nullptr)) continue;
    if (errno == EAGAIN) errno = ETIMEDOUT;
    // A task that is unwound with its loop must come to an end: EINTR makes programs try again.
    if (call.task().abandoned()) errno = ECANCELED;
    return -1;
  }
}

int sem_wait_(sem_t* semaphore) noexcept {
  return when_posted(semaphore, CLOCK_REALTIME, nullptr,
                     [=] { return real_threads().sem_wait(semaphore); });
}

int sem_timedwait_(sem_t* semaphore, const timespec* until) noexcept {
  return when_posted(semaphore, CLOCK_REALTIME, until,
                     [=] { return real_threads().sem_timedwait(semaphore, until); });
}

int sem_clockwait_(sem_t* semaphore, clockid_t clock, const timespec* until) noexcept {
  return when_posted(semaphore, clock, until,
                     [=] { return real_threads().sem_clockwait(semaphore, clock, until); });
}

// --- threads that end ---------------------------------------------------------------------------

// A thread that joins itself is left to libc, which returns EDEADLK.
template <class F>
int when_ended(pthread_t thread, void** value, F block, clockid_t clock = CLOCK_REALTIME,
               const timespec* until = nullptr) noexcept {
  if (::pthread_equal(thread, ::pthread_self()) != 0) return block();
  return until_free([=] { return ::pthread_tryjoin_np(thread, value); }, block, clock, until);
}

int join_(pthread_t thread, void** value) noexcept {
  return when_ended(thread, value, [=] { return real_threads().join(thread, value); });
}

int timedjoin_(pthread_t thread, void** value, const timespec* until) noexcept {
  return when_ended(
      thread, value, [=] { return real_threads().timedjoin(thread, value, until); }, CLOCK_REALTIME,
      until);
}

int clockjoin_(pthread_t thread, void** value, clockid_t clock, const timespec* until) noexcept {
  return when_ended(
      thread, value, [=] { return real_threads().clockjoin(thread, value, clock, until); }, clock,
      until);
}

int thrd_join_(thrd_t thread, int* result) noexcept {
  void* value = nullptr;
  if (join_(thread, &value) != 0) return thrd_error;
  if (result != nullptr) *result = static_cast<int>(reinterpret_cast<std::intptr_t>(value));
  return thrd_success;
}

// --- std::future of C++'s library ---------------------------------------------------------------

#if defined(__GLIBCXX__) && defined(__LP64__)
// The member of libstdc++ that waits until the word has another value: returns false if the time of
// the clock is over. Durations are passed as their counts.
using FutexWait = bool(void* self, unsigned* word, unsigned value, bool has_limit,
                       std::int64_t seconds, std::int64_t nanoseconds);

template <clockid_t Clock>
bool futex_wait_(void* self, unsigned* word, unsigned value, bool has_limit, std::int64_t seconds,
                 std::int64_t nanoseconds) noexcept {
  const timespec until{.tv_sec = seconds, .tv_nsec = nanoseconds};
  const int result = until_free(
      [=] { return __atomic_load_n(word, __ATOMIC_ACQUIRE) == value ? EBUSY : 0; },
      [=] {
        auto* const plain = reinterpret_cast<FutexWait*>(~Original<futex_wait_<Clock>>::inverted);
        return plain(self, word, value, has_limit, seconds, nanoseconds) ? 0 : ETIMEDOUT;
      },
      Clock, has_limit ? &until : nullptr);
  return result == 0;
}
#endif

// --- initialisers that run once -----------------------------------------------------------------

// Waits while another task or thread runs the initialiser: `is_begun(word)`.
template <class F>
void wait_while_begun(const int* word, F is_begun) noexcept {
  const auto attempt = [=] {
    return is_begun(__atomic_load_n(word, __ATOMIC_ACQUIRE)) ? EBUSY : 0;
  };
  if (attempt() == EBUSY) until_free(attempt, [] { return 0; });
}

// A pthread_once_t in glibc: the lowest bit says that the initialiser runs, the next one that it
// has run. The other bits count the forks: in a child process, an initialiser that was running at
// the fork begins anew.
constexpr int kRuns = 1, kForks = ~3;

thread_local const pthread_once_t* probe = nullptr;

// Returns the count of forks as glibc writes it.
int count_of_forks() noexcept {
  thread_local int seen = 0;
  pthread_once_t fresh = PTHREAD_ONCE_INIT;
  probe = &fresh;
  real_threads().once(&fresh, [] { seen = *probe & kForks; });
  probe = nullptr;
  return seen;
}

int once_(pthread_once_t* control, void (*initialise)()) {
  if (control != nullptr && (*control & kRuns) != 0) {
#if defined(__GLIBCXX__) && defined(_GLIBCXX_HAVE_TLS)
    // std::call_once keeps its function in this variable, which another task may set while this one
    // waits.
    void* const callable = std::__once_callable;
    void (*const call)() = std::__once_call;
#endif
    wait_while_begun(control, [count = count_of_forks()](int word) {
      return (word & kRuns) != 0 && (word & kForks) == count;
    });
#if defined(__GLIBCXX__) && defined(_GLIBCXX_HAVE_TLS)
    std::__once_callable = callable;
    std::__once_call = call;
#endif
  }
  return real_threads().once(control, initialise);
}

// C11's flag is a pthread_once_t in glibc.
[[maybe_unused]] void call_once_(once_flag* flag, void (*initialise)()) {
  once_(reinterpret_cast<pthread_once_t*>(flag), initialise);
}

#if defined(__GLIBCXX__) && defined(__linux__)
// The guard of a static variable of a function, in the C++ runtime of GCC: the first byte says that
// the variable is initialised, others that its initialiser runs.
int guard_acquire_(std::uint64_t* guard) {
  wait_while_begun(reinterpret_cast<const int*>(guard), [](int word) {
    return word != 0 && *reinterpret_cast<const char*>(&word) == 0;
  });
  return real_threads().guard_acquire(guard);
}
#endif

}  // namespace

std::span<const Hook> thread_hooks() noexcept {
  static const Hook hooks[] = {
    plain_hook<rdlock_>("pthread_rwlock_rdlock"),
    plain_hook<rdlock_>("__pthread_rwlock_rdlock"),
    plain_hook<wrlock_>("pthread_rwlock_wrlock"),
    plain_hook<wrlock_>("__pthread_rwlock_wrlock"),
    plain_hook<timedrdlock_>("pthread_rwlock_timedrdlock"),
    plain_hook<timedwrlock_>("pthread_rwlock_timedwrlock"),
    plain_hook<clockrdlock_>("pthread_rwlock_clockrdlock"),
    plain_hook<clockwrlock_>("pthread_rwlock_clockwrlock"),
#if defined(__GLIBCXX__) && defined(__LP64__)
    hook<futex_wait_<CLOCK_REALTIME>>(
        "_ZNSt28__atomic_futex_unsigned_base19_M_futex_wait_untilEPjjb"
        "NSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE"),
    hook<futex_wait_<CLOCK_MONOTONIC>>(
        "_ZNSt28__atomic_futex_unsigned_base26_M_futex_wait_until_steadyEPjjb"
        "NSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE"),
#endif
    hook<join_>("pthread_join"),
    hook<timedjoin_>("pthread_timedjoin_np"),
    hook<clockjoin_>("pthread_clockjoin_np"),
    hook<thrd_join_>("thrd_join"),
    hook<sem_wait_>("sem_wait"),
    hook<sem_timedwait_>("sem_timedwait"),
    hook<sem_clockwait_>("sem_clockwait"),
#if !defined(FIBER_TSAN)  // TSan replaces pthread_once, with a word of another layout
    plain_hook<once_>("pthread_once"),
    plain_hook<once_>("__pthread_once"),
    plain_hook<call_once_>("call_once"),
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
