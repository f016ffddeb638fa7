// Results of futures: types that cannot be copied, plain functions as awaitables, futures of
// several types; and loops that end with tasks that wait for each other.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <array>
#include <concepts>
#include <deque>
#include <future>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <ranges>
#include <span>
#include <stack>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/platform.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;

namespace {

using Pointer = std::unique_ptr<int>;
using Pointers = std::vector<Pointer>;

Pointer five() { return std::make_unique<int>(5); }
Pointers two() {
  Pointers all;
  all.push_back(five());
  all.push_back(five());
  return all;
}
int answer() { return 42; }
void nothing() {}

// Claims to be copyable, as a struct with a vector of pointers does.
struct Parcel {
  Pointers content;
};

const std::string kTaken =
    "InvalidStateError('The result was taken already: it cannot be copied, so that the first await "
    "moved it out.')";

}  // namespace

template <>
inline constexpr bool fiber::asyncio::copyable_result<Parcel> = false;

TEST_CASE("a result that can only be moved comes through everything that passes results on") {
  const Pointers ran = asyncio::run(two);
  CHECK(ran.size() == 2);
  asyncio::run([] {
    CHECK(await(create_task(two)).size() == 2);
    CHECK(await(asyncio::ensure_future(two)).size() == 2);
    CHECK(await(asyncio::shield(two)).size() == 2);
    CHECK(await(asyncio::wait_for(two, 1s)).size() == 2);
    CHECK(await(asyncio::wait_for(create_task(two), 1s)).size() == 2);
    CHECK(await(asyncio::to_thread(two)).size() == 2);
    CHECK(await(asyncio::get_running_loop().run_in_executor(nullptr, two)).size() == 2);
    const auto [a, b] = await(asyncio::gather(two, five));
    CHECK(a.size() == 2);
    CHECK(*b == 5);
    const auto range = await(asyncio::gather(std::vector{two, two}));
    CHECK(range.at(1).size() == 2);
    auto outcomes = await(asyncio::gather(asyncio::return_exceptions, two, five));
    CHECK(std::move(std::get<0>(outcomes)).value().size() == 2);
    for (auto next : asyncio::as_completed({two, two})) CHECK(await(next).size() == 2);
    const auto nested = await(asyncio::gather(asyncio::gather(two, two), two));
    CHECK(std::get<1>(std::get<0>(nested)).size() == 2);
    CHECK(asyncio::with(asyncio::timeout(1s), [] { return two(); }).size() == 2);
    CHECK(await(create_task([] { return std::map<int, Pointers>(); })).empty());
    CHECK(await(create_task([] { return std::pair<int, Pointers>(1, two()); })).second.size() == 2);
    CHECK(await(create_task([] { return std::variant<int, Pointers>(two()); })).index() == 1);
    CHECK(await(create_task([] { return Parcel{two()}; })).content.size() == 2);
    CHECK(await(asyncio::gather(std::vector{[] { return Parcel{two()}; }})).size() == 1);
  });
}

TEST_CASE("a container of elements that can only be moved is moved, whatever its type") {
  asyncio::run([] {
    CHECK(await(create_task([] { return std::optional(two()); }))->size() == 2);
    CHECK(await(create_task([] { return std::array<Pointers, 1>{two()}; })).at(0).size() == 2);
    CHECK(await(create_task([] { return std::deque<Pointer>(2); })).size() == 2);
    CHECK(await(create_task([] { return std::stack<Pointer>(); })).empty());
    CHECK(await(create_task([] { return std::queue<Pointers>(); })).empty());
    CHECK(await(create_task([] { return std::unordered_map<int, Pointers>(); })).empty());
    CHECK(await(create_task([] { return std::vector<std::optional<Pointers>>(3); })).size() == 3);
    auto outcomes = asyncio::gather(asyncio::return_exceptions, std::vector{two, two});
    const auto task = create_task(outcomes);
    CHECK(await(task).at(1).value().size() == 2);
    CHECK(thrown_by([&] { await(task); }) == kTaken);
  });
}

namespace {

// Awaits a task with a result of this type twice.
template <class T>
void await_twice(const T& result) {
  const auto task = create_task([&] { return result; });
  for (int i = 0; i < 2; ++i) CHECK(thrown_by([&] { static_cast<void>(await(task)); }) == "");
  CHECK(thrown_by([&] { await(asyncio::shield(task)); }) == "");
  CHECK(thrown_by([&] { await(asyncio::gather(task, task)); }) == "");
}

}  // namespace

