// State that libraries keep per thread, and that should belong to a task.
#pragma once

#include <fiber/monkey/call_lists.hpp>

#include <optional>
#include <span>

namespace fiber::monkey::detail {

struct Hook;

// Saves the state that the task has set for its thread, and restores it at the end; other tasks run
// in between. This state is the locale of uselocale(), OpenSSL's queue of errors, GLib's stack of
// default contexts, and Asio's lists of running calls. Costs a few nanoseconds if none of them is
// in use.
class StateOfThread {
 public:
  StateOfThread() noexcept;
  StateOfThread(const StateOfThread&) = delete;
  StateOfThread& operator=(const StateOfThread&) = delete;
  ~StateOfThread();

 private:
  struct Saved;
  std::optional<TakenCalls> calls_;
  Saved* saved_ = nullptr;
  void* locale_ = nullptr;
};

// Looks for the libraries that keep state of this kind. Called by each patch.
void find_state_of_libraries() noexcept;

std::span<const Hook> state_hooks() noexcept;  // uselocale

}  // namespace fiber::monkey::detail
