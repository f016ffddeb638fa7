// The functions for threads that a platform has to give.
#pragma once

#include <cstdint>

#include <pthread.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace fiber::platform {

// Returns whether the caller is the process's first thread: the one that handles signals.
bool is_first_thread() noexcept;
// Returns a number for the calling thread, which no other thread of the process has, for debuggers
// and traces. On Linux it is the kernel's, by which libc knows the owner of a mutex.
long thread_number() noexcept;
// Returns whether there are threads besides the caller and `known` others. "Yes" where the
// platform does not tell.
bool may_have_other_threads(unsigned known) noexcept;

// Returns true only if the caller is the sole thread: atomic counters can do without locked
// instructions then. "No" where libc does not tell.
inline bool is_single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

// Names the calling thread for debuggers, by at most 15 bytes. Returns false where threads have no
// names.
bool name_thread(const char* name) noexcept;

// While this lives pthread_cancel of its thread waits: for calls that are cancellation points in
// functions that must not throw. No other fiber may run meanwhile.
class Uncancelled {
 public:
  Uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  Uncancelled(const Uncancelled&) = delete;
  Uncancelled& operator=(const Uncancelled&) = delete;
  ~Uncancelled() { ::pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// Returns the number of processors that the process may use; at least 1.
int usable_processors() noexcept;

// The place where a signal has interrupted the code; 0 where the layout of the machine's record is
// not known.
struct Interrupted {
  std::uintptr_t program_counter = 0;
  std::uintptr_t stack_pointer = 0;
};
// To be called in a signal handler, with the handler's third argument.
Interrupted interrupted(const void* context) noexcept;

}  // namespace fiber::platform
