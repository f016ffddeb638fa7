#include <fiber/concurrent/futures.hpp>

#include <doctest/doctest.h>

#include <fiber/exceptions.hpp>

#include <chrono>
#include <latch>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "captured.hpp"

using namespace fiber::concurrent::futures;
using namespace std::chrono_literals;
using fiber::RuntimeError;
using fiber::ValueError;

namespace {

// Returns repr() without the address.
std::string shown(const FutureBase& future) {
  std::string text = repr(future);
  const auto at = text.find("0x");
  return text.replace(at, text.find(' ', at) - at, "ID");
}

Future<int> finished(int value) {
  Future<int> future;
  future.set_result(value);
  return future;
}

Future<int> failed() {
  Future<int> future;
  future.set_exception(ValueError("bad"));
  return future;
}

Future<int> cancelled() {
  Future<int> future;
  future.cancel();
  future.set_running_or_notify_cancel();
  return future;
}

}  // namespace

TEST_CASE("a future goes from pending through running to finished") {
  const Future<int> future;
  CHECK(!future.running());
  CHECK(!future.done());
  CHECK(shown(future) == "<Future at ID state=pending>");

  CHECK(future.set_running_or_notify_cancel());
  CHECK(future.running());
  CHECK(!future.done());
  CHECK(shown(future) == "<Future at ID state=running>");

  future.set_result(42);
  CHECK(!future.running());
  CHECK(future.done());
  CHECK(!future.cancelled());
  CHECK(future.result() == 42);
  CHECK(future.exception() == nullptr);
  CHECK(shown(future) == "<Future at ID state=finished returned int>");
}

TEST_CASE("a failed future raises its exception each time it is asked") {
  const Future<int> future = failed();
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_WITH_AS(static_cast<void>(future.result()), "bad", ValueError);
    CHECK(fiber::repr(future.exception()) == "ValueError('bad')");
  }
  CHECK(shown(future) == "<Future at ID state=finished raised ValueError>");
}

TEST_CASE("the type shown is Python's where Python has one") {
  const auto type_shown = [](auto value) {
    Future<decltype(value)> future;
    future.set_result(std::move(value));
    return shown(future).substr(std::string("<Future at ID state=finished returned ").size());
  };
  CHECK(type_shown(7L) == "int>");
  CHECK(type_shown(true) == "bool>");
  CHECK(type_shown(1.5F) == "float>");
  CHECK(type_shown(std::string("x")) == "str>");
  CHECK(type_shown(ValueError("x")) == "fiber::ValueError>");
  const Future<void> none;
  none.set_result();
  CHECK(shown(none) == "<Future at ID state=finished returned NoneType>");
}

TEST_CASE("only a pending future can be cancelled") {
  const Future<int> future;
  CHECK(future.cancel());
  CHECK(future.cancel());
  CHECK(future.cancelled());
  CHECK(future.done());
  CHECK(!future.running());
  CHECK(shown(future) == "<Future at ID state=cancelled>");
  CHECK_THROWS_AS(static_cast<void>(future.result()), CancelledError);
  CHECK_THROWS_AS(static_cast<void>(future.exception()), CancelledError);
  CHECK(!future.set_running_or_notify_cancel());
  CHECK(shown(future) == "<Future at ID state=cancelled>");

  const Future<int> running;
  running.set_running_or_notify_cancel();
  CHECK(!running.cancel());
  CHECK(!finished(1).cancel());
}

TEST_CASE("a future ends once") {
  const Future<int> future = finished(1);
  try {
    future.set_result(2);
    FAIL("accepted");
  } catch (const InvalidStateError& e) {
    CHECK(e.what() == "FINISHED: " + repr(future));
  }
  CHECK_THROWS_AS(future.set_exception(ValueError()), InvalidStateError);
  CHECK_THROWS_AS(cancelled().set_result(2), InvalidStateError);
  CHECK_THROWS_WITH_AS(future.set_running_or_notify_cancel(), "Future in unexpected state",
                       RuntimeError);
  CHECK(future.result() == 1);
}

TEST_CASE("waiting for a result has a limit, if wanted") {
  const Future<int> future;
  CHECK_THROWS_AS(static_cast<void>(future.result(0s)), TimeoutError);
  CHECK_THROWS_AS(static_cast<void>(future.result(-1h)), TimeoutError);
  CHECK_THROWS_AS(static_cast<void>(future.exception(0.001s)), TimeoutError);
  future.set_result(3);
  CHECK(future.result(0s) == 3);
  CHECK(future.result(std::chrono::hours::max()) == 3);
}

TEST_CASE("a result set in one thread wakes the waiting one") {
  const Future<std::string> future;
  std::thread setter([future] { future.set_result("there"); });
  CHECK(future.result() == "there");
  setter.join();
}

