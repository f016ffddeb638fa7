// Stands between the program and libc: malloc and its family, and the wrappers of system calls that
// can fail for lack of a resource. Calls inside libc do not pass here.
#include "injection.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>

#include <dlfcn.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <sys/types.h>

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);
int __cxa_thread_atexit_impl(void (*)(void*), void*, void*);
}

namespace faults {
namespace {

std::atomic<bool> active{false};
std::atomic<long> blocks{0};
Fault fault;
Record* record = nullptr;

void note(const char* name) noexcept {
  std::size_t at = 0;
  for (; name[at] != '\0' && at + 1 < sizeof record->failed; ++at) record->failed[at] = name[at];
  record->failed[at] = '\0';
  record->frame_count = ::backtrace(record->frames, kMostFrames);
}

// Returns true for a caller in glibc that ends the process without memory for a thread_local's
// destructor.
bool aborts_without_memory(const void* caller) noexcept {
  const auto* begin = reinterpret_cast<const char*>(&__cxa_thread_atexit_impl);
  const auto* at = static_cast<const char*>(caller);
  return at >= begin && at < begin + 512;
}

bool allocation_fails(const void* caller) noexcept {
  if (!active.load(std::memory_order_relaxed) || aborts_without_memory(caller)) return false;
  const long number = record->allocations.fetch_add(1);
  const bool fails =
      (fault.kind == Kind::allocation && number == fault.number) ||
      (fault.kind == Kind::burst && number >= fault.number && number < fault.number + kBurst);
  if (fails) note("malloc");
  return fails;
}

// Returns 0, or the errno with which this call must fail.
int call_fails(const char* name, std::initializer_list<int> errors) noexcept {
  if (!active.load(std::memory_order_relaxed)) return 0;
  const long number = record->calls.fetch_add(1);
  if (number < kMostCalls) record->errors[number] = static_cast<std::uint8_t>(errors.size());
  if (fault.kind != Kind::call || number != fault.number) return 0;
  if (static_cast<std::size_t>(fault.variant) >= errors.size()) return 0;  // another order of calls
  note(name);
  return errors.begin()[fault.variant];
}

template <class F>
F next(const char* name) noexcept {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

void* counted(void* memory) noexcept {
  if (memory != nullptr) blocks.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* refused() noexcept {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace

void begin(const Fault& which, Record& into) noexcept {
  fault = which;
  record = &into;
  active.store(true);
}
void end() noexcept { active.store(false); }
long live_blocks() noexcept { return blocks.load(); }

bool in_use() noexcept {
  const long before = live_blocks();
  void* volatile block = std::malloc(1);
  const bool counts = live_blocks() == before + 1;
  std::free(block);
  return counts;
}

// --- malloc and its family ----------------------------------------------------------------------

// Defines a function of libc under another name, since libc's headers declare it in their own way.
#define FIBER_IN_PLACE_OF(name, result, parameters)                                    \
  extern "C" __attribute__((noinline)) result faulty_##name parameters __asm__(#name); \
  extern "C" result faulty_##name parameters

FIBER_IN_PLACE_OF(malloc, void*, (std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return refused();
  return counted(__libc_malloc(size));
}
FIBER_IN_PLACE_OF(calloc, void*, (std::size_t count, std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return refused();
  return counted(__libc_calloc(count, size));
}
FIBER_IN_PLACE_OF(realloc, void*, (void* memory, std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return refused();
  void* made = __libc_realloc(memory, size);
  if (memory == nullptr) counted(made);
  if (memory != nullptr && size == 0) blocks.fetch_sub(1, std::memory_order_relaxed);
  return made;
}
FIBER_IN_PLACE_OF(memalign, void*, (std::size_t alignment, std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return refused();
  return counted(__libc_memalign(alignment, size));
}
FIBER_IN_PLACE_OF(aligned_alloc, void*, (std::size_t alignment, std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return refused();
  return counted(__libc_memalign(alignment, size));
}
FIBER_IN_PLACE_OF(posix_memalign, int, (void** made, std::size_t alignment, std::size_t size)) {
  if (allocation_fails(__builtin_return_address(0))) return ENOMEM;
  *made = counted(__libc_memalign(alignment, size));
  return *made != nullptr ? 0 : ENOMEM;
}
FIBER_IN_PLACE_OF(free, void, (void* memory)) {
  if (memory != nullptr) blocks.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(memory);
}

// --- system calls -------------------------------------------------------------------------------

#define FIBER_FAULTY(name, result, parameters, arguments, failed, ...) \
  FIBER_IN_PLACE_OF(name, result, parameters) {                        \
    static const auto real = next<result(*) parameters>(#name);        \
    if (const int error = call_fails(#name, {__VA_ARGS__})) {          \
      errno = error;                                                   \
      return failed;                                                   \
    }                                                                  \
    return real arguments;                                             \
  }
// For functions that return the error.
#define FIBER_FAULTY_POSIX(name, parameters, arguments, ...)              \
  FIBER_IN_PLACE_OF(name, int, parameters) {                              \
    static const auto real = next<int(*) parameters>(#name);              \
    if (const int error = call_fails(#name, {__VA_ARGS__})) return error; \
    return real arguments;                                                \
  }

using Size = std::size_t;

FIBER_FAULTY(open, int, (const char* path, int flags, mode_t mode), (path, flags, mode), -1, EMFILE,
             EINTR)
FIBER_FAULTY(epoll_create1, int, (int flags), (flags), -1, EMFILE, ENOMEM)
FIBER_FAULTY(epoll_ctl, int, (int epoll, int operation, int fd, void* event),
             (epoll, operation, fd, event), -1, ENOMEM, ENOSPC)
FIBER_FAULTY(epoll_wait, int, (int epoll, void* events, int most, int timeout),
             (epoll, events, most, timeout), -1, EINTR)
FIBER_FAULTY(eventfd, int, (unsigned count, int flags), (count, flags), -1, EMFILE, ENOMEM)
FIBER_FAULTY(timerfd_create, int, (int clock, int flags), (clock, flags), -1, EMFILE)
FIBER_FAULTY(pipe2, int, (int* ends, int flags), (ends, flags), -1, EMFILE)
FIBER_FAULTY(socket, int, (int domain, int type, int protocol), (domain, type, protocol), -1,
             EMFILE, ENOMEM)
FIBER_FAULTY(socketpair, int, (int domain, int type, int protocol, int* ends),
             (domain, type, protocol, ends), -1, EMFILE)
FIBER_FAULTY(accept4, int, (int fd, void* address, void* length, int flags),
             (fd, address, length, flags), -1, EMFILE, EINTR, ECONNABORTED)
FIBER_FAULTY(bind, int, (int fd, const void* address, unsigned length), (fd, address, length), -1,
             EADDRINUSE, ENOMEM)
FIBER_FAULTY(listen, int, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
FIBER_FAULTY(connect, int, (int fd, const void* address, unsigned length), (fd, address, length),
             -1, EINTR, ENOBUFS)
FIBER_FAULTY(setsockopt, int, (int fd, int level, int name, const void* value, unsigned size),
             (fd, level, name, value, size), -1, ENOMEM)
FIBER_FAULTY(dup, int, (int fd), (fd), -1, EMFILE)
FIBER_FAULTY(poll, int, (void* set, unsigned long count, int timeout), (set, count, timeout), -1,
             EINTR, ENOMEM)
FIBER_FAULTY(mmap, void*, (void* at, Size size, int protection, int flags, int fd, off_t offset),
             (at, size, protection, flags, fd, offset), reinterpret_cast<void*>(-1), ENOMEM)
FIBER_FAULTY(mprotect, int, (void* at, Size size, int protection), (at, size, protection), -1,
             ENOMEM)
FIBER_FAULTY(madvise, int, (void* at, Size size, int advice), (at, size, advice), -1, ENOMEM,
             EINVAL, ENOSYS)
FIBER_FAULTY(sigaltstack, int, (const void* fresh, void* old), (fresh, old), -1, ENOMEM)
FIBER_FAULTY(fork, pid_t, (), (), -1, EAGAIN, ENOMEM)
FIBER_FAULTY(waitid, int, (int what, unsigned id, void* info, int options),
             (what, id, info, options), -1, EINTR)
// The C++ runtime waits and wakes by SYS_futex, which does not fail.
FIBER_IN_PLACE_OF(syscall, long, (long number, long a, long b, long c, long d, long e, long f)) {
  static const auto real = next<long (*)(long, long, long, long, long, long, long)>("syscall");
  if (number != SYS_futex) {
    if (const int error = call_fails("syscall", {ENOSYS, EMFILE})) {
      errno = error;
      return -1;
    }
  }
  return real(number, a, b, c, d, e, f);
}
FIBER_FAULTY(read, ssize_t, (int fd, void* to, Size size), (fd, to, size), -1, EINTR)
FIBER_FAULTY(write, ssize_t, (int fd, const void* from, Size size), (fd, from, size), -1, EINTR)
FIBER_FAULTY(pread, ssize_t, (int fd, void* to, Size size, off_t at), (fd, to, size, at), -1, EINTR,
             EIO)
FIBER_FAULTY(pwrite, ssize_t, (int fd, const void* from, Size size, off_t at), (fd, from, size, at),
             -1, EINTR, ENOSPC)
FIBER_FAULTY(openat, int, (int folder, const char* path, int flags, mode_t mode),
             (folder, path, flags, mode), -1, EMFILE, EINTR)
FIBER_FAULTY(fchmod, int, (int fd, mode_t mode), (fd, mode), -1, EIO)
FIBER_FAULTY(flock, int, (int fd, int operation), (fd, operation), -1, EINTR, ENOLCK)
FIBER_FAULTY(fsync, int, (int fd), (fd), -1, EINTR, EIO)
FIBER_FAULTY(ftruncate, int, (int fd, off_t size), (fd, size), -1, EINTR, EIO)
FIBER_FAULTY(linkat, int, (int from, const char* a, int to, const char* b, int flags),
             (from, a, to, b, flags), -1, ENOSPC)
FIBER_FAULTY(rename, int, (const char* from, const char* to), (from, to), -1, ENOSPC)
FIBER_FAULTY(renameat, int, (int from, const char* a, int to, const char* b), (from, a, to, b), -1,
             ENOSPC)
FIBER_FAULTY(recv, ssize_t, (int fd, void* to, Size size, int flags), (fd, to, size, flags), -1,
             EINTR, ENOMEM)
FIBER_FAULTY(send, ssize_t, (int fd, const void* from, Size size, int flags),
             (fd, from, size, flags), -1, EINTR, ENOBUFS)
FIBER_FAULTY_POSIX(pthread_create,
                   (unsigned long* made, const void* attributes, void* (*function)(void*),
                    void* argument),
                   (made, attributes, function, argument), EAGAIN)
FIBER_FAULTY_POSIX(posix_spawn,
                   (pid_t * made, const char* path, const void* actions, const void* attributes,
                    char* const* arguments, char* const* environment),
                   (made, path, actions, attributes, arguments, environment), EAGAIN, ENOMEM)
// The function behind pthread_atfork.
FIBER_FAULTY_POSIX(__register_atfork, (void (*a)(), void (*b)(), void (*c)(), void* object),
                   (a, b, c, object), ENOMEM)

}  // namespace faults
