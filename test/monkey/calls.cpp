#include "monkey/calls.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/sendfile.h>
#include <threads.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

extern "C" {
ssize_t __read_chk(int, void*, std::size_t, std::size_t);
ssize_t __recv_chk(int, void*, std::size_t, std::size_t, int);
ssize_t __recvfrom_chk(int, void*, std::size_t, std::size_t, int, sockaddr*, socklen_t*);
int __poll_chk(pollfd*, nfds_t, int, std::size_t);
int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, std::size_t);
}

namespace calls {

ssize_t read(int fd, void* buffer, std::size_t size) { return ::read(fd, buffer, size); }
ssize_t write(int fd, const void* buffer, std::size_t size) { return ::write(fd, buffer, size); }
ssize_t readv(int fd, const iovec* vectors, int count) { return ::readv(fd, vectors, count); }
ssize_t writev(int fd, const iovec* vectors, int count) { return ::writev(fd, vectors, count); }
int eventfd_read(int fd, eventfd_t* value) { return ::eventfd_read(fd, value); }
int eventfd_write(int fd, eventfd_t value) { return ::eventfd_write(fd, value); }
ssize_t sendfile(int to, int from, off_t* offset, std::size_t count) {
  return ::sendfile(to, from, offset, count);
}
ssize_t splice(int from, int to, std::size_t size, unsigned flags) {
  return ::splice(from, nullptr, to, nullptr, size, flags);
}
ssize_t tee(int from, int to, std::size_t size, unsigned flags) {
  return ::tee(from, to, size, flags);
}
ssize_t vmsplice(int fd, const iovec* vectors, std::size_t count, unsigned flags) {
  return ::vmsplice(fd, vectors, count, flags);
}
ssize_t recv(int fd, void* buffer, std::size_t size, int flags) {
  return ::recv(fd, buffer, size, flags);
}
ssize_t recvfrom(int fd, void* buffer, std::size_t size, int flags, sockaddr* from,
                 socklen_t* length) {
  return ::recvfrom(fd, buffer, size, flags, from, length);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) { return ::recvmsg(fd, message, flags); }
int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit) {
  return ::recvmmsg(fd, messages, count, flags, limit);
}
ssize_t send(int fd, const void* buffer, std::size_t size, int flags) {
  return ::send(fd, buffer, size, flags);
}
ssize_t sendto(int fd, const void* buffer, std::size_t size, int flags, const sockaddr* to,
               socklen_t length) {
  return ::sendto(fd, buffer, size, flags, to, length);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) { return ::sendmsg(fd, message, flags); }
