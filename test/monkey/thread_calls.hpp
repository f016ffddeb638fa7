// The functions by which threads wait for each other, in the shared object of calls.hpp.
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <threads.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <functional>
#include <mutex>

namespace calls {

int mutex_timedlock(pthread_mutex_t* mutex, const timespec* until);
int mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* until);
int mtx_lock(mtx_t* mutex);
int mtx_trylock(mtx_t* mutex);
int mtx_timedlock(mtx_t* mutex, const timespec* until);
int mtx_unlock(mtx_t* mutex);
int rwlock_rdlock(pthread_rwlock_t* lock);
int rwlock_wrlock(pthread_rwlock_t* lock);
int rwlock_timedrdlock(pthread_rwlock_t* lock, const timespec* until);
int rwlock_timedwrlock(pthread_rwlock_t* lock, const timespec* until);
int cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex);
int cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until);
int cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                   const timespec* until);
int cond_signal(pthread_cond_t* condition);
int cond_broadcast(pthread_cond_t* condition);
int cnd_wait(cnd_t* condition, mtx_t* mutex);
int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until);
int cnd_signal(cnd_t* condition);
int join(pthread_t thread, void** value);
int timedjoin(pthread_t thread, void** value, const timespec* until);
int thrd_join(thrd_t thread, int* result);
int sem_wait(sem_t* semaphore);
int sem_timedwait(sem_t* semaphore, const timespec* until);
int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* until);
int once(pthread_once_t* control, void (*initialise)());
void c_call_once(once_flag* flag, void (*initialise)());
void call_once(std::once_flag& flag, const std::function<void()>& initialise);
int setuid(uid_t user);
int setgroups(std::size_t count, const gid_t* groups);
// The value of a static variable that `initialise` gives the first time.
int static_value(int (*initialise)());

}  // namespace calls
