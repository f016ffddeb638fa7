#pragma once

#include <fiber/monkey/hooks.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include <pthread.h>
#include <semaphore.h>
#include <sys/types.h>
#include <time.h>

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

std::span<const Hook> thread_hooks() noexcept;  // pthread_rwlock_*, sem_*, pthread_once
std::span<const Hook> user_hooks() noexcept;    // setuid and relatives

}  // namespace fiber::monkey::detail
