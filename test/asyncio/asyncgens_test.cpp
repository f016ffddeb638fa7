// Generators that wait.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using fiber::Generator;

namespace {

// Yields numbers; waits an iteration before each item, and while it is being closed.
Generator<int> counting(Trace& trace, std::string name, int count = 3) {
  return [&trace, name = std::move(name), count](auto& self) {
    const AtEnd end([&] {
      trace("closing ", name);
      turns(1);
      trace("closed ", name);
    });
    for (int i = 0; i < count; ++i) {
      turns(1);
      self.yield(i);
    }
  };
}

}  // namespace

TEST_CASE("a range-for over a generator that waits lets others run meanwhile") {
  Trace trace;
  run([&] {
    auto other = asyncio::create_task([&] {
      for (int i = 0; i < 4; ++i) {
        trace("other");
        turns(1);
      }
    });
    for (const int item : counting(trace, "g")) trace(item);
    await(other);
  });
  CHECK(trace.take() ==
        "[2] other | [2] 0 | [3] other | [3] 1 | [4] other | [4] 2 | [4] closing g | [5] other | "
        "[5] closed g");
}

TEST_CASE("two tasks iterate generators of their own in turn") {
  Trace trace;
  run([&] {
    const auto consume = [&](std::string name) {
      return [&trace, name] {
        for (const int item : counting(trace, name, 2)) trace(name, item);
      };
    };
    await(asyncio::gather(consume("a"), consume("b")));
  });
  CHECK(trace.take() ==
        "[3] a0 | [3] b0 | [4] a1 | [4] closing a | [4] b1 | [4] closing b | [5] closed a | "
        "[5] closed b");
}

TEST_CASE("a generator that does not wait never gives way") {
  Trace trace;
  run([&] {
    auto other = asyncio::create_task([&] { trace("other"); });
    const Generator<int> plain = [](auto& self) {
      self.yield(1);
      self.yield(2);
    };
    for (const int item : plain) trace(item);
    await(other);
  });
  CHECK(trace.take() == "[1] 1 | [1] 2 | [2] other");
}

TEST_CASE("items may be delegated, at any depth, by generators that wait") {
  Trace trace;
  run([&] {
    const Generator<int> outer = [&](auto& self) {
      turns(1);
      self.yield(-1);
      self.yield_from(counting(trace, "inner", 2));
      turns(1);
      self.yield(9);
    };
    for (const int item : outer) trace(item);
  });
  CHECK(trace.take() == "[2] -1 | [3] 0 | [4] 1 | [4] closing inner | [5] closed inner | [6] 9");
}

TEST_CASE("cancelling the task that waits in a generator ends both") {
  Trace trace;
  run([&] {
    auto task = asyncio::create_task([&] {
      for (const int item : counting(trace, "g", 100)) trace(item);
    });
    turns(3);
    task.cancel();
    try {
      await(task);
    } catch (const asyncio::CancelledError&) {
      trace("cancelled");
    }
  });
  CHECK(trace.take() == "[3] 0 | [4] 1 | [5] closing g | [6] closed g | [7] cancelled");
}

TEST_CASE("a generator that is left early is closed where it is dropped, and may wait there") {
  Trace trace;
  run([&] {
    for (const int item : counting(trace, "g")) {
      trace(item);
      break;
    }
    trace("after break");
  });
  CHECK(trace.take() == "[2] 0 | [2] closing g | [3] closed g | [3] after break");
}

TEST_CASE("a generator that a callback drops is closed by a task of its own") {
  Trace trace;
  run([&] {
    auto held = std::make_shared<Generator<int>>(counting(trace, "g"));
    trace(held->next());
    asyncio::get_running_loop().call_soon([&trace, held = std::exchange(held, nullptr)]() mutable {
      held = nullptr;
      trace("dropped");
    });
    turns(4);
    trace("main");
  });
  CHECK(trace.take() == "[2] 0 | [3] dropped | [4] closing g | [5] closed g | [6] main");
}

TEST_CASE("generators that are still held are closed together when the loop ends") {
  Trace trace;
  std::vector<Generator<int>> kept;
  run([&] {
    for (const char* name : {"k1", "k2", "k3"}) kept.push_back(counting(trace, name));
    const int first = kept[0].next();
    trace(first, kept[1].next());
    for (const int item : kept[2]) static_cast<void>(item);
    trace("main ends");
  });
  trace.outside("run returned");
  CHECK(trace.take() ==
        "[3] 00 | [6] closing k3 | [7] closed k3 | [7] main ends | [10] closing k1 | "
        "[10] closing k2 | [11] closed k1 | [11] closed k2 | run returned");
  CHECK(kept[0].state() == fiber::GEN_CLOSED);
}

TEST_CASE("a generator of another loop, or of none, is not closed with the loop") {
  Trace trace;
  Generator<int> outside = [](auto& self) {
    self.yield(1);
    self.yield(2);
  };
  CHECK(outside.next() == 1);
  Generator<int> inside = outside;
  run([&] { turns(1); });
  CHECK(outside.next() == 2);
}

TEST_CASE("an exception of a generator that the loop closes goes to the exception handler") {
  Trace trace;
  std::optional<Generator<int>> kept;
  run([&] {
    asyncio::get_running_loop().set_exception_handler(
        [&](const auto&, const asyncio::ExceptionContext& context) {
          trace(context.message.substr(0, context.message.find(" <")), " ", context.exception, " ",
                context.asyncgen == *kept);
        });
    kept = Generator<int>([](auto& self) {
      try {
        self.yield(1);
      } catch (const fiber::GeneratorExit&) {
        throw fiber::ValueError("in clean-up");
      }
    });
    kept->next();
  });
  CHECK(trace.take() ==
        "[6] an error occurred during closing of asynchronous generator ValueError('in clean-up') "
        "True");
}

TEST_CASE("aclosing closes a generator at the end of its block, whoever holds it") {
  Trace trace;
  run([&] {
    const Generator<int> kept = counting(trace, "g");
    asyncio::with(asyncio::aclosing(kept), [&](auto& generator) {
      for (const int item : generator) {
        trace(item);
        if (item == 1) break;
      }
      trace("block ends");
    });
    trace("after");
    try {
      asyncio::with(asyncio::aclosing(counting(trace, "h")), [&](auto& generator) {
        generator.next();
        throw fiber::ValueError("from the block");
      });
    } catch (const fiber::ValueError&) {
      trace(caught());
    }
  });
  CHECK(trace.take() ==
        "[2] 0 | [3] 1 | [3] block ends | [3] closing g | [4] closed g | [4] after | "
        "[5] closing h | [6] closed h | [6] ValueError('from the block')");
}
