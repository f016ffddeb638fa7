// What libraries keep for the thread that calls them, which to them is what a task is to us.
#pragma once

#include <span>

namespace fiber::monkey::detail {

struct Hook;

// While it lives, other tasks run: what the task has set for its thread is put away, and set again
// afterwards. The locale of uselocale(), OpenSSL's queue of errors, and GLib's stack of default
// contexts. Costs a few nanoseconds where none of them is used.
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

// Looks for the libraries that keep such state. Called whenever something is patched.
void find_state_of_libraries() noexcept;

std::span<const Hook> state_hooks() noexcept;  // uselocale

}  // namespace fiber::monkey::detail
