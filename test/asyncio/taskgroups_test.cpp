#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::TaskGroup;

namespace {

int cancelling() { return asyncio::current_task().cancelling(); }

}  // namespace

TEST_CASE(
    "a group waits for its tasks, two iterations beyond the last, and not if there are none") {
  Trace trace;
  run([&] {
    const auto worker = asyncio::async([&](std::string name, int count) {
      turns(count);
      trace(name, " done");
    });
    asyncio::with(TaskGroup(), [&](TaskGroup& group) {
      group.create_task(worker("a", 2));
      group.create_task(worker("b", 0));
      trace("body end");
    });
    trace("group exited");
    auto marker = asyncio::create_task([&] { trace("marker"); });
    asyncio::with(TaskGroup(), [] {});
    trace("empty group exited");
    await(marker);
  });
  CHECK(trace.take() ==
        "[1] body end | [2] b done | [4] a done | [6] group exited | [6] empty group exited | "
        "[7] marker");
}

TEST_CASE("a task that fails cancels its siblings and the block, and the count is restored") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        group.create_task([&] {
          const AtEnd end([&] { trace("a finally"); });
          until_cancelled([&] { trace("a cancelled"); })();
        });
        group.create_task([&] {
          turns(1);
          trace("bad raises");
          throw fiber::ValueError("1");
        });
        until_cancelled([&] { trace("body cancelled, cancelling() = ", cancelling()); })();
      });
    } catch (const fiber::ExceptionGroup& error) {
      trace(error.exceptions(), " cancelling() = ", cancelling());
    }
  });
  CHECK(trace.take() ==
        "[3] bad raises | [5] a cancelled | [5] a finally | [5] body cancelled, cancelling() = 1 | "
        "[7] [ValueError('1')] cancelling() = 0");
}

TEST_CASE("tasks of a group may make others while the group waits") {
  Trace trace;
  run([&] {
    asyncio::with(TaskGroup(), [&](TaskGroup& group) {
      for (int n : {1, 2})
        group.create_task([&, n] {
          trace("child ", n);
          turns(1);
          group.create_task([&, n] { trace("leaf ", n); });
          trace("child end ", n);
        });
    });
    trace("group done");
  });
  CHECK(trace.take() ==
        "[2] child 1 | [2] child 2 | [3] child end 1 | [3] child end 2 | [4] leaf 1 | "
        "[4] leaf 2 | [6] group done");
}

TEST_CASE("errors come in the order in which they happened, those of the clean-up with them") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        group.create_task(until_cancelled([] { throw fiber::ValueError("late"); }));
        group.create_task(until_cancelled([] {
          turns(1);
          throw fiber::LookupError("cleanup");
        }));
        group.create_task([] {
          turns(1);
          throw fiber::ValueError("early");
        });
        group.create_task(until_cancelled([] {}));
      });
    } catch (const fiber::ExceptionGroup& error) {
      trace(error.repr(), " ", error.what());
    }
  });
  CHECK(trace.take() ==
        "[8] ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('early'), "
        "ValueError('late'), LookupError('cleanup')]) "
        "unhandled errors in a TaskGroup (3 sub-exceptions): ValueError: early; ValueError: late; "
        "LookupError: cleanup");
}

TEST_CASE("the block's own error is the last") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        for (const char* text : {"c1", "c2"})
          group.create_task([text] { throw fiber::ValueError(text); });
        turns(1);
        throw fiber::OSError("body");
      });
    } catch (const std::exception&) {
      trace(caught());
    }
  });
  CHECK(trace.take() ==
        "[4] ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('c1'), "
        "ValueError('c2'), OSError('body')])");
}

TEST_CASE("one error makes a group too, whether of a task or of the block") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        group.create_task([] { throw fiber::ValueError("1"); });
      });
    } catch (const fiber::ExceptionGroup& error) {
      trace(error.repr(), " ", error.what());
    }
  });
  CHECK(trace.take() ==
        "[4] ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('1')]) "
        "unhandled errors in a TaskGroup (1 sub-exception): ValueError: 1");
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        group.create_task(until_cancelled([&] { trace("child cancelled"); }));
        turns(1);
        throw fiber::OSError("body");
      });
    } catch (...) {
      trace(caught());
    }
  });
  CHECK(trace.take() ==
        "[3] child cancelled | "
        "[5] ExceptionGroup('unhandled errors in a TaskGroup', [OSError('body')])");
}

