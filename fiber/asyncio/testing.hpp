// For tests of programs that use asyncio: hours that pass at once, tasks in random order, and a
// run that notices leftovers. Python has IsolatedAsyncioTestCase, trio MockClock.
//
//   asyncio::testing::run_test([] {
//     auto task = asyncio::create_task(retry_for_an_hour());
//     await(asyncio::sleep(std::chrono::hours(1)));      // at once
//     assert(task.done());
//   });
#pragma once

#include <fiber/asyncio/runners.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio::testing {

/// A clock that stands still while an entry is ready to run, and otherwise jumps to the next
/// deadline. A counted reference, whose functions throw ValueError once it was moved from. One
/// clock may serve several loops of one thread.
///
/// A loop that watches descriptors looks at them before each jump and gives them some real time
/// (`patience`); a loop that waits for another thread, such as an executor's, does not jump
/// meanwhile.
class FIBER_API VirtualClock {
 public:
  explicit VirtualClock(nanoseconds start = {});
  template <asyncio::detail::any_duration D>
  explicit VirtualClock(D start) : VirtualClock(asyncio::detail::in_ns(start)) {}

  /// Makes loop.time() this clock's time. Timers that are set already keep their deadlines.
  void attach(const EventLoop& loop) const;
  nanoseconds time() const;  ///< of the loop's clock
  /// Moves the time on while no other code runs, as a slow computation does; at most to the end of
  /// the clock, in 292 years.
  void advance(nanoseconds by) const;
  void advance(asyncio::detail::any_duration auto by) const { advance(asyncio::detail::in_ns(by)); }
  /// Sets the real time for descriptors before a jump; 10 ms unless set.
  void set_patience(nanoseconds patience) const;
  void set_patience(asyncio::detail::any_duration auto patience) const {
    set_patience(asyncio::detail::in_ns(patience));
  }

 private:
  class State;
  const std::shared_ptr<State>& state() const;
  std::shared_ptr<State> state_;
};

/// Makes the loop run the ready entries of an iteration in random order (0: in their own order), so
/// that a program that depends on the order by accident shows it. Equal seeds give equal orders.
FIBER_API void set_shuffle(const EventLoop& loop, std::uint64_t seed);

/// Returns the number of iterations that the loop has begun.
FIBER_API std::uint64_t iterations(const EventLoop& loop);

/// Thrown by run_test when the test itself passed, but left something behind.
class FIBER_API LeftBehind : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~LeftBehind() override;
};

/// Keyword arguments of run_test.
struct RunTestOptions {
  bool virtual_clock = true;  ///< false: real time passes
  std::uint64_t shuffle = 0;  ///< a seed for set_shuffle
  bool debug = false;         ///< see EventLoop::set_debug
  /// The kinds of leftovers that are allowed.
  bool allow_tasks = false;
  bool allow_futures = false;      ///< true: futures may be left pending
  bool allow_descriptors = false;  ///< true: descriptors may be left open
};

namespace detail {

struct Descriptor {
  std::string target;
  std::string number;
};

/// A loop of its own, which checks for leftovers.
class FIBER_API TestLoop {
 public:
  explicit TestLoop(RunTestOptions options);
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;
  ~TestLoop();

  const EventLoop& loop() const noexcept { return loop_; }
  /// Ends the loop after the body, and throws LeftBehind.
  void finish();

 private:
  std::string left_behind() const;

  RunTestOptions options_;
  EventLoop loop_;
  VirtualClock clock_;
  std::vector<Descriptor> descriptors_;  ///< before the test
};

}  // namespace detail

/// Runs `body` (a coroutine object, an awaitable or a callable) in a loop of its own, on a virtual
/// clock, and returns its result. Throws its exception; LeftBehind, naming them, if tasks run on
/// when the body has ended, or futures with references are pending, or descriptors are open that
/// were not before; RuntimeError if the body waits for an event that can never happen.
template <class A>
auto run_test(A&& body, RunTestOptions options = {}) {
  detail::TestLoop test(options);
  const auto run = [&] { return test.loop().run_until_complete(std::forward<A>(body)); };
  if constexpr (std::is_void_v<decltype(run())>) {
    run();
    test.finish();
  } else {
    auto result = run();
    test.finish();
    return result;
  }
}

}  // namespace fiber::asyncio::testing
