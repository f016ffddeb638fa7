// Objects that are used twice or after they were moved from, and functions of the user's that fail.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/emulator.hpp"
#include "support/vectors.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using namespace std::chrono_literals;

namespace {

const std::string kReused = "RuntimeError('cannot reuse already awaited coroutine')";
const std::string kLong = "a text that is too long for a small string's own memory";

template <class F>
std::string thrown(F f) {
  try {
    f();
  } catch (...) {
    return fiber::repr(std::current_exception());
  }
  return "";
}

struct Choosy {
  int value;
  bool operator<(const Choosy& other) const {
    if (value == 13 || other.value == 13) throw fiber::TypeError("13");
    return value < other.value;
  }
};

struct Speechless : std::exception {
  const char* what() const noexcept override { return nullptr; }
};

}  // namespace

TEST_CASE("an awaitable is awaited once, and not after it was moved from") {
  asyncio::run([] {
    asyncio::Queue<std::string> queue;
    auto put = queue.put(kLong);
    await(std::move(put));
    CHECK(thrown([&] { await(std::move(put)); }) == kReused);
    CHECK(queue.qsize() == 1);
    auto get = queue.get();
    auto taken = std::move(get);
    CHECK(thrown([&] { await(std::move(get)); }) == kReused);
    CHECK(await(std::move(taken)) == kLong);
    auto sleep = asyncio::sleep(0ms, kLong);
    CHECK(await(std::move(sleep)) == kLong);
    CHECK(thrown([&] { await(std::move(sleep)); }) == kReused);
    const asyncio::Lock lock;
    auto acquire = lock.acquire();
    auto moved = std::move(acquire);
    CHECK(thrown([&] { await(std::move(acquire)); }) == kReused);
    CHECK(await(std::move(moved)));
  });
}

TEST_CASE("streams, processes and clocks that were moved from say so") {
  asyncio::run([] {
    const std::string no_reader = "ValueError('this StreamReader was moved from')";
    const std::string no_writer = "ValueError('this StreamWriter was moved from')";
    const std::string no_process = "ValueError('this Process was moved from')";
    const auto process = await(asyncio::create_subprocess_exec(
        {"cat"}, {.stdin_ = asyncio::subprocess::PIPE, .stdout_ = asyncio::subprocess::PIPE}));
    asyncio::Process from = process;
    const asyncio::Process to = std::move(from);
    CHECK(thrown([&] { static_cast<void>(from.pid()); }) == no_process);
    CHECK(thrown([&] { static_cast<void>(from.stdin_()); }) == no_process);
    CHECK(thrown([&] { from.kill(); }) == no_process);
    CHECK(thrown([&] { await(from.wait()); }) == no_process);
    CHECK(thrown([&] { await(from.communicate()); }) == no_process);
    from = to;
    asyncio::StreamWriter writer = *from.stdin_();
    const asyncio::StreamWriter other_writer = std::move(writer);
    CHECK(thrown([&] { writer.write("x"); }) == no_writer);
    CHECK(thrown([&] { await(writer.drain()); }) == no_writer);
    CHECK(thrown([&] { writer.close(); }) == no_writer);
    CHECK(thrown([&] { static_cast<void>(writer.fileno()); }) == no_writer);
    CHECK(thrown([&] { static_cast<void>(writer.transport()); }) == no_writer);
    CHECK(writer != other_writer);
    other_writer.write("text");
    other_writer.close();
    asyncio::StreamReader reader = *to.stdout_();
    asyncio::StreamReader other_reader = std::move(reader);
    CHECK(thrown([&] { await(reader.read()); }) == no_reader);
    CHECK(thrown([&] { static_cast<void>(reader.at_eof()); }) == no_reader);
    CHECK(thrown([&] { reader.feed_data("x"); }) == no_reader);
    CHECK(thrown([&] {
            for (const std::string& line : reader) FAIL(line);
          }) == no_reader);
    reader = std::move(other_reader);
    CHECK(await(reader.read()) == "text");
    CHECK(await(to.wait()) == 0);
  });
  asyncio::testing::VirtualClock clock(1s);
  const asyncio::testing::VirtualClock moved = std::move(clock);
  CHECK(thrown([&] { static_cast<void>(clock.time()); }) ==
        "ValueError('this VirtualClock was moved from')");
  CHECK(moved.time() == 1s);
}

TEST_CASE("a task is made in a loop by the thread that runs it") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const std::string refusal = await(asyncio::to_thread([loop] {
      return thrown([&] { static_cast<void>(loop.create_task([] { FAIL("it has run"); })); });
    }));
    CHECK(refusal.find("Non-thread-safe operation") != std::string::npos);
    await(asyncio::sleep(0));
    CHECK(asyncio::all_tasks().size() == 1);
  });
}