TEST_CASE("cancelling wakes the waiting thread") {
  const Future<void> future;
  std::thread canceller([future] { future.cancel(); });
  CHECK_THROWS_AS(future.result(), CancelledError);
  canceller.join();
}

TEST_CASE("handles are the same future or they are not") {
  const Future<int> a;
  const Future<int> same = a;
  const Future<int> other;
  CHECK(a == same);
  CHECK(a != other);
  const std::unordered_set<Future<int>> set{a, same, other};
  CHECK(set.size() == 2);
}

TEST_CASE("a move-only result can be looked at, and taken once") {
  const Future<std::unique_ptr<int>> future;
  future.set_result(std::make_unique<int>(5));
  CHECK(*future.result() == 5);
  const std::unique_ptr<int> taken = future.take_result();
  CHECK(*taken == 5);
  CHECK_THROWS_AS(static_cast<void>(future.result()), InvalidStateError);

  Future<std::unique_ptr<int>> temporary;
  temporary.set_result(std::make_unique<int>(6));
  CHECK(*std::move(temporary).result() == 6);
}

TEST_CASE("the result of a temporary handle is moved only when nobody else has a handle") {
  Future<std::shared_ptr<int>> shared;
  shared.set_result(std::make_shared<int>(1));
  {
    Future<std::shared_ptr<int>> again = shared;
    const auto copy = std::move(again).result();
    CHECK(shared.result() == copy);
  }
  Future<std::shared_ptr<int>> only = std::move(shared);
  const auto moved = std::move(only).result();
  CHECK(moved.use_count() == 1);
}

TEST_CASE("callbacks run in the order added, in the thread that finishes") {
  std::vector<std::string> log;
  const Future<int> future;
  std::thread::id ran_in;
  future.add_done_callback([&](Future<int> done) {
    CHECK(done == future);
    ran_in = std::this_thread::get_id();
    log.push_back("first " + std::to_string(done.result()));
  });
  future.add_done_callback(
      [&, only = std::make_unique<int>(2)] { log.push_back("second " + std::to_string(*only)); });
  std::thread::id setter_id;
  std::thread setter([&] {
    setter_id = std::this_thread::get_id();
    future.set_result(1);
    log.push_back("set");
  });
  setter.join();
  CHECK(ran_in == setter_id);
  future.add_done_callback([&] { log.push_back("at once"); });
  log.push_back("end");
  CHECK(log == std::vector<std::string>{"first 1", "second 2", "set", "at once", "end"});
}

TEST_CASE("callbacks run when a future is cancelled") {
  std::vector<bool> seen;
  const Future<int> future;
  future.add_done_callback([&](const Future<int>& done) { seen.push_back(done.cancelled()); });
  future.cancel();
  future.cancel();
  CHECK(seen == std::vector{true});
}

TEST_CASE("what a callback throws is reported and dropped, and the others run") {
  Captured errors(2);
  bool reached = false;
  const Future<int> future;
  future.add_done_callback([] { throw ValueError("in callback"); });
  future.add_done_callback([&] { reached = true; });
  future.set_result(1);
  future.add_done_callback([] { throw RuntimeError(); });
  const std::string line = "exception calling callback for " + repr(future) + "\n";
  CHECK(errors.text() == line + "ValueError: in callback\n" + line + "RuntimeError\n");
  CHECK(reached);
}

TEST_CASE("a callback may throw what ordinary code must not swallow") {
  const Future<int> future;
  future.add_done_callback([] { throw fiber::KeyboardInterrupt(); });
  CHECK_THROWS_AS(future.set_result(1), fiber::KeyboardInterrupt);
  CHECK(future.result() == 1);
}

TEST_CASE("a callback may drop the last handle") {
  auto future = std::make_unique<Future<int>>();
  bool called = false;
  future->add_done_callback([&] {
    future.reset();
    called = true;
  });
  future->set_result(1);
  CHECK(called);
}

TEST_CASE("wait returns at once for futures that are done") {
  const auto a = finished(1);
  const auto b = failed();
  const auto c = cancelled();
  const auto [done, not_done] = wait({a, b, a, c});
  CHECK(done == std::vector{a, b, c});
  CHECK(not_done.empty());
  CHECK(wait(std::vector<Future<int>>{}).done.empty());
}

TEST_CASE("wait reports what is not done in time") {
  const Future<int> open;
  const auto a = finished(1);
  const auto [done, not_done] = wait({open, a}, {.timeout = 0s});
  CHECK(done == std::vector{a});
  CHECK(not_done == std::vector{open});
}

TEST_CASE("wait returns at the first future to end") {
  const std::vector<Future<int>> futures(3);
  CHECK(wait(futures, {.timeout = 0s, .return_when = FIRST_COMPLETED}).done.empty());
  std::vector<Future<int>> different{Future<int>(), Future<int>()};
  std::thread setter([&] { different[1].set_result(1); });
  const auto [done, not_done] = wait(different, {.return_when = FIRST_COMPLETED});
  setter.join();
  CHECK(done == std::vector{different[1]});
  CHECK(not_done == std::vector{different[0]});
}

