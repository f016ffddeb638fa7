// The data by which a debugger finds every fiber of a process or of a core file, read by
// gdb/fiber_gdb.py. No debug information is needed: members are given by name and offset.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/thread_state.hpp>

#include <atomic>
#include <cstddef>

namespace fiber::core {

// A member and its offset in bytes ("Context.sp"), or an enumerator and its value. A
// null name ends a list of fields.
struct DebuggerField {
  const char* name;
  std::size_t offset;
};

// The entry point of debuggers: one word for each member, in this order.
struct DebuggerRoot {
  std::size_t version;          // of this struct and of the names
  ThreadState* threads;         // newest first, linked by "ThreadState.next_thread"
  std::size_t saved_registers;  // see saved_registers_size()
  std::atomic<const DebuggerField*> core;
  // The fields of each layer, null while the layer is not in use; in the order of
  // ThreadState::layers. The offset of the layer's part in ThreadState::layers is among them.
  std::atomic<const DebuggerField*> layers[kMostLayers];
};

// Enter the calling thread's state into the list, and remove it again.
void show_to_debuggers(ThreadState& thread);  // throws std::bad_alloc
void hide_from_debuggers(ThreadState& thread) noexcept;

}  // namespace fiber::core

extern "C" FIBER_API fiber::core::DebuggerRoot fiber_debugger;
