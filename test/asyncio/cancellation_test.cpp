// Cancelling tasks: the delivery, its time, and the task's possible reactions.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

int cancelling() { return asyncio::current_task().cancelling(); }

auto sleeper(Trace& trace, std::string name) {
  return until_cancelled([&trace, name] { trace(name, " cancelled"); });
}

// Returns "Type('text')" of the exception that awaiting throws, or the value.
template <class F>
std::string outcome(const F& future) {
  try {
    std::ostringstream text;
    text << await(future);
    return text.str();
  } catch (...) {
    return caught();
  }
}

}  // namespace

TEST_CASE("a task cancelled before its first step never runs its body") {
  struct Local {
    ~Local() { ++*destroyed; }
    int* destroyed;
  };
  Trace trace;
  int destroyed = 0;
  run([&] {
    auto task = create_task([&] {
      const Local local{&destroyed};
      trace("body");
    });
    const bool asked = task.cancel();
    trace("cancel -> ", asked, " cancelled() ", task.cancelled(), " cancelling() ",
          task.cancelling());
    turns(1);
    trace("done ", task.done(), " cancelled ", task.cancelled());
  });
  CHECK(trace.take() ==
        "[1] cancel -> True cancelled() False cancelling() 1 | [2] done True cancelled True");
  CHECK(destroyed == 0);
}

TEST_CASE("a waiting task sees the cancellation an iteration later, with its message") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future();
    auto task = create_task([&] {
      try {
        await(future);
      } catch (const CancelledError&) {
        trace("got ", caught(), " fut.cancelled ", future.cancelled());
        throw;
      }
    });
    turns(1);
    const bool asked = task.cancel("msg");
    trace("cancel ", asked, " future cancelled at once: ", future.cancelled());
    turns(1);
    trace("cancelled ", task.cancelled());
    trace("cancel again ", task.cancel());
    trace("await -> ", thrown_by([&] { await(task); }));
    trace("result -> ", thrown_by([&] { task.result(); }));
    trace("exception -> ", thrown_by([&] { static_cast<void>(task.exception()); }));
  });
  CHECK(trace.take() ==
        "[2] cancel True future cancelled at once: True | "
        "[3] got CancelledError('msg') fut.cancelled True | "
        "[3] cancelled True | [3] cancel again False | [3] await -> CancelledError('msg') | "
        "[3] result -> CancelledError() | [3] exception -> CancelledError()");
}

TEST_CASE("a cancellation wins over an outcome that has not been consumed") {
  Trace trace;
  run([&] {
    const auto waiting = [&](const asyncio::Future<int>& future) {
      return create_task([&trace, future] {
        try {
          trace("got ", await(future));
        } catch (...) {
          trace("got ", caught());
          throw;
        }
      });
    };
    const auto good = get_running_loop().create_future<int>();
    const auto bad = get_running_loop().create_future<int>();
    auto a = waiting(good);
    auto b = waiting(bad);
    turns(1);
    good.set_result(42);
    bad.set_exception(fiber::ValueError("lost"));
    trace("cancel ", a.cancel(), " ", b.cancel());
    turns(1);
    trace(a.cancelled(), " ", b.cancelled(), " ", good.result());
  });
  CHECK(trace.take() ==
        "[2] cancel True True | [3] got CancelledError() | [3] got CancelledError() | "
        "[3] True True 42");
}

TEST_CASE("a task that cancels itself notices at the next await that suspends") {
  Trace trace;
  run([&] {
    asyncio::Lock lock;
    auto task = create_task([&] {
      trace("cancel ", asyncio::current_task().cancel());
      const auto done = get_running_loop().create_future();
      done.set_result();
      await(done);
      asyncio::with(lock, [&] { trace("uncontended await passed"); });
      try {
        turns(1);
        trace("not reached");
      } catch (const CancelledError&) {
        trace("delivered at sleep(0)");
        throw;
      }
    });
    turns(3);
    trace("cancelled ", task.cancelled());
  });
  CHECK(trace.take() ==
        "[2] cancel True | [2] uncontended await passed | [3] delivered at sleep(0) | "
        "[4] cancelled True");
}

TEST_CASE("a task that cancels itself and returns is cancelled; one that throws has failed") {
  Trace trace;
  run([&] {
    auto returns = create_task([] {
      asyncio::current_task().cancel();
      return 5;
    });
    auto throws = create_task([] {
      asyncio::current_task().cancel();
      throw fiber::ValueError("1");
    });
    auto by_hand = create_task([] { throw CancelledError("by hand"); });
    turns(1);
    trace(returns.cancelled(), " ", throws.cancelled(), " ", throws.exception());
    trace(by_hand.cancelled(), " ", by_hand.cancelling());
  });
  CHECK(trace.take() == "[2] True False ValueError('1') | [2] True 0");
}

