// Tasks: the arguments of create_task, the awaitables, the lives of results.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/names.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

TEST_CASE("a task sets its result itself") {
  run([] {
    auto task = create_task([] { return 10; });
    CHECK(thrown_by([&] { task.set_result(1); }) ==
          "RuntimeError('Task does not support set_result operation')");
    CHECK(thrown_by([&] { task.set_exception(fiber::ValueError("x")); }) ==
          "RuntimeError('Task does not support set_exception operation')");
    CHECK(await(task) == 10);
    CHECK(thrown_by([&] { task.set_result(1); }) ==
          "RuntimeError('Task does not support set_result operation')");
  });
}

TEST_CASE("a task cannot await itself, nor its future through another handle") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      try {
        await(asyncio::Future<>(asyncio::current_task().get()));
      } catch (const fiber::RuntimeError& error) {
        trace(std::string(error.what()).substr(0, 27));
      }
    });
    await(task);
  });
  CHECK(trace.take() == "[3] Task cannot await on itself");
}

TEST_CASE("a future of another loop is an error in the task that awaits it, an iteration later") {
  Trace trace;
  const asyncio::EventLoop other = asyncio::new_event_loop();
  {
    const auto future = other.create_future();
    run([&] {
      auto task = create_task([&] {
        try {
          await(future);
        } catch (const fiber::RuntimeError& error) {
          trace(std::string(error.what()).find("attached to a different loop") !=
                std::string::npos);
        }
      });
      await(task);
      future.cancel();
      trace(future.cancelled());
    });
  }
  other.close();
  CHECK(trace.take() == "[3] True | [4] True");
  CHECK(other.object().futures_alive == 0);
}

TEST_CASE("all who await a task that fails get the same exception") {
  Trace trace;
  run([&] {
    auto bad = create_task([] {
      turns(1);
      throw fiber::ValueError("x");
    });
    std::vector<const void*> seen;
    const auto waiter = asyncio::async([&](int number) {
      try {
        await(bad);
      } catch (const fiber::ValueError& error) {
        seen.push_back(&error);
        trace(number, " ", caught());
      }
    });
    await(asyncio::gather(waiter(1), waiter(2)));
    CHECK(seen.at(0) == seen.at(1));
  });
  CHECK(trace.take() == "[4] 1 ValueError('x') | [4] 2 ValueError('x')");
}

TEST_CASE("a task knows that it runs; a callback runs in none") {
  Trace trace;
  run([&] {
    get_running_loop().call_soon(
        [&] { trace("in a callback ", static_cast<bool>(asyncio::current_task())); });
    turns(1);
    const auto body = [&] {
      const auto self = asyncio::current_task();
      turns(1);
      trace(self == asyncio::current_task(), " ", self.get_name());
      turns(1);
      trace(self == asyncio::current_task(), " ", self.get_name());
    };
    auto a = create_task(body, {.name = "a"});
    auto b = create_task(body, {.name = "b"});
    trace(asyncio::all_tasks().size(), asyncio::all_tasks()[1] == a);
    await(asyncio::wait(std::vector{a, b}));
    trace(asyncio::all_tasks().size());
  });
  CHECK(trace.take() ==
        "[2] in a callback False | [2] 3True | [4] True a | [4] True b | [5] True a | "
        "[5] True b | [7] 1");
  CHECK(thrown_by([] { asyncio::current_task(); }) == "RuntimeError('no running event loop')");
  CHECK(thrown_by([] { asyncio::all_tasks(); }) == "RuntimeError('no running event loop')");
  CHECK(thrown_by([] { static_cast<void>(create_task([] {})); }) ==
        "RuntimeError('no running event loop')");
}

TEST_CASE("ensure_future keeps futures and tasks, and makes tasks of the rest") {
  run([] {
    const auto future = get_running_loop().create_future<int>();
    CHECK(asyncio::ensure_future(future) == future);
    auto task = create_task([] { return 1; });
    CHECK(asyncio::ensure_future(task) == task);
    const auto coroutine = asyncio::async([](int n) { return n; });
    CHECK(await(asyncio::ensure_future(coroutine(2))) == 2);
    CHECK(await(asyncio::ensure_future([] { return 3; })) == 3);
    CHECK(await(asyncio::ensure_future(asyncio::sleep(1ms, 4))) == 4);
    future.set_result(5);
    await(task);
  });
}

