// For the tests of programs that use asyncio: time that passes in no time, tasks in random order,
// and a run that notices what was left behind. Python has IsolatedAsyncioTestCase, trio MockClock.
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

/// A clock that stands still while anything is ready to run, and otherwise jumps to the next
/// deadline. A counted reference. One clock may serve several loops of one thread.
///
/// A loop that watches descriptors looks at them before each jump and gives them some real time
/// (`patience`); a loop that waits for another thread, such as an executor's, does not jump
/// meanwhile.
class FIBER_API VirtualClock {
 public:
  explicit VirtualClock(nanoseconds start = {});

  /// From now on loop.time() is this clock's time. Timers that are set already keep their
  /// deadlines.
  void attach(const EventLoop& loop) const;
  nanoseconds time() const noexcept;
  /// Moves on while nothing else runs, as a slow computation does.
  void advance(nanoseconds by) const;
  /// Real time for descriptors before a jump; 10 ms unless set.
  void set_patience(nanoseconds patience) const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

/// From now on the loop runs what is ready in one iteration in random order (0: as it came), so
/// that a program that depends on the order by accident shows it. The same seed gives the same
/// orders.
FIBER_API void set_shuffle(const EventLoop& loop, std::uint64_t seed);

/// How many iterations the loop has begun.
FIBER_API std::uint64_t iterations(const EventLoop& loop);

/// What run_test throws when the test itself passed.
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
  /// What may be left behind.
  bool allow_tasks = false;
  bool allow_futures = false;
  bool allow_descriptors = false;
};

namespace detail {

struct Descriptor {
  std::string target;
  std::string number;
};

/// A loop of its own, and what must not be left in it.
class FIBER_API TestLoop {
 public:
  explicit TestLoop(RunTestOptions options);
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;
  ~TestLoop();

  const EventLoop& loop() const noexcept { return loop_; }
  /// The body has ended: ends the rest, and throws LeftBehind.
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
/// clock, and returns its result. Throws what it throws; LeftBehind, naming them, if tasks run on
/// when the body has ended, or futures are pending that someone still refers to, or descriptors are
/// open that were not before; RuntimeError if the body waits for what can never happen.
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