TEST_CASE(
    "a group whose task is cancelled from outside: an error wins, and the cancel is re-armed") {
  Trace trace;
  run([&] {
    const auto parent = [&](std::function<void()> second) {
      return asyncio::create_task([&trace, second] {
        try {
          asyncio::with(TaskGroup(), [&](TaskGroup& group) {
            group.create_task(until_cancelled([&] { trace("c1 cancelled"); }));
            group.create_task(second);
          });
        } catch (...) {
          trace("p saw ", caught(), " cancelling ", cancelling());
          try {
            await(asyncio::sleep(0));
            trace("next await passed");
          } catch (const CancelledError&) {
            trace("next await cancelled");
          }
          throw;
        }
      });
    };
    for (const std::function<void()>& second :
         {std::function<void()>(until_cancelled([&] { trace("c2 cancelled"); })),
          std::function<void()>(until_cancelled([] { throw fiber::ValueError("cleanup"); }))}) {
      const auto task = parent(second);
      turns(2);
      trace("cancel");
      task.cancel();
      await(asyncio::wait(std::vector{task}));
      trace("t.cancelled ", task.cancelled(), " ", task.cancelling());
      if (!task.cancelled()) CHECK(task.exception() != nullptr);
    }
  });
  CHECK(trace.take() ==
        "[3] cancel | [5] c1 cancelled | [5] c2 cancelled | "
        "[7] p saw CancelledError() cancelling 1 | [8] next await passed | "
        "[10] t.cancelled True 1 | [12] cancel | [14] c1 cancelled | "
        "[16] p saw ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('cleanup')]) "
        "cancelling 1 | [17] next await cancelled | [19] t.cancelled False 1");
}

TEST_CASE("a cancel from outside together with a failing task keeps the count and is not lost") {
  Trace trace;
  run([&] {
    const auto task = asyncio::create_task([&] {
      try {
        asyncio::with(TaskGroup(), [&](TaskGroup& group) {
          group.create_task([] {
            turns(1);
            throw fiber::ValueError("1");
          });
          await(asyncio::sleep(10s));
        });
      } catch (const fiber::ExceptionGroup&) {
        trace("p ", caught(), " ", cancelling());
      }
      try {
        turns(1);
        trace("passed");
      } catch (const CancelledError&) {
        trace("re-armed ", cancelling());
        throw;
      }
    });
    turns(3);
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    trace(task.cancelled(), " ", task.cancelling());
  });
  CHECK(trace.take() ==
        "[5] p ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('1')]) 1 | "
        "[6] re-armed 1 | [8] True 1");
}

TEST_CASE("a task that is cancelled by hand is not missed") {
  Trace trace;
  run([&] {
    asyncio::Task<> a;
    asyncio::with(TaskGroup(), [&](TaskGroup& group) {
      a = group.create_task(asyncio::sleep(10s));
      group.create_task([&] {
        turns(4);
        trace("b finished");
      });
      turns(1);
      a.cancel();
    });
    trace("exit ok; a cancelled ", a.cancelled());
  });
  CHECK(trace.take() == "[6] b finished | [8] exit ok; a cancelled True");
}

TEST_CASE("a group takes no tasks before, after, and while it is being cancelled") {
  Trace trace;
  run([&] {
    const auto refused = [&](TaskGroup& group) {
      try {
        group.create_task([] {});
      } catch (const fiber::RuntimeError& error) {
        trace(error.what());
      }
    };
    TaskGroup group;
    refused(group);
    asyncio::with(group, [&] {
      group.create_task([&] {
        trace("child spawns a sibling while the group waits");
        group.create_task([] {});
      });
    });
    refused(group);
    trace(thrown_by([&] { asyncio::with(group, [] {}); }));
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& other) {
        other.create_task(until_cancelled([&] { refused(other); }));
        other.create_task([] { throw fiber::ValueError("1"); });
      });
    } catch (const fiber::ExceptionGroup&) {
      trace("group error");
    }
  });
  CHECK(trace.take() ==
        "[1] TaskGroup <TaskGroup> has not been entered | "
        "[2] child spawns a sibling while the group waits | "
        "[5] TaskGroup <TaskGroup entered> is finished | "
        "[5] RuntimeError('TaskGroup <TaskGroup entered> has already been entered') | "
        "[8] TaskGroup <TaskGroup tasks=1 errors=1 cancelling> is shutting down | "
        "[10] group error");
}

TEST_CASE("a refused coroutine is closed: nothing says that it was never awaited") {
  Log log;
  run([&] {
    TaskGroup group;
    CHECK(thrown_by([&] { group.create_task(asyncio::async([] {})()); }) ==
          "RuntimeError('TaskGroup <TaskGroup> has not been entered')");
  });
  CHECK(log.take().empty());
}

TEST_CASE("the error of an inner group is one element of the outer one's") {
  Trace trace;
  run([&] {
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& outer) {
        outer.create_task(until_cancelled([&] { trace("outer child cancelled"); }));
        asyncio::with(TaskGroup(), [&](TaskGroup& inner) {
          inner.create_task([] {
            turns(1);
            throw fiber::ValueError("1");
          });
        });
      });
    } catch (...) {
      trace(caught());
    }
  });
  CHECK(trace.take() ==
        "[6] outer child cancelled | "
        "[8] ExceptionGroup('unhandled errors in a TaskGroup', "
        "[ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('1')])])");
}

