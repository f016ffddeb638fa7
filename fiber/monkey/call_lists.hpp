// Boost.Asio's lists of running calls, which it keeps per thread, and which belong to a task.
//
// io_context::run() and strands note in a list that they run: its head is a thread_local of the
// object that Asio is compiled into, and its nodes are on the stack, each linked to the one before.
// Calls of several tasks that return in another order than they began would leave nodes of dead
// frames in the list. Of each list, a task that waits takes its own nodes out, and puts them on top
// when it goes on. Heads are found by their names, in the symbol table of the file.
#pragma once

#include <array>
#include <cstddef>

namespace fiber::core {
struct Stack;
}

namespace fiber::monkey::detail {

// The most lists that are looked after: one object has up to three.
inline constexpr std::size_t kMostCallLists = 16;

// Takes the nodes that are on the running stack out of the lists, and puts them back at the end.
class TakenCalls {
 public:
  TakenCalls() noexcept;
  TakenCalls(const TakenCalls&) = delete;
  TakenCalls& operator=(const TakenCalls&) = delete;
  ~TakenCalls();

 private:
  struct Node;
  struct Part {
    Node** head;
    Node* first;
    Node* last;
  };
  std::array<Part, kMostCallLists> parts_;
  std::size_t count_ = 0;
};

// Returns the newest call of the running thread's lists that is on this stack; null if none is.
const void* newest_call_on(const core::Stack* stack) noexcept;

// Looks for lists in the objects that have been loaded since the last search. These objects stay
// loaded to the end of the process. Callers hold the lock of patches. Throws std::bad_alloc alone.
void find_call_lists();

}  // namespace fiber::monkey::detail
