// The names of coroutines in reports, and their places, however they were compiled.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/names.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;

namespace names_test {

void waits_in_a_function() { await(asyncio::sleep(1s)); }
int answers(int x) { return x; }

struct Callable {
  void operator()() const { await(asyncio::sleep(1s)); }
};

asyncio::Task<> a_lambda_in_a_function(asyncio::Event event) {
  return create_task([event] { await(event.wait()); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class T>
std::string name_of(const asyncio::Task<T>& task) {
  return task.get_coro().name();
}

}  // namespace names_test

using namespace names_test;

TEST_CASE("a coroutine without a name is called what its function is called") {
  run([] {
    const auto function = create_task(waits_in_a_function);
    CHECK(name_of(function) == "names_test::waits_in_a_function");
    CHECK(name_of(create_task(asyncio::async(answers)(1))) == "names_test::answers");
    CHECK(name_of(create_task(Callable())) == "names_test::Callable");
    CHECK(name_of(create_task(asyncio::async("given", [] {})())) == "given");
    CHECK(name_of(create_task(std::function<void()>(waits_in_a_function))) == "void (*)()");
    Callable callable;
    CHECK(name_of(create_task(std::ref(callable))) == "names_test::Callable");
    asyncio::Lock lock;
    CHECK(name_of(create_task(lock.acquire())) == "Lock::acquire");
    CHECK(function.repr().find("coro=<names_test::waits_in_a_function() running>") !=
          std::string::npos);
  });
}

TEST_CASE("a lambda is called after the function that it is written in") {
  run([] {
    asyncio::Event event;
    const auto task = a_lambda_in_a_function(event);
    CHECK(contains(name_of(task), "names_test::a_lambda_in_a_function"));
    CHECK(short_names(task.repr()).find("coro=<lambda() running>") != std::string::npos);
    const auto function = asyncio::async([](int x) { return x; });
    CHECK(name_of(create_task(function(1))) == name_of(create_task(function(2))));
    CHECK(!contains(name_of(create_task(function(1))), "CoroutineFunction"));
    CHECK(!contains(name_of(create_task([] { return asyncio::sleep(0s); })), "as_coroutine"));
    event.set();
    await(task);
  });
}

TEST_CASE("a task that waits has the frame of its body, inlined or not") {
  run([] {
    asyncio::Event event;
    const auto task = a_lambda_in_a_function(event);
    await(asyncio::sleep(1ms));
    const asyncio::FutureCallGraph graph = asyncio::capture_call_graph(task);
    REQUIRE(!graph.call_stack.empty());
    int of_the_body = 0;
    for (const asyncio::FrameCallGraphEntry& entry : graph.call_stack) {
      CHECK(entry.frame.offset != 0);
      CHECK(!entry.frame.filename.empty());
      if (contains(entry.frame.name, "a_lambda_in_a_function")) ++of_the_body;
    }
    CHECK(of_the_body == 1);
    event.set();
    await(task);
  });
}

TEST_CASE("a coroutine that is never awaited is reported with the place where it was dropped") {
  Log log;
  {
    const auto coroutine = asyncio::async("lost", [] {})();
  }
  const std::string text = log.take();
  CHECK(text.starts_with(
      "WARNING RuntimeWarning: coroutine 'lost' was never awaited\n  dropped at "));
  {
    const auto coroutine = asyncio::async([] {})();
  }
  CHECK(short_names(without_drops(log.take())) ==
        "WARNING RuntimeWarning: coroutine 'lambda' was never awaited");
}