TEST_CASE("a timeout around a group: TimeoutError if the tasks obey, the group if one fails") {
  std::string trace;
  run([&] {
    for (const std::function<void()>& child :
         {std::function<void()>(until_cancelled([] {})),
          std::function<void()>(until_cancelled([] { throw fiber::ValueError("cleanup"); }))}) {
      try {
        asyncio::with(asyncio::timeout(10ms), [&] {
          asyncio::with(TaskGroup(), [&](TaskGroup& group) {
            group.create_task(asyncio::sleep(10s));
            group.create_task(child);
          });
        });
      } catch (...) {
        trace += caught() + " cancelling " + std::to_string(cancelling()) + "\n";
      }
      await(asyncio::sleep(0));
    }
  });
  CHECK(
      trace ==
      "TimeoutError() cancelling 0\n"
      "ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('cleanup')]) cancelling 0\n");
}

TEST_CASE("a second cancel while the group waits is not passed on, and counted") {
  Trace trace;
  run([&] {
    const auto task = asyncio::create_task([&] {
      try {
        asyncio::with(TaskGroup(), [&](TaskGroup& group) {
          group.create_task([&] {
            try {
              await(asyncio::sleep(10s));
            } catch (const CancelledError&) {
              trace("slow: cancel 1");
            }
            try {
              turns(5);
            } catch (const CancelledError&) {
              trace("slow: cancel 2");
            }
            trace("slow cleanup done");
          });
        });
      } catch (...) {
        trace("p ", caught(), " ", cancelling());
        throw;
      }
    });
    turns(4);
    task.cancel();
    turns(3);
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    trace(task.cancelled());
  });
  CHECK(trace.take() ==
        "[7] slow: cancel 1 | [12] slow cleanup done | [14] p CancelledError() 2 | [16] True");
}

TEST_CASE("KeyboardInterrupt and SystemExit are thrown as they are") {
  Trace trace;
  const std::string exit = thrown_by([&] {
    run([&] {
      try {
        asyncio::with(TaskGroup(), [&](TaskGroup& group) {
          group.create_task([&] {
            turns(1);
            trace("exit");
            throw fiber::SystemExit(3);
          });
        });
      } catch (...) {
        trace("main saw ", caught());
        throw;
      }
    });
  });
  CHECK(exit == "SystemExit(3)");
  CHECK(trace.take() == "[3] exit | [4] main saw SystemExit(3)");
  const std::string interrupt = thrown_by([&] {
    run([&] {
      try {
        asyncio::with(TaskGroup(), [&](TaskGroup& group) {
          group.create_task(until_cancelled([&] { trace("child cancelled"); }));
          turns(1);
          throw fiber::KeyboardInterrupt();
        });
      } catch (...) {
        trace("main saw ", caught());
        throw;
      }
    });
  });
  CHECK(interrupt == "KeyboardInterrupt()");
  CHECK(trace.take() == "[3] child cancelled | [5] main saw KeyboardInterrupt()");
}

TEST_CASE("other exceptions that no std::exception handler catches make a BaseExceptionGroup") {
  run([] {
    CHECK(thrown_by([] {
            asyncio::with(TaskGroup(), [](TaskGroup& group) {
              group.create_task([] { throw fiber::BaseException("base"); });
            });
          }) == "BaseExceptionGroup('unhandled errors in a TaskGroup', [BaseException('base')])");
  });
}

TEST_CASE("tasks of a group have names and results, and may be awaited") {
  run([] {
    asyncio::with(TaskGroup(), [](TaskGroup& group) {
      auto task = group.create_task([] { return 7; }, {.name = "seven"});
      CHECK(task.get_name() == "seven");
      CHECK(group.repr() == "<TaskGroup tasks=1 entered>");
      CHECK(await(task) == 7);
    });
    CHECK(asyncio::with(TaskGroup(), [] { return 8; }) == 8);
  });
}

TEST_CASE("a task that fails while its group is being cancelled does not cancel the parent again") {
  Trace trace;
  run([&] {
    const asyncio::TaskRef parent = asyncio::current_task();
    try {
      asyncio::with(TaskGroup(), [&](TaskGroup& group) {
        group.create_task(until_cancelled([] { throw fiber::ValueError("b"); }));
        group.create_task(until_cancelled([&] {
          turns(3);
          trace("cancelling ", parent.cancelling());
        }));
        turns(1);
        throw fiber::ValueError("a");
      });
    } catch (...) {
      trace(caught());
    }
  });
  CHECK(trace.take() ==
        "[6] cancelling 0 | [8] ExceptionGroup('unhandled errors in a TaskGroup', "
        "[ValueError('b'), ValueError('a')])");
}
