// State that libraries keep per thread, and that should belong to a task.
#pragma once

#include <span>

namespace fiber::monkey::detail {

struct Hook;

// Saves the state that the task has set for its thread, and restores it at the end; other tasks run
// in between. This state is the locale of uselocale(), OpenSSL's queue of errors, and GLib's stack
// of default contexts. Costs a few nanoseconds if none of them is in use.
class StateOfThread {
 public:
  StateOfThread() noexcept;
  StateOfThread(const StateOfThread&) = delete;
  StateOfThread& operator=(const StateOfThread&) = delete;
  ~StateOfThread();

 private:
  struct Saved;
  Saved* saved_ = nullptr;
  void* locale_ = nullptr;
};

// Looks for the libraries that keep state of this kind. Called by each patch.
void find_state_of_libraries() noexcept;

std::span<const Hook> state_hooks() noexcept;  // uselocale

}  // namespace fiber::monkey::detail