TEST_CASE("handles, views and iterators of objects that can only be moved are copied") {
  asyncio::run([] {
    Pointers pointers = two();
    await_twice(asyncio::Queue<Pointer>());
    await_twice(asyncio::LifoQueue<Pointers>());
    await_twice(fiber::concurrent::futures::Future<Pointer>());
    await_twice(std::span(pointers));
    await_twice(std::span(std::as_const(pointers)));
    await_twice(pointers.begin());
    await_twice(pointers.cbegin());
    await_twice(std::back_inserter(pointers));
    await_twice(std::initializer_list<Pointer>());
    await_twice(std::ranges::subrange(pointers));
    await_twice(std::make_shared<Pointers>());
    await_twice(std::vector<std::span<Pointer>>{pointers});
    await_twice(std::optional(asyncio::Queue<Pointer>()));
    await_twice(std::string("text"));
    await_twice(std::vector{true, false});
  });
}

TEST_CASE("a result that is an rvalue reference comes as a value") {
  struct Owner {
    Pointer content = five();
    Pointer&& operator()() { return std::move(content); }
  };
  struct Awaited : Owner {
    Pointer&& await_() && { return std::move(content); }
  };
  asyncio::run([] {
    const std::string text(100, 'x');
    std::string moved = text;
    const auto move = [&]() -> std::string&& { return std::move(moved); };
    const auto task = create_task(move);
    static_assert(std::same_as<decltype(task), const asyncio::Task<std::string>>);
    for (int i = 0; i < 2; ++i) CHECK(await(task) == text);
    moved = text;
    CHECK(await(asyncio::async(move)()) == text);
    moved = text;
    CHECK(await(asyncio::shield(move)) == text);
    moved = text;
    CHECK(await(asyncio::wait_for(move, 1s)) == text);
    moved = text;
    CHECK(std::get<0>(await(asyncio::gather(move, answer))) == text);

    CHECK(*await(create_task(Owner())) == 5);
    CHECK(*await(create_task(Awaited())) == 5);
    CHECK(*await(create_task([] { return Awaited(); })) == 5);
  });
  std::string last(100, 'y');
  CHECK(asyncio::run([&]() -> std::string&& { return std::move(last); }) == std::string(100, 'y'));
}

TEST_CASE("a const result comes as one that is not") {
  const auto make = []() -> const Pointer { return five(); };
  const auto text = []() -> const std::string { return "text"; };
  asyncio::run([&] {
    const auto task = create_task(make);
    static_assert(std::same_as<decltype(task), const asyncio::Task<Pointer>>);
    CHECK(*await(task) == 5);
    CHECK(thrown_by([&] { await(task); }) == kTaken);
    CHECK(*await(asyncio::async(make)()) == 5);
    CHECK(*await(create_task(asyncio::async(make))) == 5);
    CHECK(*await(asyncio::async(
              [](int number) -> const Pointer { return std::make_unique<int>(number); })(6)) == 6);
    CHECK(*await(asyncio::shield(make)) == 5);
    CHECK(*await(asyncio::wait_for(make, 1s)) == 5);
    CHECK(*std::get<0>(await(asyncio::gather(make, text))) == 5);
    CHECK(*await(asyncio::gather(std::vector{make})).at(0) == 5);
    auto outcomes = await(asyncio::gather(asyncio::return_exceptions, make, text));
    CHECK(*std::get<0>(std::move(outcomes)).value() == 5);
    for (auto next : asyncio::as_completed({make})) CHECK(*await(next) == 5);
    CHECK(await(create_task(text)) == "text");
    // A type that says const itself.
    const auto future = asyncio::get_running_loop().create_future<const Pointer>();
    future.set_result(five());
    static_assert(std::same_as<decltype(future.result()), const Pointer&>);
    CHECK(*std::get<0>(await(asyncio::gather(future))) == 5);
    CHECK(*await(create_task(asyncio::Coroutine<const Pointer>(make))) == 5);
  });
  CHECK(*asyncio::run(make) == 5);
}

