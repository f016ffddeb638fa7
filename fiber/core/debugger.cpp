#include <fiber/core/debugger.hpp>

#include <fiber/core/backtrace.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/platform/thread.hpp>

#include <mutex>

#include <pthread.h>
#include <unistd.h>

namespace {

using fiber::core::Context;
using fiber::core::Stack;
using fiber::core::ThreadState;

constexpr fiber::core::DebuggerField fields[] = {
    {"ThreadState.next_thread", offsetof(ThreadState, links.next)},
    {"ThreadState.thread_id", offsetof(ThreadState, thread_id)},
    {"Context.sp", offsetof(Context, sp)},
    {"Stack.base", offsetof(Stack, base)},
    {"Stack.size", offsetof(Stack, size)},
    // A std::string's pointer and length, as all versions of libstdc++ have them.
    {"string.data", 0},
    {"string.size", sizeof(void*)},
    {nullptr, 0},
};

// The list of threads. Debuggers read its first element as `fiber_debugger.threads`.
constinit fiber::core::List<ThreadState> threads;

// Never destroyed: threads may end after static objects.
std::mutex& list_mutex() noexcept {
  static constinit fiber::core::Undying<std::mutex> mutex;
  return *mutex;
}

// In a child process only the forking thread exists; the list must not stay locked there.
void lock_list() { list_mutex().lock(); }
void unlock_list() { list_mutex().unlock(); }
void keep_own_thread() {
  ThreadState* own = fiber::core::tls_thread_state;
  while (threads.pop() != nullptr) {
  }
  if (own != nullptr) {
    threads.append(*own);
    own->thread_id = fiber::platform::thread_number();
  }
  fiber_debugger.threads = own;
  unlock_list();
}

}  // namespace

extern "C" {
// Marked `used`: linkers keep it though the program does not read it.
__attribute__((used)) constinit fiber::core::DebuggerRoot fiber_debugger{1, nullptr, 0, fields, {}};
}

namespace fiber::core {

void show_to_debuggers(ThreadState& thread) {
  static const bool done = (at_fork(lock_list, unlock_list, keep_own_thread), true);
  static_cast<void>(done);
  thread.thread_id = fiber::platform::thread_number();
  const std::lock_guard lock(list_mutex());
  fiber_debugger.saved_registers = saved_registers_size();
  threads.prepend(thread);
  fiber_debugger.threads = threads.first();
}

void hide_from_debuggers(ThreadState& thread) noexcept {
  const std::lock_guard lock(list_mutex());
  threads.remove(thread);
  fiber_debugger.threads = threads.first();
}

}  // namespace fiber::core
