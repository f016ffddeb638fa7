// libc's functions, or those of a sanitizer or preloaded library in front of libc.
// The replacements must call them through these pointers: a call by name would go through an import
// that may be patched, and come back.
#pragma once

#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <ctime>

namespace fiber::monkey::detail {

// C++ gives the first argument of setitimer a type of its own.
using itimer_which = __itimer_which_t;

struct Real {
  ssize_t (*read)(int, void*, std::size_t);
  ssize_t (*write)(int, const void*, std::size_t);
  ssize_t (*readv)(int, const iovec*, int);
  ssize_t (*writev)(int, const iovec*, int);
  ssize_t (*pread)(int, void*, std::size_t, off64_t);
  ssize_t (*pwrite)(int, const void*, std::size_t, off64_t);
  ssize_t (*preadv)(int, const iovec*, int, off64_t);
  ssize_t (*pwritev)(int, const iovec*, int, off64_t);
  ssize_t (*preadv2)(int, const iovec*, int, off64_t, int);
  ssize_t (*pwritev2)(int, const iovec*, int, off64_t, int);
  int (*fsync)(int);
  int (*fdatasync)(int);
  int (*syncfs)(int);
  void (*sync)();
  int (*msync)(void*, std::size_t, int);
  ssize_t (*copy_file_range)(int, off64_t*, int, off64_t*, std::size_t, unsigned);
  ssize_t (*sendfile)(int, int, off_t*, std::size_t);
  ssize_t (*splice)(int, off64_t*, int, off64_t*, std::size_t, unsigned);
  ssize_t (*tee)(int, int, std::size_t, unsigned);
  ssize_t (*vmsplice)(int, const iovec*, std::size_t, unsigned);
  ssize_t (*recv)(int, void*, std::size_t, int);
  ssize_t (*recvfrom)(int, void*, std::size_t, int, sockaddr*, socklen_t*);
  ssize_t (*recvmsg)(int, msghdr*, int);
  int (*recvmmsg)(int, mmsghdr*, unsigned, int, timespec*);
  ssize_t (*send)(int, const void*, std::size_t, int);
  ssize_t (*sendto)(int, const void*, std::size_t, int, const sockaddr*, socklen_t);
  ssize_t (*sendmsg)(int, const msghdr*, int);
  int (*sendmmsg)(int, mmsghdr*, unsigned, int);
  int (*accept)(int, sockaddr*, socklen_t*);
  int (*accept4)(int, sockaddr*, socklen_t*, int);
  int (*connect)(int, const sockaddr*, socklen_t);
  int (*close)(int);
  int (*dup2)(int, int);
  int (*dup3)(int, int, int);
  int (*poll)(pollfd*, nfds_t, int);
  int (*ppoll)(pollfd*, nfds_t, const timespec*, const sigset_t*);
  int (*select)(int, fd_set*, fd_set*, fd_set*, timeval*);
  int (*pselect)(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*);
  int (*epoll_wait)(int, epoll_event*, int, int);
  int (*epoll_pwait)(int, epoll_event*, int, int, const sigset_t*);
  int (*epoll_pwait2)(int, epoll_event*, int, const timespec*, const sigset_t*);
  unsigned (*sleep)(unsigned);
  int (*usleep)(useconds_t);
  int (*nanosleep)(const timespec*, timespec*);
  int (*clock_nanosleep)(clockid_t, int, const timespec*, timespec*);
  int (*sched_yield)();
  pid_t (*wait4)(pid_t, int*, int, rusage*);
  int (*waitid)(idtype_t, id_t, siginfo_t*, int);
  int (*system)(const char*);
  int (*sigtimedwait)(const sigset_t*, siginfo_t*, const timespec*);
  int (*sigwait)(const sigset_t*, int*);
  int (*flock)(int, int);
  int (*fcntl)(int, int, ...);
  int (*lockf)(int, int, off_t);
  ssize_t (*mq_timedreceive)(mqd_t, char*, std::size_t, unsigned*, const timespec*);
  int (*mq_timedsend)(mqd_t, const char*, std::size_t, unsigned, const timespec*);
  ssize_t (*msgrcv)(int, void*, std::size_t, long, int);
  int (*msgsnd)(int, const void*, std::size_t, int);
  int (*semtimedop)(int, sembuf*, std::size_t, const timespec*);
  int (*getaddrinfo)(const char*, const char*, const addrinfo*, addrinfo**);
  int (*getnameinfo)(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int);
  int (*gethostbyname_r)(const char*, hostent*, char*, std::size_t, hostent**, int*);
  int (*gethostbyname2_r)(const char*, int, hostent*, char*, std::size_t, hostent**, int*);
  int (*gethostbyaddr_r)(const void*, socklen_t, int, hostent*, char*, std::size_t, hostent**,
                         int*);
  void* (*dlopen)(const char*, int);
  unsigned (*alarm)(unsigned);
  int (*setitimer)(itimer_which, const itimerval*, itimerval*);
  int (*getitimer)(itimer_which, itimerval*);
  int (*pause)();
  void (*closefrom)(int);
  int (*close_range)(unsigned, unsigned, int);
  int (*fgetc)(FILE*);
  int (*getc_unlocked)(FILE*);
  int (*uflow)(FILE*);
  char* (*fgets)(char*, int, FILE*);
  char* (*fgets_unlocked)(char*, int, FILE*);
  ssize_t (*getdelim)(char**, std::size_t*, int, FILE*);
  std::size_t (*fread)(void*, std::size_t, std::size_t, FILE*);
  std::size_t (*fread_unlocked)(void*, std::size_t, std::size_t, FILE*);
  int (*pclose)(FILE*);
  long (*syscall)(long, ...);
  int (*mutex_lock)(pthread_mutex_t*);
  int (*mutex_trylock)(pthread_mutex_t*);
  int (*mutex_unlock)(pthread_mutex_t*);
  // The functions that the compiler calls with _FORTIFY_SOURCE; they end the program on an
  // overflow.
  ssize_t (*read_chk)(int, void*, std::size_t, std::size_t);
  ssize_t (*pread_chk)(int, void*, std::size_t, off64_t, std::size_t);
  char* (*fgets_chk)(char*, std::size_t, int, FILE*);
  std::size_t (*fread_chk)(void*, std::size_t, std::size_t, std::size_t, FILE*);
  ssize_t (*recv_chk)(int, void*, std::size_t, std::size_t, int);
  ssize_t (*recvfrom_chk)(int, void*, std::size_t, std::size_t, int, sockaddr*, socklen_t*);
  int (*poll_chk)(pollfd*, nfds_t, int, std::size_t);
  int (*ppoll_chk)(pollfd*, nfds_t, const timespec*, const sigset_t*, std::size_t);
  // Files and streams that are opened.
  FILE* (*fopen)(const char*, const char*);
  int (*open)(const char*, int, ...);
  int (*openat)(int, const char*, int, ...);
};

// Returns the functions. The first call, made by the first patch, looks them up.
const Real& real();

// Returns a function by name; null if there is none. One that the program itself defines does not
// count, unless it is a sanitizer's, which stands in front of libc's.
void* find_symbol(const char* name) noexcept;

}  // namespace fiber::monkey::detail
