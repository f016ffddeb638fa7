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

// Per-thread state of a layer above; `core` only knows that it can be ended.
struct FIBER_API ThreadLayer {
  virtual ~ThreadLayer() = default;
  // Called on the thread while it exits, upper layers before lower ones.
  virtual void thread_exits() noexcept = 0;
  // Returns the name of the running code, for the overflow report; called in a signal handler.
  virtual const char* running_name() const noexcept { return nullptr; }
};

// Each layer claims one slot of ThreadState::layers by a number of its own.
inline constexpr std::size_t kMostLayers = 2;

class OwnThread;

struct ThreadState {
  CxxExceptionState* exceptions;  // the C++ runtime's two words for this thread
  int* error_number;              // &errno
  Stack* stack;                   // the stack that runs now
  // The errand of the next arrival: the stack of a fiber that has ended, to be given back. Null if
  // there is none.
  Stack* errand = nullptr;
  Context departed;  // where an ended fiber's jump saves registers that are never restored
  StartFunction start_function = nullptr;
  void* start_argument = nullptr;
  const Context* calls_with_room = nullptr;  // left by call_with_room(), while it runs
  StackPool pool;
  BlockPool blocks;
  Stack own_stack;                        // describes the stack that the system gave to the thread
  ThreadLayer* layers[kMostLayers] = {};  // null where a layer is not in use; lower ones first
  Links<ThreadState> links;               // in the list for debuggers
  long thread_id = 0;                     // the kernel's
  OwnThread* lent = nullptr;              // null unless the running fiber uses a thread of its own
  List<OwnThread> own_threads;            // all of the fibers of this thread
};

#if defined(__clang__) || defined(__GNUC__)
#define FIBER_TLS_MODEL __attribute__((tls_model("initial-exec")))
#endif
FIBER_API extern constinit thread_local ThreadState* tls_thread_state FIBER_TLS_MODEL;

// The counts of a thread that has no state.
FIBER_API extern constinit thread_local Nesting tls_nesting FIBER_TLS_MODEL;

// Returns a new state, at a thread's first use. Throws RuntimeError once the thread is exiting and
// its state is gone.
FIBER_API ThreadState& make_thread_state();

inline ThreadState& thread_state() {
  ThreadState* state = tls_thread_state;
  if (state == nullptr) [[unlikely]]
    return make_thread_state();
  return *state;
}

// Returns the part of `thread` that the layer with this slot has; null if the thread has not used
// that layer yet, or no fiber.
template <class Layer>
Layer* layer_of(const ThreadState* thread, std::size_t slot) noexcept {
  return thread != nullptr ? static_cast<Layer*>(thread->layers[slot]) : nullptr;
}
// Returns this thread's part; make(thread) makes it at the first use.
template <class Layer, Layer& (*make)(ThreadState&)>
Layer& layer_of_this_thread(std::size_t slot) {
  ThreadState& thread = thread_state();
  Layer* own = layer_of<Layer>(&thread, slot);
  if (own == nullptr) [[unlikely]]
    return make(thread);
  return *own;
}

// Returns true from the moment when this thread's destructors have ended its state.
FIBER_API bool thread_is_exiting() noexcept;

}  // namespace fiber::core