TEST_CASE("a result that was moved out is missed by whoever asks next, in whatever way") {
  asyncio::run([] {
    auto task = create_task(five);
    const Pointer taken = await(task);
    CHECK(*taken == 5);
    CHECK(task.done());
    CHECK(task.exception() == nullptr);
    CHECK(thrown_by([&] { await(task); }) == kTaken);
    CHECK(thrown_by([&] { static_cast<void>(task.result()); }) == kTaken);
    CHECK(thrown_by([&] { await(asyncio::shield(task)); }) == kTaken);
    CHECK(thrown_by([&] { await(asyncio::wait_for(task, 1s)); }) == kTaken);
    CHECK(thrown_by([&] { await(asyncio::gather(task, answer)); }) == kTaken);
    const auto outcomes = await(asyncio::gather(asyncio::return_exceptions, task, answer));
    CHECK(fiber::repr(std::get<0>(outcomes).exception()) == kTaken);
    CHECK(std::get<1>(outcomes).value() == 42);
    for (auto next : asyncio::as_completed({task}))
      CHECK(thrown_by([&] { await(next); }) == kTaken);
    CHECK(await(asyncio::wait({task})).done.size() == 1);
    const auto twice = create_task(five);
    CHECK(thrown_by([&] { await(asyncio::gather(twice, twice)); }) == kTaken);
    const auto future = asyncio::get_running_loop().create_future<Pointer>();
    future.set_result(five());
    CHECK(*future.result() == 5);
    CHECK(*await(future) == 5);
    CHECK(thrown_by([&] { await(future); }) == kTaken);
  });
}

TEST_CASE("plain functions are awaitables wherever callables are") {
  asyncio::run([] {
    CHECK(await(asyncio::wait_for(answer, 1s)) == 42);
    CHECK(await(asyncio::wait_for(&answer, 1s)) == 42);
    await(asyncio::wait_for(nothing, std::nullopt));
    CHECK(thrown_by([] { await(asyncio::wait_for(answer, 0s)); }) == "TimeoutError()");
    CHECK(await(asyncio::shield(answer)) == 42);
    CHECK(await(asyncio::ensure_future(answer)) == 42);
    CHECK(await(asyncio::gather(answer, answer)) == std::tuple(42, 42));
    CHECK(await(asyncio::gather(std::vector{answer, answer})) == std::vector{42, 42});
    CHECK(await(asyncio::to_thread(answer)) == 42);
    for (auto next : asyncio::as_completed({answer})) CHECK(await(next) == 42);
    asyncio::with(asyncio::TaskGroup(), [](auto& group) { group.create_task(nothing); });
  });
  CHECK(asyncio::run(answer) == 42);
  asyncio::Runner runner;
  CHECK(runner.run(answer) == 42);
}

TEST_CASE("futures of different types are waited for together") {
  asyncio::run([] {
    auto number = create_task(answer);
    auto text = create_task([] { return std::string("text"); });
    const auto future = asyncio::get_running_loop().create_future();
    const auto [done, pending] = await(asyncio::wait({number, text, future}, {.timeout = 0s}));
    CHECK(done.size() == 2);
    CHECK(pending.size() == 1);
    CHECK(pending.at(0) == future);
    future.set_result();
    const auto all = await(asyncio::wait({number, text, future}));
    CHECK(all.done.size() == 3);
    CHECK(all.done.at(1) == text);
    CHECK(text.result() == "text");
  });
}

TEST_CASE("a loop that nothing can wake throws when it was asked to, again and again") {
  const std::string begin =
      "asyncio: nothing is ready, no timer is set and no descriptor is watched";
  const std::size_t at = std::string_view("RuntimeError(\"").size();
  const auto loop = asyncio::new_event_loop();
  CHECK_FALSE(loop.get_raise_deadlock());
  loop.set_raise_deadlock(true);
  CHECK(loop.get_raise_deadlock());
  const auto future = loop.create_future();
  CHECK(thrown_by([&] { loop.run_until_complete(future); }).find(begin) == at);
  CHECK(thrown_by([&] { loop.run_until_complete([&] { await(future); }); }).find(begin) == at);
  loop.run_until_complete([] { await(asyncio::sleep(1ms)); });
  future.set_result();
  loop.run_until_complete([] { await(asyncio::sleep(1ms)); });
  loop.close();
  CHECK(thrown_by([&] {
          asyncio::run([] { await(asyncio::Event().wait()); }, {.raise_deadlock = true});
        }).find(begin) == at);
}

TEST_CASE("a runner refuses to run inside of a loop before it has made anything") {
  asyncio::run([] {
    bool made = false;
    bool ran = false;
    asyncio::Runner runner({.loop_factory = [&] {
      made = true;
      return asyncio::new_event_loop();
    }});
    CHECK(thrown_by([&] { runner.run([&] { ran = true; }); }) ==
          "RuntimeError('Runner.run() cannot be called from a running event loop')");
    CHECK_FALSE(made);
    CHECK_FALSE(ran);
  });
}

