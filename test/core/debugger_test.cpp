// The list of threads that debuggers read; test/gdb tests gdb's use of it.
#include <fiber/core/debugger.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/platform/thread.hpp>

#include <doctest/doctest.h>

#include <latch>
#include <thread>
#include <vector>

#include "support/child_process.hpp"
#include "support/emulator.hpp"

using fiber::core::thread_state;
using fiber::core::ThreadState;
using fiber::platform::thread_number;

namespace {

std::vector<long> thread_ids() {
  std::vector<long> ids;
  for (const ThreadState* at = fiber_debugger.threads; at != nullptr; at = at->links.next)
    ids.push_back(at->thread_id);
  return ids;
}

}  // namespace

TEST_CASE("threads are listed, newest first, while they have fibers") {
  thread_state();
  const std::vector<long> alone = thread_ids();
  CHECK(alone == std::vector<long>{thread_number()});
  for (const bool newest_ends_first : {true, false}) {
    std::latch first_there(1), second_there(1), first_ends(1), second_ends(1);
    long first_id = 0, second_id = 0;
    std::thread first([&] {
      thread_state();
      first_id = thread_number();
      first_there.count_down();
      first_ends.wait();
    });
    first_there.wait();
    std::thread second([&] {
      thread_state();
      second_id = thread_number();
      second_there.count_down();
      second_ends.wait();
    });
    second_there.wait();
    CHECK(thread_ids() == std::vector<long>{second_id, first_id, thread_number()});
    if (newest_ends_first) {
      second_ends.count_down();
      second.join();
      CHECK(thread_ids() == std::vector<long>{first_id, thread_number()});
      first_ends.count_down();
      first.join();
    } else {
      first_ends.count_down();
      first.join();
      CHECK(thread_ids() == std::vector<long>{second_id, thread_number()});
      second_ends.count_down();
      second.join();
    }
    CHECK(thread_ids() == alone);
  }
}

TEST_CASE("a forked child lists the thread it has") {
  if (support::lacks_threads_in_forked_children()) return;
  thread_state();
  std::latch there(1), ends(1);
  std::thread other([&] {
    thread_state();
    there.count_down();
    ends.wait();
  });
  there.wait();
  const auto ended = support::run_forked([] {
    const bool own = thread_ids() == std::vector<long>{thread_number()};
    std::thread([] { thread_state(); }).join();
    std::puts(own && thread_ids().size() == 1 ? "alone" : "not alone");
  });
  CHECK(ended.out() == "alone\n");
  CHECK(thread_ids().size() == 2);
  ends.count_down();
  other.join();
}
