// Replacements for the locks, conditions, joins and initialisers of pthread, and for the calls that
// change users and groups.
#pragma once

#include <fiber/monkey/hooks.hpp>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>

#include <pthread.h>
#include <semaphore.h>
#include <sys/types.h>

namespace fiber::monkey::detail {

// libc's functions that these replacements call, like Real; null where libc has none. Patching
// leaves these pointers alone.
struct RealThreads {
  int (*mutex_timedlock)(pthread_mutex_t*, const timespec*);
  int (*mutex_clocklock)(pthread_mutex_t*, clockid_t, const timespec*);
  int (*rdlock)(pthread_rwlock_t*);
  int (*wrlock)(pthread_rwlock_t*);
  int (*timedrdlock)(pthread_rwlock_t*, const timespec*);
  int (*timedwrlock)(pthread_rwlock_t*, const timespec*);
  int (*clockrdlock)(pthread_rwlock_t*, clockid_t, const timespec*);
  int (*clockwrlock)(pthread_rwlock_t*, clockid_t, const timespec*);
  int (*cond_wait)(pthread_cond_t*, pthread_mutex_t*);
  int (*cond_timedwait)(pthread_cond_t*, pthread_mutex_t*, const timespec*);
  int (*cond_clockwait)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
  int (*cond_signal)(pthread_cond_t*);
  int (*cond_broadcast)(pthread_cond_t*);
  int (*join)(pthread_t, void**);
  int (*timedjoin)(pthread_t, void**, const timespec*);
  int (*clockjoin)(pthread_t, void**, clockid_t, const timespec*);
  int (*sem_wait)(sem_t*);
  int (*sem_timedwait)(sem_t*, const timespec*);
  int (*sem_clockwait)(sem_t*, clockid_t, const timespec*);
  int (*once)(pthread_once_t*, void (*)());
  int (*guard_acquire)(std::uint64_t*);
  int (*setuid)(uid_t);
  int (*setgid)(gid_t);
  int (*seteuid)(uid_t);
  int (*setegid)(gid_t);
  int (*setreuid)(uid_t, uid_t);
  int (*setregid)(gid_t, gid_t);
  int (*setresuid)(uid_t, uid_t, uid_t);
  int (*setresgid)(gid_t, gid_t, gid_t);
  int (*setgroups)(std::size_t, const gid_t*);
  int (*initgroups)(const char*, gid_t);
};
// The first call must come before the first patch: it initialises a static variable.
const RealThreads& real_threads() noexcept;

// The replacements of pthread_mutex_lock and pthread_mutex_unlock.
int lock_mutex(pthread_mutex_t* mutex) noexcept;
int unlock_mutex(pthread_mutex_t* mutex) noexcept;

// In a forked child: the tasks of the parent that wait for conditions do not run here.
void forget_waiting_tasks() noexcept;

std::span<const Hook>
thread_hooks() noexcept;  // pthread_rwlock_*, sem_*, pthread_join, pthread_once
std::span<const Hook> condition_hooks() noexcept;  // pthread_cond_*wait
std::span<const Hook> user_hooks() noexcept;       // setuid and relatives
// The hooks of functions that may wake a task of another object: patched in every object as soon as
// any object is patched.
std::span<const Hook> waking_hooks() noexcept;  // pthread_cond_signal, pthread_cond_broadcast

}  // namespace fiber::monkey::detail