TEST_CASE("at the end of a loop each task is asked as often as its waiters are") {
  std::string counts;
  const auto note = [&](const char* name) {
    try {
      await(asyncio::sleep(1h));
    } catch (const asyncio::CancelledError&) {
      counts += std::string(name) + std::to_string(asyncio::current_task().cancelling()) + " ";
      throw;
    }
  };
  asyncio::run([&] {
    const auto leaf = create_task([&] { note("leaf"); });
    const auto other = create_task([&] { note("other"); });
    const auto middle = create_task([leaf] { await(leaf); });
    const auto both = create_task([middle, other] { await(asyncio::gather(middle, other)); });
    const auto top = create_task([both] { await(both); });
    for (int i = 0; i < 3; ++i) await(asyncio::sleep(0));
  });
  // leaf, middle, both and top; the other chain: other, both and top.
  CHECK(counts == "leaf4 other3 ");
}

TEST_CASE("a deep tree of tasks is cancelled at the end of its loop, each task once") {
  constexpr std::size_t kDeep = 20'000;
  std::size_t ended = 0;
  asyncio::run([&] {
    std::vector<asyncio::Task<>> chain{create_task([&] {
      const AtEnd end([&] { ++ended; });
      await(asyncio::sleep(1h));
    })};
    while (chain.size() < kDeep)
      chain.push_back(create_task([&ended, inner = chain.back()] {
        const AtEnd end([&] { ++ended; });
        await(inner);
      }));
    await(asyncio::sleep(0));
  });
  CHECK(ended == kDeep);
}

TEST_CASE("an eager child whose failing sibling ended at once is cancelled") {
  asyncio::run([] {
    asyncio::get_running_loop().set_task_factory(asyncio::eager_task_factory);
    const auto group_of_two = [] {
      asyncio::with(asyncio::TaskGroup(), [](auto& group) {
        group.create_task([&group] {
          group.create_task([] { throw fiber::RuntimeError("fails"); });
          await(asyncio::sleep(1h));
        });
      });
    };
    const std::string failure =
        "ExceptionGroup('unhandled errors in a TaskGroup', [RuntimeError('fails')])";
    CHECK(thrown_by(group_of_two) == failure);
    CHECK(thrown_by([&] { await(asyncio::wait_for(group_of_two, 1h)); }) == failure);
    asyncio::get_running_loop().set_task_factory(nullptr);
  });
}

TEST_CASE("pthread_exit ends the thread wherever the library has called it from") {
  if (support::lacks_forced_unwinding()) return;
  const auto ends = [](auto function) {
    bool unwound = false;
    std::thread([&] {
      const AtEnd end([&] { unwound = true; });
      function();
      FAIL("the thread has not ended");
    }).join();
    CHECK(unwound);
  };
  const auto leave = [] { ::pthread_exit(nullptr); };
  ends([&] {
    asyncio::run([&] {
      asyncio::get_running_loop().call_soon(leave);
      await(asyncio::sleep(1h));
    });
  });
  ends([&] {
    asyncio::run([&] {
      asyncio::get_running_loop().call_later(1ms, leave);
      await(asyncio::sleep(1h));
    });
  });
  ends([&] {
    asyncio::run([&] {
      const auto future = asyncio::get_running_loop().create_future();
      future.add_done_callback(leave);
      future.set_result();
      await(asyncio::sleep(1h));
    });
  });
  ends([&] {
    asyncio::run([&] {
      asyncio::get_running_loop().set_exception_handler([&](const auto&, const auto&) { leave(); });
      asyncio::get_running_loop().call_soon([] { throw fiber::ValueError("seen by the handler"); });
      await(asyncio::sleep(1h));
    });
  });
  ends([&] {
    // The descriptor stays ready: the callback must not be called while the loop is closed.
    const support::Pipe pipe;
    REQUIRE(::write(pipe.writes, "x", 1) == 1);
    asyncio::run([&] {
      asyncio::get_running_loop().add_reader(pipe.reads, leave);
      await(asyncio::sleep(1h));
    });
  });
  fiber::concurrent::futures::ThreadPoolExecutor pool({.max_workers = 1});
  CHECK(thrown_by([&] { pool.submit(leave).result(); }) ==
        "RuntimeError('the call has ended its thread, by pthread_exit, without a result')");
  CHECK(pool.submit(answer).result() == 42);
}

TEST_CASE("pthread_cancel ends a thread whose loop waits") {
  if (support::lacks_forced_unwinding()) return;
  std::promise<void> waits;
  bool unwound = false;
  bool task_unwound = false;
  std::thread thread([&] {
    const AtEnd end([&] { unwound = true; });
    asyncio::run([&] {
      const AtEnd end_of_task([&] { task_unwound = true; });
      asyncio::get_running_loop().call_soon([&] { waits.set_value(); });
      await(asyncio::sleep(1h));
    });
  });
  waits.get_future().wait();
  CHECK(::pthread_cancel(thread.native_handle()) == 0);
  thread.join();
  CHECK(unwound);
  CHECK(task_unwound);
}