TEST_CASE("wait returns at the first exception, but not at a result or a cancellation") {
  const Future<int> a;
  const Future<int> b;
  const Future<int> c;
  a.set_result(1);
  b.cancel();
  b.set_running_or_notify_cancel();
  CHECK(wait({a, b, c}, {.timeout = 0s, .return_when = FIRST_EXCEPTION}).done.size() == 2);
  const Future<int> open;
  std::thread setter([&] { c.set_exception(ValueError()); });
  const auto [done, not_done] = wait({a, b, c, open}, {.return_when = FIRST_EXCEPTION});
  setter.join();
  CHECK(done == std::vector{a, b, c});
  CHECK(not_done == std::vector{open});
}

TEST_CASE("wait for all returns when the last one has ended") {
  const std::vector<Future<int>> futures{Future<int>(), Future<int>(), Future<int>()};
  std::thread setter([&] {
    futures[2].set_result(1);
    futures[0].set_exception(ValueError());
    futures[1].cancel();
    futures[1].set_running_or_notify_cancel();
  });
  CHECK(wait(futures).done == futures);
  setter.join();
}

TEST_CASE("futures of different types can be waited for together") {
  const auto a = finished(1);
  const Future<std::string> b;
  b.set_result("x");
  const Future<void> c;
  const auto [done, not_done] = wait(std::vector<FutureBase>{a, b, c}, {.timeout = 0s});
  CHECK(done == std::vector<FutureBase>{a, b});
  CHECK(not_done == std::vector<FutureBase>{c});
}

TEST_CASE("as_completed yields the done ones, then the others as they end, each once") {
  const Future<int> late;
  const Future<int> early;
  const auto ready = finished(1);
  std::latch first_seen(1);
  std::thread setter([&] {
    first_seen.wait();
    early.set_result(2);
    late.set_result(3);
  });
  std::vector<int> values;
  for (const Future<int>& future : as_completed({late, early, ready, late})) {
    if (values.empty()) first_seen.count_down();
    values.push_back(future.result());
  }
  setter.join();
  CHECK(values == std::vector{1, 2, 3});
}

TEST_CASE("as_completed says how many are unfinished when the time is up") {
  const std::vector<Future<int>> futures{Future<int>(), finished(1), Future<int>()};
  std::vector<int> values;
  const auto collect = [&] {
    for (const auto& future : as_completed(futures, {.timeout = 0s}))
      values.push_back(future.result());
  };
  CHECK_THROWS_WITH_AS(collect(), "2 (of 3) futures unfinished", TimeoutError);
  CHECK(values == std::vector{1});
}

TEST_CASE("as_completed may be left early") {
  const std::vector<Future<int>> futures{finished(1), Future<int>()};
  for (const auto& future : as_completed(futures)) {
    CHECK(future.result() == 1);
    break;
  }
  futures[1].set_result(2);
  CHECK(futures[1].result() == 2);
}

TEST_CASE("the errors of futures are std::exceptions") {
  CHECK_THROWS_AS(throw CancelledError(), Error);
  CHECK_THROWS_AS(throw InvalidStateError(), std::exception);
  CHECK(std::is_same_v<TimeoutError, fiber::TimeoutError>);
}

TEST_CASE("a future that was moved from says so, and may be compared and assigned to") {
  Future<int> future;
  Future<int> other = std::move(future);
  const std::string moved = "this Future was moved from";
  CHECK_THROWS_WITH_AS(future.done(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.cancel(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.cancelled(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.running(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.result(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.exception(), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.set_result(1), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.set_exception(ValueError("x")), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(future.add_done_callback([] {}), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(wait({future}), moved.c_str(), ValueError);
  CHECK_THROWS_WITH_AS(repr(future), moved.c_str(), ValueError);
  CHECK_FALSE(future == other);
  future = other;
  other.set_result(1);
  CHECK(future.result() == 1);
}

TEST_CASE("a timeout that is not a number is refused") {
  const Future<int> future;
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_WITH_AS(future.result(nan), "Invalid timeout: NaN (not a number)", ValueError);
  CHECK_THROWS_AS(future.result(std::chrono::duration<double>(-1e300)), fiber::TimeoutError);
  CHECK_THROWS_AS(future.result(std::chrono::hours::min()), fiber::TimeoutError);
}

TEST_CASE("as_completed refuses a future that was moved from") {
  std::vector<Future<int>> futures(2);
  futures[0].set_result(1);
  const Future<int> moved = std::move(futures[1]);
  CHECK_THROWS_WITH_AS(as_completed(futures), "this Future was moved from", ValueError);
  CHECK_THROWS_WITH_AS(wait(futures), "this Future was moved from", ValueError);
  moved.set_result(2);
  CHECK(moved.result() == 2);
}
