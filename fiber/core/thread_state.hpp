// Everything a thread owns, reached through one thread_local pointer. Fibers never change threads,
// so code may hold on to the reference across a switch.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/block_pool.hpp>
#include <fiber/core/context.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/stack.hpp>

#include <cstddef>

namespace fiber::core {

// The layers above keep their per-thread part here; `core` only knows that it can be ended.
struct FIBER_API ThreadLayer {
  virtual ~ThreadLayer() = default;
  // Called on the thread while it exits, upper layers before lower ones.
  virtual void thread_exits() noexcept = 0;
  // Name of what runs now, for the overflow report; called in a signal handler.
  virtual const char* running_name() const noexcept { return nullptr; }
};

// Each layer claims one slot of ThreadState::layers by a number of its own.
inline constexpr std::size_t kMostLayers = 2;

class OwnThread;

struct ThreadState {
  CxxExceptionState* exceptions;  // the C++ runtime's own two words for this thread
  int* error_number;              // &errno
  Stack* stack;                   // the one that runs now
  // What is to be done after the next arrival: the stack of a fiber that ended is given back; with
  // keep_mxcsr() there is always something to be done, and this is at least `own_stack`.
  Stack* errand = nullptr;
  Context departed;  // where an ended fiber's jump saves what nobody needs
  StartFunction start_function = nullptr;
  void* start_argument = nullptr;
  const Context* calls_with_room = nullptr;  // what call_with_room() left, while it does
  StackPool pool;
  BlockPool blocks;
  bool keeps_mxcsr = false;
  Stack own_stack;                        // stands for the stack the thread came with
  ThreadLayer* layers[kMostLayers] = {};  // null where a layer is not in use; lower ones first
  Links<ThreadState> links;               // in the list for debuggers
  long thread_id = 0;                     // the kernel's
  OwnThread* lent = nullptr;              // to the running fiber
  List<OwnThread> own_threads;            // all that fibers of this thread have
};

#if defined(__clang__) || defined(__GNUC__)
#define FIBER_TLS_MODEL __attribute__((tls_model("initial-exec")))
#endif
FIBER_API extern constinit thread_local ThreadState* tls_thread_state FIBER_TLS_MODEL;

// Creates the state at a thread's first use. Throws RuntimeError once the thread is exiting and
// its state is gone.
FIBER_API ThreadState& make_thread_state();

inline ThreadState& thread_state() {
  ThreadState* state = tls_thread_state;
  if (state == nullptr) [[unlikely]]
    return make_thread_state();
  return *state;
}

// True from the moment this thread's destructors have ended its state.
FIBER_API bool thread_is_exiting() noexcept;

}  // namespace fiber::core
