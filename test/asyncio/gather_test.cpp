#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::gather;
using asyncio::return_exceptions;

TEST_CASE("results come in the order of the arguments, two iterations after the last") {
  Trace trace;
  run([&] {
    const auto worker = asyncio::async([&](std::string name, int count) {
      turns(count);
      trace(name, " done");
      return name;
    });
    trace("call");
    const auto [a, b, c] = await(gather(worker("a", 2), worker("b", 0), worker("c", 1)));
    trace(a, b, c);
  });
  CHECK(trace.take() == "[1] call | [2] b done | [3] c done | [4] a done | [6] abc");
}

TEST_CASE("a gather of finished futures is done, and does not suspend") {
  Trace trace;
  run([&] {
    auto a = asyncio::create_task([] { return 1; });
    auto b = asyncio::create_task([] { return 2; });
    await(a);
    await(b);
    auto all = gather(a, b);
    trace("gather done at once? ", all.done());
    const auto results = await(all);
    trace(std::get<0>(results), std::get<1>(results));
  });
  CHECK(trace.take() == "[3] gather done at once? True | [3] 12");
}

TEST_CASE("the first error ends a gather; siblings run on, later errors are nobody's") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    const auto failing = asyncio::async([&](int count, std::string text) {
      turns(count);
      trace(text);
      throw fiber::ValueError(text);
    });
    const auto sibling = asyncio::async([&] {
      for (int i = 0; i < 7; ++i) {
        if (i != 0) trace("a ", i);
        turns(1);
      }
    });
    {
      auto all = gather(failing(1, "raise"), sibling(), failing(2, "raise2"));
      try {
        await(all);
      } catch (const fiber::ValueError&) {
        trace("caught ", caught(), " ", all.cancel());
      }
    }
    turns(5);
    trace("end");
  });
  CHECK(trace.take() ==
        "[3] raise | [3] a 1 | [4] a 2 | [4] raise2 | [5] caught ValueError('raise') False | "
        "[5] a 3 | [6] a 4 | [7] a 5 | [8] a 6 | [10] end");
}

TEST_CASE("an empty gather does not suspend; an awaitable that is passed twice runs once") {
  Trace trace;
  run([&] {
    auto task = asyncio::create_task([&] {
      trace("runs once");
      return 1;
    });
    CHECK(await(gather(std::vector<asyncio::Task<int>>())).empty());
    static_cast<void>(await(gather()));
    trace("empty");
    const auto [a, b] = await(gather(task, task));
    trace(a, " ", b);
    CHECK(await(gather(std::vector{task, task, task})) == std::vector{1, 1, 1});
  });
  CHECK(trace.take() == "[1] empty | [2] runs once | [4] 1 1");
}

TEST_CASE("with return_exceptions errors are results, and nothing is reported") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    const auto bad = [](auto error) { return [error]() -> int { throw error; }; };
    const auto ok = [] { return 1; };
    {
      const auto [a, b, c] = await(
          gather(return_exceptions, bad(fiber::ValueError("1")), ok, bad(fiber::LookupError("2"))));
      CHECK_FALSE(a.has_value());
      CHECK(b.has_value());
      trace(a.exception(), " ", b.value(), " ", c.exception());
      CHECK(thrown_by([&] { static_cast<void>(a.value()); }) == "ValueError('1')");
    }
    try {
      await(gather(bad(fiber::ValueError("1")), bad(fiber::ValueError("2"))));
    } catch (const fiber::ValueError&) {
      trace("first only: ", caught());
    }
    turns(1);
  });
  CHECK(trace.take() == "[4] ValueError('1') 1 LookupError('2') | [7] first only: ValueError('1')");
}

TEST_CASE("a gather that fails and is never awaited is reported as such") {
  Trace trace;
  run([&] {
    trace_errors(trace, asyncio::get_running_loop());
    static_cast<void>(gather([] { throw fiber::ValueError("lost"); }));
    turns(4);
    trace("end");
  });
  CHECK(trace.take() ==
        "[3] EXC_HANDLER _GatheringFuture exception was never retrieved ValueError('lost') | "
        "[5] end");
}

TEST_CASE("a gather that has failed cannot be cancelled any more, and touches nobody") {
  Trace trace;
  run([&] {
    auto all = gather([] { throw fiber::ValueError("1"); },
                      [&] {
                        turns(4);
                        trace("sibling finished");
                      });
    try {
      await(all);
    } catch (const fiber::ValueError&) {
      trace("cancel after failure -> ", all.cancel());
    }
    turns(4);
  });
  CHECK(trace.take() == "[4] cancel after failure -> False | [6] sibling finished");
}

TEST_CASE("cancelling a gather cancels all: it ends with the first, or with the last") {
  Trace trace;
  run([&] {
    const auto worker = asyncio::async([&](std::string name, int cleanup) {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace(name, " cancelled");
        turns(cleanup);
        trace(name, " cleanup over");
        throw;
      }
    });
    const auto cancel = [&](auto all, bool exceptions) {
      auto task = asyncio::create_task([&, all] {
        try {
          await(all);
        } catch (const CancelledError&) {
          trace("awaiter CancelledError, return_exceptions = ", exceptions);
          throw;
        }
      });
      turns(2);
      trace("cancel ", all.cancel());
      await(asyncio::wait(std::vector{task}));
      trace("cancelled ", task.cancelled(), " ", all.cancelled());
      turns(4);
    };
    cancel(gather(worker("a", 0), worker("b", 3)), false);
    cancel(gather(return_exceptions, worker("a", 0), worker("b", 3)), true);
  });
  CHECK(trace.take() ==
        "[3] cancel True | [4] a cancelled | [4] a cleanup over | [4] b cancelled | "
        "[6] awaiter CancelledError, return_exceptions = False | [7] b cleanup over | "
        "[8] cancelled True False | [14] cancel True | [15] a cancelled | [15] a cleanup over | "
        "[15] b cancelled | [18] b cleanup over | "
        "[20] awaiter CancelledError, return_exceptions = True | [22] cancelled True False");
}

