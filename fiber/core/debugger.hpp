// What a debugger needs to find every greenlet of a process or of a core file, read by
// gdb/fiber_gdb.py. It works without debug information: places are given by name and offset.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/thread_state.hpp>

#include <atomic>
#include <cstddef>

namespace fiber::core {

// A member and its offset in bytes ("GreenletObject.parent"), or an enumerator and its value. A
// list of them ends with a null name.
struct DebuggerField {
  const char* name;
  std::size_t offset;
};

// One word each, in this order.
struct DebuggerRoot {
  std::size_t version;          // of this struct and of the names
  ThreadState* threads;         // newest first, linked by "ThreadState.next_thread"
  std::size_t saved_registers;  // see saved_registers_size()
  std::atomic<const DebuggerField*> core;
  // Each layer's own, null while it is not in use; in the order of ThreadState::layers. That of its
  // part in ThreadState::layers is among them.
  std::atomic<const DebuggerField*> layers[kMostLayers];
};

// Enters the calling thread's state in the list, and takes it out again.
void show_to_debuggers(ThreadState& thread);  // throws std::bad_alloc
void hide_from_debuggers(ThreadState& thread) noexcept;

}  // namespace fiber::core

extern "C" FIBER_API fiber::core::DebuggerRoot fiber_debugger;