int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  return ::sendmmsg(fd, messages, count, flags);
}
int accept(int fd, sockaddr* address, socklen_t* length) { return ::accept(fd, address, length); }
int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  return ::accept4(fd, address, length, flags);
}
int connect(int fd, const sockaddr* address, socklen_t length) {
  return ::connect(fd, address, length);
}
int close(int fd) { return ::close(fd); }
int dup2(int from, int to) { return ::dup2(from, to); }
int poll(pollfd* descriptors, nfds_t count, int timeout) {
  return ::poll(descriptors, count, timeout);
}
int ppoll(pollfd* descriptors, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return ::ppoll(descriptors, count, timeout, mask);
}
int select(int count, fd_set* reading, fd_set* writing, fd_set* except, timeval* timeout) {
  return ::select(count, reading, writing, except, timeout);
}
int pselect(int count, fd_set* reading, fd_set* writing, fd_set* except, const timespec* timeout,
            const sigset_t* mask) {
  return ::pselect(count, reading, writing, except, timeout, mask);
}
int epoll_wait(int fd, epoll_event* events, int most, int timeout) {
  return ::epoll_wait(fd, events, most, timeout);
}
int epoll_pwait2(int fd, epoll_event* events, int most, const timespec* timeout,
                 const sigset_t* mask) {
  return ::epoll_pwait2(fd, events, most, timeout, mask);
}
unsigned sleep(unsigned seconds) { return ::sleep(seconds); }
int usleep(useconds_t microseconds) { return ::usleep(microseconds); }
int nanosleep(const timespec* time, timespec* rest) { return ::nanosleep(time, rest); }
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* rest) {
  return ::clock_nanosleep(clock, flags, time, rest);
}
int thrd_sleep(const timespec* time, timespec* rest) { return ::thrd_sleep(time, rest); }
void yield() { std::this_thread::yield(); }
void sleep_for(std::chrono::hours time) { std::this_thread::sleep_for(time); }
void sleep_until(std::chrono::steady_clock::time_point time) {
  std::this_thread::sleep_until(time);
}
pid_t wait(int* status) { return ::wait(status); }
pid_t waitpid(pid_t pid, int* status, int options) { return ::waitpid(pid, status, options); }
int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  return ::waitid(type, id, info, options);
}
int system(const char* command) { return ::system(command); }
int flock(int fd, int operation) { return ::flock(fd, operation); }
int lockf(int fd, int operation, off_t size) { return ::lockf(fd, operation, size); }
int fcntl(int fd, int command, void* argument) { return ::fcntl(fd, command, argument); }
int sigwait(const sigset_t* set, int* signal) { return ::sigwait(set, signal); }
int sigwaitinfo(const sigset_t* set, siginfo_t* info) { return ::sigwaitinfo(set, info); }
int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  return ::sigtimedwait(set, info, timeout);
}
ssize_t mq_receive(mqd_t queue, char* text, std::size_t size, unsigned* priority) {
  return ::mq_receive(queue, text, size, priority);
}
ssize_t mq_timedreceive(mqd_t queue, char* text, std::size_t size, unsigned* priority,
                        const timespec* until) {
  return ::mq_timedreceive(queue, text, size, priority, until);
}
int mq_send(mqd_t queue, const char* text, std::size_t size, unsigned priority) {
  return ::mq_send(queue, text, size, priority);
}
ssize_t msgrcv(int queue, void* message, std::size_t size, long type, int flags) {
  return ::msgrcv(queue, message, size, type, flags);
}
int msgsnd(int queue, const void* message, std::size_t size, int flags) {
  return ::msgsnd(queue, message, size, flags);
}
int semop(int set, sembuf* operations, std::size_t count) {
  return ::semop(set, operations, count);
}
int semtimedop(int set, sembuf* operations, std::size_t count, const timespec* timeout) {
  return ::semtimedop(set, operations, count, timeout);
}
int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** list) {
  return ::getaddrinfo(name, service, hints, list);
}
int getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_size,
                char* service, socklen_t service_size, int flags) {
  return ::getnameinfo(address, length, host, host_size, service, service_size, flags);
}
hostent* gethostbyname(const char* name) { return ::gethostbyname(name); }
hostent* gethostbyaddr(const void* address, socklen_t length, int family) {
  return ::gethostbyaddr(address, length, family);
}
int gethostbyname_r(const char* name, hostent* entry, char* memory, std::size_t size,
                    hostent** result, int* error) {
  return ::gethostbyname_r(name, entry, memory, size, result, error);
}
useconds_t ualarm(useconds_t time, useconds_t interval) { return ::ualarm(time, interval); }
unsigned alarm(unsigned seconds) { return ::alarm(seconds); }
int setitimer(const itimerval& value, itimerval* before) {
  return ::setitimer(ITIMER_REAL, &value, before);
}
int getitimer(itimerval* value) { return ::getitimer(ITIMER_REAL, value); }
int pause() { return ::pause(); }
void closefrom(int first) { ::closefrom(first); }
void* dlopen(const char* name, int flags) { return ::dlopen(name, flags); }
int mutex_lock(pthread_mutex_t* mutex) { return ::pthread_mutex_lock(mutex); }
int mutex_trylock(pthread_mutex_t* mutex) { return ::pthread_mutex_trylock(mutex); }
int mutex_unlock(pthread_mutex_t* mutex) { return ::pthread_mutex_unlock(mutex); }

namespace {
ssize_t (*volatile copied_read)(int, void*, std::size_t) = nullptr;
sigjmp_buf jump_target;
}  // namespace

void copy_pointers() { copied_read = ::read; }
long syscall(long number, long a, long b, long c, long d, long e, long f) {
  return ::syscall(number, a, b, c, d, e, f);
}
ssize_t read_by_copy(int fd, void* buffer, std::size_t size) {
  return copied_read(fd, buffer, size);
}
ssize_t read_with_alarm(int fd, bool jump, bool restart) {
  struct sigaction action {
  }, before{};
  action.sa_handler = jump ? +[](int) { ::siglongjmp(jump_target, 1); } : +[](int) {};
  action.sa_flags = restart ? SA_RESTART : 0;
  ::sigaction(SIGALRM, &action, &before);
  char byte = 0;
  ssize_t result = -2;
  if (sigsetjmp(jump_target, 1) == 0) {
    ::alarm(1);
    result = ::read(fd, &byte, 1);
    ::alarm(0);
  }
  const int error = errno;
  ::sigaction(SIGALRM, &before, nullptr);
  errno = error;
  return result;
}
ssize_t read_chk(int fd, void* buffer, std::size_t size, std::size_t room) {
  return __read_chk(fd, buffer, size, room);
}
ssize_t recv_chk(int fd, void* buffer, std::size_t size, std::size_t room, int flags) {
  return __recv_chk(fd, buffer, size, room, flags);
}
ssize_t recvfrom_chk(int fd, void* buffer, std::size_t size, std::size_t room, int flags,
                     sockaddr* from, socklen_t* length) {
  return __recvfrom_chk(fd, buffer, size, room, flags, from, length);
}
int poll_chk(pollfd* descriptors, nfds_t count, int timeout, std::size_t room) {
  return __poll_chk(descriptors, count, timeout, room);
}
int ppoll_chk(pollfd* descriptors, nfds_t count, const timespec* timeout, const sigset_t* mask,
              std::size_t room) {
  return __ppoll_chk(descriptors, count, timeout, mask, room);
}

}  // namespace calls