TEST_CASE("a child that is cancelled by others: CancelledError, or a value like any other") {
  Trace trace;
  run([&] {
    const auto start = [&] {
      return std::tuple{asyncio::create_task([&] {
                          try {
                            await(asyncio::sleep(10s));
                          } catch (const CancelledError&) {
                            trace("a cancelled");
                            throw;
                          }
                        }),
                        asyncio::create_task([&] {
                          turns(4);
                          trace("b finished");
                          return 'b';
                        })};
    };
    {
      auto [a, b] = start();
      turns(1);
      auto all = gather(a, b);
      a.cancel();
      try {
        await(all);
      } catch (const CancelledError&) {
        trace("CancelledError; g.cancelled() ", all.cancelled());
      }
      trace("b.done ", b.done());
      turns(4);
    }
    {
      auto [a, b] = start();
      turns(1);
      auto all = gather(return_exceptions, a, b);
      a.cancel();
      const auto [x, y] = await(all);
      trace("result ", x.exception(), " ", y.value());
      trace("b.done ", b.done());
      turns(4);
    }
  });
  CHECK(trace.take() ==
        "[3] a cancelled | [5] CancelledError; g.cancelled() False | [5] b.done False | "
        "[6] b finished | [11] a cancelled | [14] b finished | [16] result CancelledError() b | "
        "[16] b.done True");
}

TEST_CASE("cancelling reaches through a gather inside a gather") {
  Trace trace;
  run([&] {
    const auto leaf = asyncio::async([&](int number) {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace("leaf ", number);
        throw;
      }
    });
    auto all = gather(gather(leaf(1), leaf(2)), leaf(3));
    turns(1);
    trace(all.cancel());
    try {
      await(all);
    } catch (const CancelledError&) {
      trace("outer CancelledError");
    }
  });
  CHECK(trace.take() ==
        "[2] True | [3] leaf 1 | [3] leaf 2 | [3] leaf 3 | [5] outer CancelledError");
}

TEST_CASE("void results are None, and move-only ones arrive") {
  run([] {
    const auto [nothing, pointer, number] =
        await(gather([] {}, [] { return std::make_unique<int>(5); }, [] { return 6; }));
    static_assert(std::same_as<decltype(nothing), const fiber::None>);
    CHECK(*pointer == 5);
    CHECK(number == 6);
    std::vector<asyncio::Task<std::unique_ptr<int>>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(asyncio::create_task([i] { return std::make_unique<int>(i); }));
    const auto pointers = await(gather(std::move(tasks)));
    CHECK(*pointers.at(2) == 2);
  });
}

TEST_CASE("futures of several loops cannot be gathered") {
  const asyncio::EventLoop other = asyncio::new_event_loop();
  {
    const auto foreign = other.create_future<int>();
    run([&] {
      const auto own = asyncio::get_running_loop().create_future<int>();
      CHECK(thrown_by([&] { static_cast<void>(gather(own, foreign)); }) ==
            "ValueError('The future belongs to a different loop than the one specified as the "
            "loop argument')");
    });
  }
  other.close();
}

TEST_CASE("a gather that can never end goes with its loop") {
  const asyncio::EventLoop loop = virtual_loop();
  loop.set_exception_handler([](const auto&, const auto&) {});
  asyncio::Future<std::vector<int>> all;
  loop.run_until_complete([&] {
    std::vector<asyncio::Future<int>> futures;
    for (int i = 0; i < 3; ++i) futures.push_back(asyncio::get_running_loop().create_future<int>());
    static_cast<void>(gather(futures));
    all = gather(futures);
    futures[0].set_result(1);
    static_cast<void>(asyncio::shield(futures[1]));
    static_cast<void>(asyncio::create_task([futures] { await(asyncio::shield(futures[2])); }));
    turns(1);
  });
  loop.close();
  CHECK_FALSE(all.done());
}

TEST_CASE("with return_exceptions a result may be an exception itself, or a reference") {
  run([] {
    int number = 1;
    const std::exception_ptr value = std::make_exception_ptr(fiber::ValueError("a value"));
    const auto results = await(gather(
        return_exceptions, [] { return std::exception_ptr(); }, [&] { return value; },
        []() -> std::exception_ptr { throw fiber::ValueError("thrown"); },
        [&]() -> int& { return number; }));
    CHECK(std::get<0>(results).has_value());
    CHECK(std::get<0>(results).value() == nullptr);
    CHECK(std::get<1>(results).has_value());
    CHECK(std::get<1>(results).value() == value);
    CHECK(std::get<1>(results).exception() == nullptr);
    CHECK_FALSE(std::get<2>(results).has_value());
    CHECK(fiber::repr(std::get<2>(results).exception()) == "ValueError('thrown')");
    CHECK_THROWS_AS(std::get<2>(results).value(), fiber::ValueError);
    CHECK(&std::get<3>(results).value().get() == &number);
  });
  CHECK(asyncio::Outcome<std::exception_ptr>(std::exception_ptr()).has_value());
  CHECK_FALSE(asyncio::Outcome<int>(std::make_exception_ptr(1)).has_value());
  CHECK_FALSE(asyncio::Outcome<int>::failed(std::make_exception_ptr(1)).has_value());
}