TEST_CASE("a coroutine object runs once") {
  Trace trace;
  run([&] {
    const auto once = asyncio::async([&] { trace("runs"); })();
    await(once);
    trace(thrown_by([&] { await(once); }));
    trace(thrown_by([&] { static_cast<void>(create_task(once)); }));
  });
  CHECK(trace.take() ==
        "[1] runs | [1] RuntimeError('cannot reuse already awaited coroutine') | "
        "[1] RuntimeError('cannot reuse already awaited coroutine')");
}

TEST_CASE("a coroutine may return a future, which is not awaited by itself") {
  run([] {
    const auto make = asyncio::async([] {
      const auto future = get_running_loop().create_future<int>();
      future.set_result(3);
      return future;
    });
    CHECK(await(await(make())) == 3);
  });
}

TEST_CASE(
    "a closed loop takes no tasks; ensure_future closes the coroutine, create_task does not") {
  Log log;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.close();
  const auto coroutine = asyncio::async("unlucky", [] {});
  CHECK(thrown_by([&] { asyncio::ensure_future(coroutine(), loop); }) ==
        "RuntimeError('Event loop is closed')");
  CHECK(thrown_by([&] { loop.run_until_complete(coroutine()); }) ==
        "RuntimeError('Event loop is closed')");
  CHECK(without_drops(log.take()) ==
        "WARNING RuntimeWarning: coroutine 'unlucky' was never awaited");
  CHECK(thrown_by([&] { static_cast<void>(loop.create_task(coroutine())); }) ==
        "RuntimeError('Event loop is closed')");
  CHECK(without_drops(log.take()) ==
        "WARNING RuntimeWarning: coroutine 'unlucky' was never awaited");
}

TEST_CASE("the handle of a task that was dropped leaves the task running") {
  Trace trace;
  run([&] {
    static_cast<void>(create_task([&] {
      turns(2);
      trace("ran to its end");
    }));
    turns(4);
  });
  CHECK(trace.take() == "[4] ran to its end");
}

TEST_CASE("a task's captures are destroyed at its end, its result with its last handle") {
  struct Note {
    Trace* trace;
    std::string text;
    Note(Trace& its_trace, std::string its_text) : trace(&its_trace), text(std::move(its_text)) {}
    Note(Note&& from) noexcept : trace(std::exchange(from.trace, nullptr)), text(from.text) {}
    Note& operator=(Note&&) = delete;
    ~Note() {
      if (trace != nullptr) (*trace)(text);
    }
  };
  Trace trace;
  run([&] {
    auto task = create_task([captured = Note(trace, "captured goes"), &trace] {
      turns(1);
      return Note(trace, "result goes");
    });
    turns(3);
    trace("main drops it");
    task = {};
    trace("end");
  });
  CHECK(trace.take() == "[3] captured goes | [4] main drops it | [4] result goes | [4] end");
}

TEST_CASE("what tasks look like when printed") {
  run([] {
    const auto waits = asyncio::async("waits", [] { await(asyncio::sleep(10s)); });
    auto task = create_task(waits(), {.name = "N"});
    CHECK(task.repr() == "<Task pending name='N' coro=<waits() running>>");
    turns(1);
    CHECK(task.repr().starts_with(
        "<Task pending name='N' coro=<waits() running> wait_for=<Future pending cb=["));
    task.cancel();
    CHECK(task.repr().starts_with(
        "<Task cancelling name='N' coro=<waits() running> wait_for=<Future cancelled>"));
    turns(1);
    CHECK(task.repr() == "<Task cancelled name='N' coro=<waits() done>>");
    const auto fails = asyncio::async("fails", [] { throw fiber::LookupError("1"); });
    auto failed = create_task(fails(), {.name = "X"});
    turns(1);
    CHECK(failed.repr() ==
          "<Task finished name='X' coro=<fails() done> exception=LookupError('1')>");
    static_cast<void>(failed.exception());
  });
}

namespace {

template <std::size_t Alignment>
struct alignas(Alignment) CannotBeCopied {
  CannotBeCopied() = default;
  CannotBeCopied(const CannotBeCopied&) { throw fiber::ValueError("copy"); }
  void operator()() const {}
};

template <std::size_t Alignment>
struct alignas(Alignment) Aligned {
  std::byte bytes[Alignment];
};

}  // namespace

