// A thread for one fiber's use: while the fiber runs, the processor's thread pointer is that of a
// helper thread, which is parked. So all that code keeps for its thread is the fiber's own:
// thread_local variables, errno, the locale, malloc's cache, the owner of a mutex, pthread_self().
//
// What the kernel keeps per thread stays that of the thread that runs (gettid(), the signal mask,
// the alternate stack), and so does what this library keeps: its variables are carried over and
// back (tls_thread_state, PerThread).
//
// A switch that leaves the fiber puts the thread pointer back before it jumps, and one that comes
// back sets it, so that no other fiber is concerned. Both are found out by the record of exceptions
// (see switch.hpp), which seems not to be empty while the pointer is lent: nothing is added to what
// other switches do.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/context.hpp>
#include <fiber/core/list.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <pthread.h>

namespace fiber::core {

struct ThreadState;

// A thread_local variable of this library that belongs to the thread that runs fibers, whatever
// thread these pass for. Has to be trivial. Made once, as a static object.
class FIBER_API PerThread {
 public:
  // `address` gives that of the calling thread's; `prepare` is called on a thread before its
  // pointer is lent, for what has to be registered for its end.
  PerThread(void* (*address)(), std::size_t size, void (*prepare)() = nullptr) noexcept;
  PerThread(const PerThread&) = delete;
  PerThread& operator=(const PerThread&) = delete;

 private:
  friend class OwnThread;
  void* (*address_)();
  std::size_t size_;
  void (*prepare_)();
  PerThread* next_;  // all of the process: singly linked, since none ever leaves
};

class FIBER_API OwnThread {
 public:
  // Null, or why there can be none here. Without instructions for the thread pointer a system call
  // sets it, in 200 ns or more, if that is `slow`.
  static const char* why_not(bool slow) noexcept;

  // Starts the helper thread, for fibers of `thread`, which calls this. Throws OSError.
  OwnThread(ThreadState& thread, bool slow);
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;
  // Ends it: what its thread_local variables hold is destroyed there, before this returns.
  ~OwnThread();

  // Calls function(argument), which must not throw, with the thread lent to the running fiber.
  void run(void (*function)(void* argument), void* argument) noexcept;

  // The kernel's id of the helper, by which libc knows the owner of a mutex.
  int id() const noexcept { return id_; }
  // Whether the kernel's id is that of a helper for a fiber of the calling thread.
  static bool is_of_this_thread(int id) noexcept;

  // --- for the switch ---
  void lend() noexcept;
  void take_back() noexcept;

  Links<OwnThread> links;  // of the thread's

 private:
  // What code finds by the thread pointer, and we by addresses.
  struct Identity {
    std::uintptr_t pointer = 0;
    CxxExceptionState* exceptions = nullptr;
    int* error_number = nullptr;
    void take() noexcept;
  };
  struct Carried {
    void* home;
    void* own;
    std::size_t size;
  };
  void park() noexcept;
  static void* park_entry(void* self);

  ThreadState& thread_;
  const bool slow_;
  Identity home_;
  Identity own_;
  CxxExceptionState sign_;  // stands for the record of exceptions while the pointer is lent
  std::vector<Carried> carried_;
  ThreadState** own_state_ = nullptr;  // null while it is parked: the helper has no fibers
  pthread_t helper_{};
  int id_ = 0;
  const int process_;
  // The helper waits here until it is to end. Barriers, since waiting for one uses nothing of the
  // helper's that the fiber uses meanwhile, as errno, and nobody has other functions for it.
  pthread_barrier_t is_ready_;
  pthread_barrier_t is_over_;
};

}  // namespace fiber::core
