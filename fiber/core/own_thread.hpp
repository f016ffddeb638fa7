// A thread for one fiber's use: while the fiber runs, the processor's thread pointer is the one of
// a parked helper thread. So everything that code keeps per thread is the fiber's own: thread_local
// variables, errno, the locale, malloc's cache, the owner of a mutex, pthread_self().
//
// The state that the kernel keeps (gettid(), the signal mask, the alternate stack) is still the
// running thread's, and so is this library's: the helper's tls_thread_state points to the state of
// the served thread, and each PerThread of the helper stands for the served thread's.
//
// A switch that leaves the fiber puts the thread pointer back before it jumps, unless it goes to
// another such fiber, and a switch that returns sets it again, so other fibers never see it.
// Switches recognise a lent pointer by the record of exceptions (see switch.hpp), which pretends
// not to be empty meanwhile: all other switches do no extra work.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/context.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/stack.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <pthread.h>

namespace fiber::core {

struct ThreadState;

// The base of every PerThread.
class FIBER_API PerThreadBase {
 public:
  PerThreadBase(const PerThreadBase&) = delete;
  PerThreadBase& operator=(const PerThreadBase&) = delete;

 protected:
  constexpr PerThreadBase() noexcept = default;
  // The variable of the thread that runs the caller's fiber.
  PerThreadBase* variable() noexcept { return home_ != nullptr ? home_ : this; }

 private:
  friend class OwnThread;
  PerThreadBase* home_ = nullptr;  // on a helper thread that serves another one's fiber
};

// A thread_local variable of the thread that runs fibers, also while a fiber has another thread's
// pointer. It is static, trivial to destroy, and registered by one PerThreadUse.
template <class T>
class PerThread : public PerThreadBase {
 public:
  T* operator->() noexcept { return &static_cast<PerThread*>(variable())->value_; }
  T& operator*() noexcept { return *operator->(); }

 private:
  T value_{};
};

// Makes a PerThread known to helper threads; a static object.
class FIBER_API PerThreadUse {
 public:
  // `variable` returns the calling thread's; `prepare` is called on a thread before a helper's
  // pointer is lent there, to register work for the thread's end.
  explicit PerThreadUse(PerThreadBase& (*variable)(), void (*prepare)() = nullptr) noexcept;
  PerThreadUse(const PerThreadUse&) = delete;
  PerThreadUse& operator=(const PerThreadUse&) = delete;

 private:
  friend class OwnThread;
  PerThreadBase& (*variable_)();
  void (*prepare_)();
  PerThreadUse* next_;  // in the list of the process, which no element ever leaves
};

// The functions with FIBER_API are called by other libraries.
class OwnThread {
 public:
  // Returns null, or the reason why fibers cannot have a thread of their own here. With `slow`, a
  // system call may set the thread pointer where there are no instructions: 200 ns or more each
  // time.
  static const char* why_not(bool slow) noexcept;

  // Starts the helper thread, for fibers of the calling thread, `thread`. Throws OSError.
  OwnThread(ThreadState& thread, bool slow);
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;
  // Ends the helper thread: the objects in its thread_local variables are destroyed before this
  // returns.
  ~OwnThread();

  // Calls function(argument), which must not throw, with the thread lent to the running fiber.
  void run(void (*function)(void* argument), void* argument) noexcept;

  // Returns the kernel's id of the helper, by which libc knows the owner of a mutex.
  int id() const noexcept { return id_; }
  // Returns whether the kernel's id `id` is that of a helper for a fiber of the calling thread.
  FIBER_API static bool is_of_this_thread(int id) noexcept;

  // --- for the switch ---
  FIBER_API void lend() noexcept;
  FIBER_API void take_back() noexcept;

  Links<OwnThread> links;  // in the list of the thread

 private:
  // The values that code finds by the thread pointer, and the library by addresses.
  struct Identity {
    std::uintptr_t pointer = 0;
    CxxExceptionState* exceptions = nullptr;
    int* error_number = nullptr;
    void take() noexcept;
  };
  void park() noexcept;
  void serve(ThreadState* thread) noexcept;
  static void* park_entry(void* self);

  ThreadState& thread_;
  const bool slow_;
  Identity home_;
  Identity own_;
  CxxExceptionState sign_;  // in place of the record of exceptions while the pointer is lent
  const PerThreadUse* const uses_;         // the uses known at the start, and
  std::vector<PerThreadBase*> variables_;  // their variables of the thread that the helper serves
  pthread_t helper_{};
  int id_ = 0;
  Stack parked_;  // the helper's own stack; only a sanitizer uses it
  const int process_;
  // The helper waits at these barriers until it is to end. A wait at a barrier uses nothing of the
  // helper's that the fiber uses meanwhile, such as errno, and no library replaces
  // pthread_barrier_wait.
  pthread_barrier_t is_ready_;
  pthread_barrier_t is_over_;
};

}  // namespace fiber::core