TEST_CASE("a task may swallow cancellations; the count remains until uncancel") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      for (int i = 0; i < 2; ++i) {
        try {
          await(asyncio::sleep(10s));
        } catch (const CancelledError&) {
          trace("swallowed ", i, " cancelling ", cancelling());
        }
      }
      const auto self = asyncio::current_task();
      const int first = self.uncancel();
      const int second = self.uncancel();
      trace("uncancel -> ", first, " ", second, " ", self.uncancel());
      return std::string("ok");
    });
    turns(1);
    task.cancel();
    turns(1);
    task.cancel();
    const std::string result = await(task);
    trace(result, " ", task.cancelled(), " cancelling after ", task.cancelling());
  });
  CHECK(trace.take() ==
        "[3] swallowed 0 cancelling 1 | [4] swallowed 1 cancelling 2 | [4] uncancel -> 1 0 0 | "
        "[5] ok False cancelling after 0");
}

TEST_CASE("two cancellations before the first is delivered are one, and counted as two") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        trace("1st ", caught());
      }
      turns(1);
      trace("no second one");
    });
    turns(1);
    const bool first = task.cancel("a");
    const bool second = task.cancel("b");
    trace(first, " ", second, " ", task.cancelling());
    await(task);
    trace("cancelled ", task.cancelled());
    auto unstarted = create_task([] {});
    unstarted.cancel();
    unstarted.cancel();
    turns(1);
    trace("cancelled ", unstarted.cancelled(), " ", unstarted.cancelling());
  });
  CHECK(trace.take() ==
        "[2] True True 2 | [3] 1st CancelledError('a') | [4] no second one | "
        "[5] cancelled False | [6] cancelled True 2");
}

TEST_CASE("the second of two cancellations adds nothing to a gather that ends by the first") {
  Trace trace;
  run([&] {
    const auto future = get_running_loop().create_future();
    auto task = create_task([&] {
      try {
        await(asyncio::gather(future));
      } catch (const CancelledError&) {
        trace(caught());
      }
      turns(1);
      trace("not cancelled again");
    });
    turns(1);
    task.cancel("first");
    task.cancel();
    await(task);
  });
  CHECK(trace.take() == "[4] CancelledError('first') | [5] not cancelled again");
}

TEST_CASE("waiting tasks are cancelled in the order of the calls of cancel, queued ones in turn") {
  Trace trace;
  run([&] {
    std::vector<asyncio::Task<>> waiting;
    for (int i = 0; i < 3; ++i) waiting.push_back(create_task(sleeper(trace, std::to_string(i))));
    turns(1);
    for (int i : {2, 0, 1}) waiting.at(i).cancel();
    turns(1);
    std::vector<asyncio::Task<>> queued;
    for (int i = 0; i < 3; ++i)
      queued.push_back(create_task([&trace, i] {
        try {
          turns(10);
        } catch (const CancelledError&) {
          trace(i, " cancelled");
          throw;
        }
      }));
    turns(1);
    for (int i : {2, 0, 1}) queued.at(i).cancel();
    turns(1);
  });
  CHECK(trace.take() ==
        "[3] 2 cancelled | [3] 0 cancelled | [3] 1 cancelled | [5] 0 cancelled | "
        "[5] 1 cancelled | [5] 2 cancelled");
}

TEST_CASE("a cancellation goes to the task that is awaited, which may swallow it") {
  Trace trace;
  run([&] {
    const auto chain = [&](bool swallow) {
      auto inner = create_task([&trace, swallow] {
        try {
          await(asyncio::sleep(10s));
        } catch (const CancelledError&) {
          trace(swallow ? "inner swallows" : "inner cancelled");
          if (!swallow) throw;
        }
        return std::string("inner value");
      });
      auto outer = create_task([&trace, inner] {
        try {
          const std::string got = await(inner);
          trace("outer got ", got, " cancelling ", cancelling());
        } catch (const CancelledError&) {
          trace("outer cancelled; inner.cancelled ", inner.cancelled());
          throw;
        }
        return std::string("outer value");
      });
      turns(2);
      trace("cancel outer ", outer.cancel());
      turns(3);
      trace("outer ", outcome(outer));
    };
    chain(false);
    chain(true);
  });
  CHECK(trace.take() ==
        "[3] cancel outer True | [4] inner cancelled | [5] outer cancelled; inner.cancelled True | "
        "[6] outer CancelledError() | [8] cancel outer True | [9] inner swallows | "
        "[10] outer got inner value cancelling 1 | [11] outer outer value");
}

