// The blocking calls of the tests, in a shared object of their own that knows nothing of fibers,
// like a third party's library. A program that a sanitizer is linked into calls the sanitizer's
// functions directly: there is no import to patch.
#pragma once

#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <chrono>
#include <cstddef>

namespace calls {

ssize_t read(int fd, void* buffer, std::size_t size);
ssize_t write(int fd, const void* buffer, std::size_t size);
ssize_t readv(int fd, const iovec* vectors, int count);
ssize_t writev(int fd, const iovec* vectors, int count);
int eventfd_read(int fd, eventfd_t* value);
int eventfd_write(int fd, eventfd_t value);
ssize_t sendfile(int to, int from, off_t* offset, std::size_t count);
ssize_t splice(int from, int to, std::size_t size, unsigned flags);
ssize_t tee(int from, int to, std::size_t size, unsigned flags);
ssize_t vmsplice(int fd, const iovec* vectors, std::size_t count, unsigned flags);
ssize_t recv(int fd, void* buffer, std::size_t size, int flags);
ssize_t recvfrom(int fd, void* buffer, std::size_t size, int flags, sockaddr* from,
                 socklen_t* length);
ssize_t recvmsg(int fd, msghdr* message, int flags);
int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit);
ssize_t send(int fd, const void* buffer, std::size_t size, int flags);
ssize_t sendto(int fd, const void* buffer, std::size_t size, int flags, const sockaddr* to,
               socklen_t length);
ssize_t sendmsg(int fd, const msghdr* message, int flags);
int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags);
int accept(int fd, sockaddr* address, socklen_t* length);
int accept4(int fd, sockaddr* address, socklen_t* length, int flags);
int connect(int fd, const sockaddr* address, socklen_t length);
int close(int fd);
int dup2(int from, int to);
int poll(pollfd* descriptors, nfds_t count, int timeout);
int ppoll(pollfd* descriptors, nfds_t count, const timespec* timeout, const sigset_t* mask);
int select(int count, fd_set* reading, fd_set* writing, fd_set* except, timeval* timeout);
int pselect(int count, fd_set* reading, fd_set* writing, fd_set* except, const timespec* timeout,
            const sigset_t* mask);
int epoll_wait(int fd, epoll_event* events, int most, int timeout);
int epoll_pwait2(int fd, epoll_event* events, int most, const timespec* timeout,
                 const sigset_t* mask);
unsigned sleep(unsigned seconds);
int usleep(useconds_t microseconds);
int nanosleep(const timespec* time, timespec* rest);
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* rest);
int thrd_sleep(const timespec* time, timespec* rest);
// std::this_thread's.
void yield();
void sleep_for(std::chrono::hours time);
void sleep_until(std::chrono::steady_clock::time_point time);
pid_t wait(int* status);
pid_t waitpid(pid_t pid, int* status, int options);
int waitid(idtype_t type, id_t id, siginfo_t* info, int options);
int system(const char* command);
int flock(int fd, int operation);
int lockf(int fd, int operation, off_t size);
int fcntl(int fd, int command, void* argument);
int sigwait(const sigset_t* set, int* signal);
int sigwaitinfo(const sigset_t* set, siginfo_t* info);
int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout);
ssize_t mq_receive(mqd_t queue, char* text, std::size_t size, unsigned* priority);
ssize_t mq_timedreceive(mqd_t queue, char* text, std::size_t size, unsigned* priority,
                        const timespec* until);
int mq_send(mqd_t queue, const char* text, std::size_t size, unsigned priority);
ssize_t msgrcv(int queue, void* message, std::size_t size, long type, int flags);
int msgsnd(int queue, const void* message, std::size_t size, int flags);
int semop(int set, sembuf* operations, std::size_t count);
int semtimedop(int set, sembuf* operations, std::size_t count, const timespec* timeout);
int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** list);
int getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_size,
                char* service, socklen_t service_size, int flags);
hostent* gethostbyname(const char* name);
hostent* gethostbyaddr(const void* address, socklen_t length, int family);
int gethostbyname_r(const char* name, hostent* entry, char* memory, std::size_t size,
                    hostent** result, int* error);
unsigned alarm(unsigned seconds);
// Of ITIMER_REAL.
int setitimer(const itimerval& value, itimerval* before = nullptr);
int getitimer(itimerval* value);
useconds_t ualarm(useconds_t time, useconds_t interval);
int pause();
void closefrom(int first);
void* dlopen(const char* name, int flags);
int mutex_lock(pthread_mutex_t* mutex);
int mutex_trylock(pthread_mutex_t* mutex);
int mutex_unlock(pthread_mutex_t* mutex);
long syscall(long number, long a, long b, long c, long d, long e, long f);
// Calls read by a pointer that copy_pointers() has copied.
void copy_pointers();
ssize_t read_by_copy(int fd, void* buffer, std::size_t size);
// Limits a call as old code does: returns -1 with EINTR when the alarm rings; -2 when its handler
// jumps.
ssize_t read_with_alarm(int fd, bool jump, bool restart);
// The functions that the compiler calls with _FORTIFY_SOURCE.
ssize_t read_chk(int fd, void* buffer, std::size_t size, std::size_t room);
ssize_t recv_chk(int fd, void* buffer, std::size_t size, std::size_t room, int flags);
ssize_t recvfrom_chk(int fd, void* buffer, std::size_t size, std::size_t room, int flags,
                     sockaddr* from, socklen_t* length);
int poll_chk(pollfd* descriptors, nfds_t count, int timeout, std::size_t room);
int ppoll_chk(pollfd* descriptors, nfds_t count, const timespec* timeout, const sigset_t* mask,
              std::size_t room);

}  // namespace calls
