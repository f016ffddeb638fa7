// Futures: their states, and their callbacks.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

Trace* tracing = nullptr;
void plain() { (*tracing)("plain"); }
void other() { (*tracing)("other"); }

template <class F>
std::string result_of(const F& future) {
  return thrown_by([&] { future.result(); });
}
template <class F>
std::string exception_of(const F& future) {
  return thrown_by([&] { static_cast<void>(future.exception()); });
}

}  // namespace

TEST_CASE("a future is done once, by a result, an exception or a cancellation") {
  run([] {
    const auto loop = get_running_loop();
    const auto future = loop.create_future<int>();
    const auto set_again = [](const auto& f) { return thrown_by([&] { f.set_result(6); }); };
    const auto fail_again = [](const auto& f) {
      return thrown_by([&] { f.set_exception(fiber::ValueError("again")); });
    };
    CHECK_FALSE(future.done());
    CHECK_FALSE(future.cancelled());
    CHECK(future.get_loop() == loop);
    CHECK(result_of(future) == "InvalidStateError('Result is not set.')");
    CHECK(exception_of(future) == "InvalidStateError('Exception is not set.')");

    future.set_result(5);
    CHECK(future.done());
    CHECK(future.result() == 5);
    CHECK(future.exception() == nullptr);
    CHECK_FALSE(future.cancel());
    CHECK(set_again(future) == "InvalidStateError('invalid state')");
    CHECK(fail_again(future) == "InvalidStateError('invalid state')");
    CHECK(future.result() == 5);

    const auto cancelled = loop.create_future<int>();
    CHECK(cancelled.cancel("m"));
    CHECK(cancelled.cancelled());
    CHECK(cancelled.done());
    CHECK_FALSE(cancelled.cancel());
    CHECK(result_of(cancelled) == "CancelledError('m')");
    CHECK(exception_of(cancelled) == "CancelledError('m')");
    CHECK(set_again(cancelled) == "InvalidStateError('invalid state')");

    const auto failed = loop.create_future<int>();
    failed.set_exception(fiber::ValueError("x"));
    CHECK(failed.done());
    CHECK_FALSE(failed.cancelled());
    CHECK(result_of(failed) == "ValueError('x')");
    CHECK(fiber::repr(failed.exception()) == "ValueError('x')");
    CHECK(result_of(failed) == "ValueError('x')");
  });
}

TEST_CASE("an exception pointer that is null is refused, and the future stays pending") {
  run([] {
    const auto future = get_running_loop().create_future();
    CHECK(thrown_by([&] { future.set_exception(std::exception_ptr()); }) ==
          "TypeError('set_exception was given a null exception pointer')");
    CHECK_FALSE(future.done());
    future.set_result();
    const asyncio::Future<> null;
    CHECK(thrown_by([&] { static_cast<void>(null.done()); }).starts_with("ValueError("));
  });
}

TEST_CASE("a StopIteration for a future is a RuntimeError, caused by it") {
  run([] {
    const auto future = get_running_loop().create_future<int>();
    future.set_exception(fiber::StopIteration());
    CHECK(result_of(future) ==
          "RuntimeError('StopIteration interacts badly with generators and cannot be raised into a "
          "Future')");
    const auto cause = [&] {
      try {
        std::rethrow_exception(future.exception());
      } catch (const std::exception& error) {
        std::rethrow_if_nested(error);
      }
    };
    CHECK(thrown_by(cause) == "StopIteration()");
  });
}

TEST_CASE("removing a callback removes all that are equal, and none once the future is done") {
  Trace trace;
  tracing = &trace;
  run([&] {
    const auto future = get_running_loop().create_future<int>();
    future.add_done_callback(plain);
    future.add_done_callback(other);
    future.add_done_callback(plain);
    const std::size_t removed = future.remove_done_callback(plain);
    trace("removed ", removed, " ", future.remove_done_callback(plain));
    future.set_result(1);
    trace("after done ", future.remove_done_callback(other));
    turns(1);
  });
  CHECK(trace.take() == "[1] removed 2 0 | [1] after done 0 | [2] other");
}

TEST_CASE("a handle removes the one callback that it came with") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future<int>();
    const auto callback = [&](std::string text) { return [&trace, text] { trace(text); }; };
    const asyncio::Handle first = future.add_done_callback(callback("first"));
    future.add_done_callback(callback("second"));
    const asyncio::Handle third = future.add_done_callback(callback("third"));
    const std::size_t removed = future.remove_done_callback(first);
    trace(removed, future.remove_done_callback(first));
    future.set_result(1);
    third.cancel();  // queued, but not called yet
    turns(1);
  });
  CHECK(trace.take() == "[1] 10 | [2] second");
}