// LeakSanitizer checks that the memory is given back.
TEST_CASE("the text of a task in a long chain shows the first eight") {
  run([] {
    const auto count = [](const std::string& text, const std::string& part) {
      int found = 0;
      for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++found;
      return found;
    };
    std::vector<asyncio::Task<>> chain{create_task([] { await(asyncio::sleep(1h)); })};
    const auto grow = [&](std::size_t size) {
      while (chain.size() < size)
        chain.push_back(create_task([inner = chain.back()] { await(inner); }));
      await(asyncio::sleep(0));
      return chain.back().repr();
    };
    const std::string all = grow(8);
    CHECK(count(all, "<Task pending") == 8);
    CHECK(count(all, "...") == 0);
    const std::string first = grow(1000);
    CHECK(count(first, "<Task pending") == 8);
    CHECK(first.find(" wait_for=... ") != std::string::npos);
    chain.front().cancel();
    await(asyncio::wait(chain));
  });
}

TEST_CASE("a callable whose copy fails leaves nothing behind") {
  run([] {
    const CannotBeCopied<8> plain;
    CHECK(thrown_by([&] { static_cast<void>(create_task(plain)); }) == "ValueError('copy')");
    const CannotBeCopied<256> aligned;
    CHECK(thrown_by([&] { static_cast<void>(create_task(aligned)); }) == "ValueError('copy')");
  });
}

TEST_CASE("what a callable captures is aligned as it asks") {
  run([] {
    const auto misplaced = [](const auto& given) {
      return create_task([captured = given] {
        return reinterpret_cast<std::uintptr_t>(&captured) % sizeof(captured.bytes);
      });
    };
    CHECK(await(misplaced(Aligned<16>())) == 0);
    CHECK(await(misplaced(Aligned<64>())) == 0);
    CHECK(await(misplaced(Aligned<128>())) == 0);
    CHECK(await(misplaced(Aligned<4096>())) == 0);
  });
}

TEST_CASE(
    "the first awaiter of a cancelled task gets its CancelledError, later ones a CancelledError "
    "without a message") {
  run([] {
    const auto awaited = [](const auto& task) { return thrown_by([&] { await(task); }); };
    const auto started = create_task(asyncio::sleep(10s));
    turns(1);
    started.cancel("enough");
    CHECK(awaited(started) == "CancelledError('enough')");
    CHECK(awaited(started) == "CancelledError()");
    CHECK(thrown_by([&] { started.result(); }) == "CancelledError()");
    const auto not_started = create_task(asyncio::sleep(10s));
    not_started.cancel("at once");
    CHECK(awaited(not_started) == "CancelledError('at once')");
    CHECK(awaited(not_started) == "CancelledError()");
  });
}

TEST_CASE("a StopIteration that leaves a task is a RuntimeError, caused by it") {
  run([] {
    const auto task = create_task([] { throw fiber::StopIteration(); });
    CHECK(thrown_by([&] { await(task); }) == "RuntimeError('coroutine raised StopIteration')");
    const auto cause = [&] {
      try {
        std::rethrow_exception(task.exception());
      } catch (const std::exception& error) {
        std::rethrow_if_nested(error);
      }
    };
    CHECK(thrown_by(cause) == "StopIteration()");
    // A generator that waits for such a task fails; it has not come to its end.
    const fiber::Generator<int> generator = [&](auto& self) {
      self.yield(1);
      await(task);
      self.yield(2);
    };
    CHECK(generator.next() == 1);
    CHECK(thrown_by([&] { static_cast<void>(generator.next()); }) ==
          "RuntimeError('coroutine raised StopIteration')");
  });
}

TEST_CASE("tasks are numbered through the process; a name does not use a number up") {
  const auto number = [](const std::string& name) { return std::stoi(name.substr(5)); };
  int first = 0;
  run([&] {
    first = number(asyncio::current_task().get_name());
    auto named = asyncio::create_task([] {}, {.name = "x"});
    auto next = asyncio::create_task([] {});
    CHECK(named.get_name() == "x");
    CHECK(number(next.get_name()) == first + 1);
    named.set_name("y");
    CHECK(named.get_name() == "y");
  });
  // Counts main, and the two tasks that end a run.
  run([&] { CHECK(number(asyncio::current_task().get_name()) == first + 4); });
}
