#include "monkey/thread_calls.hpp"

#include <grp.h>
#include <unistd.h>

namespace calls {

int mutex_timedlock(pthread_mutex_t* mutex, const timespec* until) {
  return ::pthread_mutex_timedlock(mutex, until);
}
int mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  return ::pthread_mutex_clocklock(mutex, clock, until);
}
int mtx_lock(mtx_t* mutex) { return ::mtx_lock(mutex); }
int mtx_trylock(mtx_t* mutex) { return ::mtx_trylock(mutex); }
int mtx_timedlock(mtx_t* mutex, const timespec* until) { return ::mtx_timedlock(mutex, until); }
int mtx_unlock(mtx_t* mutex) { return ::mtx_unlock(mutex); }
int rwlock_rdlock(pthread_rwlock_t* lock) { return ::pthread_rwlock_rdlock(lock); }
int rwlock_wrlock(pthread_rwlock_t* lock) { return ::pthread_rwlock_wrlock(lock); }
int rwlock_timedrdlock(pthread_rwlock_t* lock, const timespec* until) {
  return ::pthread_rwlock_timedrdlock(lock, until);
}
int rwlock_timedwrlock(pthread_rwlock_t* lock, const timespec* until) {
  return ::pthread_rwlock_timedwrlock(lock, until);
}
int cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  return ::pthread_cond_wait(condition, mutex);
}
int cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until) {
  return ::pthread_cond_timedwait(condition, mutex, until);
}
int cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                   const timespec* until) {
  return ::pthread_cond_clockwait(condition, mutex, clock, until);
}
int cond_signal(pthread_cond_t* condition) { return ::pthread_cond_signal(condition); }
int cond_broadcast(pthread_cond_t* condition) { return ::pthread_cond_broadcast(condition); }
int cnd_wait(cnd_t* condition, mtx_t* mutex) { return ::cnd_wait(condition, mutex); }
int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until) {
  return ::cnd_timedwait(condition, mutex, until);
}
int cnd_signal(cnd_t* condition) { return ::cnd_signal(condition); }
int join(pthread_t thread, void** value) { return ::pthread_join(thread, value); }
int timedjoin(pthread_t thread, void** value, const timespec* until) {
  return ::pthread_timedjoin_np(thread, value, until);
}
int thrd_join(thrd_t thread, int* result) { return ::thrd_join(thread, result); }
int sem_wait(sem_t* semaphore) { return ::sem_wait(semaphore); }
int sem_timedwait(sem_t* semaphore, const timespec* until) {
  return ::sem_timedwait(semaphore, until);
}
int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* until) {
  return ::sem_clockwait(semaphore, clock, until);
}
int once(pthread_once_t* control, void (*initialise)()) {
  return ::pthread_once(control, initialise);
}
void c_call_once(once_flag* flag, void (*initialise)()) { ::call_once(flag, initialise); }
void call_once(std::once_flag& flag, const std::function<void()>& initialise) {
  std::call_once(flag, initialise);
}
int setuid(uid_t user) { return ::setuid(user); }
int setgroups(std::size_t count, const gid_t* groups) { return ::setgroups(count, groups); }
int static_value(int (*initialise)()) {
  static const int value = initialise();
  return value;
}

}  // namespace calls