TEST_CASE("descriptors are watched, and servers made, by the thread that runs the loop") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const std::string refusals = await(asyncio::to_thread([loop] {
      const auto make = [] { return std::make_shared<asyncio::Protocol>(); };
      std::string texts;
      const auto refused = [&](auto f) { texts += thrown(f).substr(0, 40) + "\n"; };
      refused([&] { loop.add_reader(0, [] {}); });
      refused([&] { loop.add_writer(0, [] {}); });
      refused([&] { loop.remove_reader(0); });
      refused([&] { loop.remove_writer(0); });
      refused([&] { await(loop.create_server(make, "127.0.0.1", 0)); });
      refused([&] { await(loop.create_unix_server(make, "/nonexistent/socket")); });
      return texts;
    }));
    std::string all;
    for (int i = 0; i < 6; ++i) all += "RuntimeError('Non-thread-safe operation \n";
    CHECK(refusals == all);
  });
}

TEST_CASE("as_completed that was moved from is the same range still") {
  asyncio::run([] {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(asyncio::create_task([i] { return i; }));
    auto range = asyncio::as_completed(tasks);
    const auto other = std::move(range);
    std::vector<int> seen;
    for (auto next : range) seen.push_back(await(next));
    CHECK(seen == std::vector<int>{0, 1, 2});
    CHECK(other.begin() == other.end());
  });
}

TEST_CASE("iterators that were moved from go on where they were") {
  asyncio::run([] {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(asyncio::create_task([i] { return i; }));
    const auto range = asyncio::as_completed(tasks);
    auto at = range.begin();
    const auto moved = std::move(at);
    CHECK(await(*at) == 0);
    CHECK(await(*++at) == 1);
    CHECK(moved != range.end());
    auto finished = range.async_().begin();
    const auto other = std::move(finished);
    CHECK(finished->result() == 2);
    CHECK((*++finished).result() == 3);
    CHECK(++finished == std::default_sentinel);
    CHECK(other->result() == 2);
  });
}

TEST_CASE("a comparison that throws leaves a priority queue as it was") {
  asyncio::PriorityQueue<Choosy> queue;
  for (const int value : {5, 1, 4}) queue.put_nowait({value});
  CHECK(thrown([&] { queue.put_nowait({13}); }) == "TypeError('13')");
  CHECK(queue.qsize() == 3);
  std::vector<int> got;
  while (!queue.empty()) got.push_back(queue.get_nowait().value);
  CHECK(got == std::vector<int>{1, 4, 5});
  for (int i = 0; i < 3; ++i) queue.task_done();
  CHECK(thrown([&] { queue.task_done(); }) == "ValueError('task_done() called too many times')");
}

TEST_CASE("texts in reports are quoted as Python does") {
  asyncio::Queue<std::string> queue;
  queue.put_nowait("it's");
  queue.put_nowait("'\"\\");
  queue.put_nowait("\n\x1b[m");
  CHECK(queue.str() == R"(<Queue maxsize=0 _queue=["it's", '\'"\\', '\n\x1b[m'] tasks=3>)");
  asyncio::Queue<const char*> pointers;
  pointers.put_nowait(nullptr);
  CHECK(pointers.str() == "<Queue maxsize=0 _queue=[None] tasks=1>");
}

TEST_CASE("an exception without a text has an empty one") {
  const std::exception_ptr error = std::make_exception_ptr(Speechless());
  CHECK(fiber::str(error).empty());
  CHECK(fiber::repr(error) == "Speechless()");
  CHECK(fiber::ExceptionGroup("all", {error}).what() ==
        std::string("all (1 sub-exception): Speechless"));
}

TEST_CASE("a time of 64 unsigned bits does not lie in the past") {
  using Unsigned = std::chrono::duration<std::uint64_t, std::nano>;
  asyncio::run([] {
    const auto task = asyncio::create_task([] { await(asyncio::sleep(Unsigned::max())); });
    for (int i = 0; i < 3; ++i) await(asyncio::sleep(0));
    CHECK_FALSE(task.done());
    task.cancel();
  });
}

TEST_CASE("a program is looked for in the PATH that it gets") {
  if (support::lacks_shared_memory_of_vfork()) return;
  asyncio::run([] {
    const auto run = [](const std::string& path) {
      return await(await(asyncio::create_subprocess_exec({"sh", "-c", "exit 3"},
                                                         {.env = {{{"PATH", path}}}}))
                       .wait());
    };
    CHECK(run("/nowhere:/bin:/usr/bin") == 3);
    CHECK(thrown([&] { run("/nowhere"); }).starts_with("FileNotFoundError"));
  });
}

TEST_CASE("a coroutine for whose sending memory is short fails with that, and never runs") {
  if (!support::allocations_are_counted()) return;
  std::set<std::string> errors;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([](const auto&, const asyncio::ExceptionContext&) {});
    bool ran = false;
    for (long enough = 0; !ran; ++enough) {
      const auto body = [&ran] {
        await(asyncio::sleep(0));
        ran = true;
      };
      const auto future = asyncio::run_coroutine_threadsafe(body, loop);
      {
        const support::Scarce scarce(enough);
        await(asyncio::sleep(0));
      }
      for (int turn = 0; turn < 4; ++turn) await(asyncio::sleep(0));
      REQUIRE(future.done());
      const std::string error = thrown([&] { future.result(); });
      CHECK(error.empty() == ran);
      if (!ran) errors.insert(error);
    }
  });
  CHECK(errors == std::set<std::string>{thrown([] { throw std::bad_alloc(); })});
}