TEST_CASE("tasks that wait inside catch blocks each rethrow their own exception") {
  Trace trace;
  run([&] {
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(create_task([&trace, i] {
        try {
          try {
            await(asyncio::sleep(10s));
          } catch (const CancelledError&) {
            turns(1 + (5 - i) % 3);
            try {
              throw fiber::ValueError(std::to_string(i));
            } catch (const fiber::ValueError&) {
              turns(2);
              trace("inside ", caught());
            }
            trace("again ", caught());
            throw;
          }
        } catch (const CancelledError&) {
          trace("own ", caught());
          throw;
        }
      }));
    turns(1);
    for (int i = 0; i < 3; ++i) tasks.at(i).cancel("m" + std::to_string(i));
    turns(8);
    for (const auto& task : tasks) CHECK(task.cancelled());
  });
  CHECK(trace.take() ==
        "[6] inside ValueError('2') | [6] again CancelledError('m2') | "
        "[6] own CancelledError('m2') | [7] inside ValueError('1') | "
        "[7] again CancelledError('m1') | [7] own CancelledError('m1') | "
        "[8] inside ValueError('0') | [8] again CancelledError('m0') | "
        "[8] own CancelledError('m0')");
}

TEST_CASE("clean-up may wait, and another cancellation interrupts it") {
  Trace trace;
  run([&] {
    const auto worker = [&] {
      return create_task([&] {
        try {
          await(asyncio::sleep(10s));
        } catch (const CancelledError&) {
          trace("cleanup 1");
          try {
            await(asyncio::sleep(1ms));
            trace("cleanup 2");
          } catch (const CancelledError&) {
            trace("cleanup interrupted");
            throw;
          }
          throw;
        }
      });
    };
    auto calm = worker();
    turns(1);
    calm.cancel();
    trace(thrown_by([&] { await(calm); }));
    auto hasty = worker();
    turns(1);
    hasty.cancel();
    turns(1);
    hasty.cancel();
    trace(thrown_by([&] { await(hasty); }), " ", hasty.cancelling());
  });
  CHECK(trace.take() ==
        "[3] cleanup 1 | [5] cleanup 2 | [6] CancelledError() | [8] cleanup 1 | "
        "[9] cleanup interrupted | [10] CancelledError() 2");
}

TEST_CASE("an error of the clean-up takes the place of the cancellation") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      try {
        await(asyncio::sleep(10s));
      } catch (const CancelledError&) {
        turns(1);
        throw fiber::ValueError("in cleanup");
      }
    });
    turns(1);
    task.cancel();
    turns(2);
    trace(task.cancelled(), " ", task.exception());
  });
  CHECK(trace.take() == "[4] False ValueError('in cleanup')");
}

TEST_CASE("catch (std::exception&) lets a cancellation pass") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      try {
        await(asyncio::sleep(10s));
      } catch (const std::exception&) {
        trace("caught");
      }
    });
    turns(1);
    task.cancel();
    turns(1);
    trace("cancelled ", task.cancelled());
  });
  CHECK(trace.take() == "[3] cancelled True");
}

TEST_CASE("a cancellation that uncancel takes back to zero before it is delivered is dropped") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      const auto self = asyncio::current_task();
      self.cancel();
      trace("uncancel -> ", self.uncancel());
      turns(1);
      trace("not delivered");
    });
    await(task);
    auto twice = create_task([&] {
      const auto self = asyncio::current_task();
      self.cancel();
      self.cancel();
      trace("uncancel -> ", self.uncancel());
      try {
        turns(1);
      } catch (const CancelledError&) {
        trace("delivered");
      }
    });
    await(twice);
  });
  CHECK(trace.take() ==
        "[2] uncancel -> 0 | [3] not delivered | [5] uncancel -> 1 | [6] delivered");
}

TEST_CASE("a sleep that is cancelled while its deadline passes leaves nothing in the queue") {
  Trace trace;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::testing::VirtualClock clock;
  clock.attach(loop);
  loop.run_until_complete([&] {
    const auto late = [&](auto wait) {
      auto task = create_task([&] {
        try {
          wait();
        } catch (const CancelledError&) {
          trace("cancelled");
          throw;
        }
      });
      turns(2);
      task.cancel();
      clock.advance(20ms);  // both are in the next batch: the task, and the timer behind it
      turns(3);
      trace("goes on ", task.cancelled());
    };
    late([] { await(asyncio::sleep(10ms)); });
    const auto never = get_running_loop().create_future();
    late([&] { await(asyncio::wait(std::vector{never}, {.timeout = 10ms})); });
    late([&] { asyncio::with(asyncio::timeout(10ms), [&] { await(never); }); });
    late([&] {
      for (auto next : asyncio::as_completed(std::vector{never}, {.timeout = 10ms}))
        await(std::move(next));
    });
  });
  loop.close();
  CHECK(trace.take() ==
        "[4] cancelled | [6] goes on True | [9] cancelled | [11] goes on True | [14] cancelled | "
        "[16] goes on True | [19] cancelled | [21] goes on True");
}