TEST_CASE("callbacks may add and remove callbacks while they run") {
  Trace trace;
  tracing = &trace;
  run([&] {
    const auto future = get_running_loop().create_future<int>();
    future.add_done_callback([&] {
      trace("a");
      future.add_done_callback([&] { trace("late"); });
      trace("removed ", future.remove_done_callback(plain));
    });
    future.add_done_callback(plain);
    future.set_result(1);
    turns(3);
  });
  CHECK(trace.take() == "[2] a | [2] removed 0 | [2] plain | [3] late");
}

TEST_CASE("a callback that is equal by its own comparison can be removed by an equal one") {
  struct Note {
    Trace* trace;
    int number;
    void operator()() const { (*trace)(number); }
    bool operator==(const Note&) const = default;
  };
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future();
    for (int number : {1, 2, 3, 2}) future.add_done_callback(Note{&trace, number});
    trace("removed ", future.remove_done_callback(Note{&trace, 2}));
    future.set_result();
    turns(1);
  });
  CHECK(trace.take() == "[1] removed 2 | [2] 1 | [2] 3");
}

TEST_CASE("callbacks run for every way to end, with the future itself") {
  Trace trace;
  run([&] {
    const auto watched = [&] {
      const auto future = get_running_loop().create_future<int>();
      future.add_done_callback([&trace, future](const asyncio::Future<int>& done) {
        trace(done == future, " ", done.repr());
      });
      return future;
    };
    watched().set_result(1);
    const auto failed = watched();
    failed.set_exception(fiber::ValueError("x"));
    static_cast<void>(failed.exception());
    watched().cancel();
    trace("set");
    turns(1);
  });
  CHECK(
      trace.take() ==
      "[1] set | [2] True <Future finished> | [2] True <Future finished exception=ValueError('x')> "
      "| [2] True <Future cancelled>");
}

TEST_CASE("a result that is a reference passes through all functions that hand results on") {
  int number = 0;
  const auto refer = [&]() -> int& {
    turns(1);
    return number;
  };
  int& ran = run([&]() -> int& {
    CHECK(&await(create_task(refer)) == &number);
    CHECK(&await(asyncio::wait_for(refer, 1s)) == &number);
    CHECK(&await(asyncio::shield(refer)) == &number);
    CHECK(&asyncio::with(asyncio::timeout(1s), [&](auto&) -> int& { return refer(); }) == &number);
    for (auto next : asyncio::as_completed(std::vector{create_task(refer)}))
      CHECK(&await(next) == &number);
    return refer();
  });
  CHECK(&ran == &number);
}

TEST_CASE("results may be void, references, and of types that only move") {
  run([] {
    const auto loop = get_running_loop();
    const auto nothing = loop.create_future();
    nothing.set_result();
    await(nothing);

    int number = 1;
    const auto reference = loop.create_future<int&>();
    reference.set_result(number);
    await(reference) = 2;
    CHECK(number == 2);

    auto unique = loop.create_future<std::unique_ptr<int>>();
    unique.set_result(std::make_unique<int>(3));
    CHECK(*unique.result() == 3);
    const std::unique_ptr<int> taken = await(std::move(unique));
    CHECK(*taken == 3);
  });
}

TEST_CASE("objects in callbacks and results end with the future, or with the callback's call") {
  int alive = 0;
  run([&] {
    {
      const auto future = get_running_loop().create_future<std::shared_ptr<Counted>>();
      future.add_done_callback([held = Counted(&alive)] { static_cast<void>(held); });
      CHECK(alive == 1);
      future.set_result(std::make_shared<Counted>(&alive));
      CHECK(alive == 2);
      turns(1);
      CHECK(alive == 1);
    }
    CHECK(alive == 0);
    {
      const auto pending = get_running_loop().create_future();
      pending.add_done_callback([held = Counted(&alive)] { static_cast<void>(held); });
    }
    CHECK(alive == 0);
  });
}

TEST_CASE("what futures look like when printed") {
  run([] {
    const auto future = get_running_loop().create_future<int>();
    std::ostringstream text;
    text << future;
    CHECK(text.str() == "<Future pending>");
    future.cancel();
    CHECK(future.repr() == "<Future cancelled>");
  });
}
