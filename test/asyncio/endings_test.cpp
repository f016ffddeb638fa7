// Destructors that run at the end of a task may run code of the user's, which may switch: wherever
// that happens, the loop goes on.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

// Returns a greenlet that is unwound, by two switches, when its last handle goes.
fiber::greenlet suspended(Trace& trace, const std::string& name) {
  fiber::greenlet made([&trace, name] {
    const AtEnd end([&] { trace(name, asyncio::current_task() ? " in a task" : ""); });
    fiber::getcurrent().parent().switch_();
  });
  made.switch_();
  return made;
}

// Returns a callable that holds such a greenlet and returns it.
auto returning(Trace& trace, const std::string& name) {
  return [held = suspended(trace, name)]() mutable { return std::move(held); };
}

template <class F>
class OnDeath {
 public:
  explicit OnDeath(F function) : function_(std::move(function)) {}
  OnDeath(OnDeath&& other) noexcept
      : function_(std::move(other.function_)), alive_(std::exchange(other.alive_, false)) {}
  ~OnDeath() {
    if (alive_) function_();
  }

 private:
  F function_;
  bool alive_ = true;
};

void all_endings(Trace& trace) {
  { const auto task = create_task(returning(trace, "result")); }
  turns(3);
  {
    const auto task = create_task(returning(trace, "unstarted"));
    task.cancel();
  }
  turns(3);
  {
    const auto before = create_task([] {});
    const auto task = create_task(returning(trace, "unstarted after another"));
    task.cancel();
  }
  turns(3);
  {
    const auto both =
        asyncio::gather(create_task(returning(trace, "gathered")), create_task([] {}));
  }
  turns(4);
  {
    const auto before = create_task([] { turns(1); });
    const auto both = asyncio::gather(create_task(returning(trace, "gathered, after an end")),
                                      create_task([] {}));
    const auto after = create_task([] { turns(1); });
  }
  turns(4);
  {
    const auto outer = create_task(
        [&trace] {
          { const auto task = create_task(returning(trace, "eager"), {.eager_start = true}); }
          turns(1);
        },
        {.eager_start = true});
  }
  turns(3);
}

constexpr const char* kAllEndings =
    "[2] result | [5] unstarted | [8] unstarted after another | [12] gathered | "
    "[16] gathered, after an end | [18] eager in a task";

}  // namespace

TEST_CASE("a suspended greenlet may die with a task, wherever the task ends") {
  Trace trace;
  run([&] { all_endings(trace); });
  CHECK(trace.take() == kAllEndings);
}

TEST_CASE("a suspended greenlet may die with a task whose loop runs in a greenlet of its own") {
  Trace trace;
  fiber::greenlet runs([&] { run([&] { all_endings(trace); }); });
  runs.switch_();
  CHECK(runs.dead());
  CHECK(trace.take() == kAllEndings);
}

TEST_CASE("a suspended greenlet may die with a task whose loop runs in an exception handler") {
  Trace trace;
  try {
    throw fiber::ValueError("outer");
  } catch (const fiber::ValueError&) {
    run([&] { all_endings(trace); });
    CHECK(caught() == "ValueError('outer')");
  }
  CHECK(trace.take() == kAllEndings);
}

TEST_CASE("greenlets that die with a task may start greenlets and tasks, and cannot wait") {
  Trace trace;
  run([&] {
    const auto dying = [&trace] {
      return OnDeath([&trace] {
        fiber::greenlet([&trace] { trace("greenlet"); }).switch_();
        CHECK(thrown_by([] { await(asyncio::sleep(0)); }).starts_with("RuntimeError('await()"));
        const auto task = create_task([&trace] { trace("task"); });
      });
    };
    {
      const auto task = create_task([&dying] { return dying(); });
    }
    turns(3);
    {
      const auto task = create_task([held = dying()] { static_cast<void>(held); });
      task.cancel();
    }
    turns(3);
  });
  CHECK(trace.take() == "[2] greenlet | [3] task | [5] greenlet | [6] task");
}

TEST_CASE("the greenlet that runs the loop outlives its last handle") {
  Trace trace;
  fiber::greenlet runs([&] {
    const asyncio::EventLoop loop = virtual_loop();
    {
      const auto task = loop.create_task([&] {
        runs = nullptr;
        loop.stop();
      });
    }
    loop.run_forever();
    trace.outside("returned");
    loop.close();
  });
  runs.switch_();
  CHECK(trace.take() == "returned");
}

TEST_CASE("a greenlet that waits for the loop in a task outlives its last handle") {
  for (const bool in_time : {false, true}) {
    Trace trace;
    run([&] {
      fiber::greenlet inner;
      const auto task = create_task([&] {
        inner = fiber::greenlet([&] {
          const AtEnd end([&] { trace("left"); });
          if (in_time)
            await(asyncio::sleep(1s));
          else
            await(asyncio::sleep(0));
          trace("went on");
        });
        inner.switch_();
        trace("back");
      });
      turns(1);
      inner = nullptr;
      trace("dropped");
      await(task);
    });
    CHECK(trace.take() == (in_time ? "[2] dropped | [4] went on | [4] left | [4] back"
                                   : "[2] dropped | [3] went on | [3] left | [3] back"));
  }
}

TEST_CASE("a greenlet whose parent waits ends in the task, or the callback, that runs it") {
  Trace trace;
  run([&] {
    const auto make = [&](const char* name, bool fails) {
      return fiber::greenlet([&trace, name, fails] {
        await(asyncio::sleep(1ms));
        trace(name);
        if (fails) throw fiber::ValueError(name);
        return name;
      });
    };
    fiber::greenlet good = make("good", false);
    fiber::greenlet bad = make("bad", true);
    const auto task = create_task([&] {
      trace(good.switch_().as<std::string>(), " returned");
      trace(thrown_by([&] { bad.switch_(); }));
      trace(good.dead() && good.switch_(5).as<int>() == 5);
    });
    await(task);
    fiber::greenlet plain([&] { trace("plain"); });
    const auto done = get_running_loop().create_future();
    get_running_loop().call_soon([&] {
      plain.switch_();
      trace("back in the callback");
      done.set_result();
    });
    await(done);
  });
  CHECK(trace.take() ==
        "[4] good | [4] good returned | [6] bad | [6] ValueError('bad') | [6] True | "
        "[8] plain | [8] back in the callback");
}

TEST_CASE("a greenlet whose parent waits ends in the destructor that runs it") {
  Trace trace;
  const auto runs_in_destructors = [&] {
    // Each of them ends when it is switched to again; its parent, this task, waits by then.
    std::vector<fiber::greenlet> made;
    for (int i = 0; i < 3; ++i)
      made.emplace_back([i] {
            fiber::getcurrent().parent().switch_();
            return i;
          })
          .switch_();
    const auto dying = [&](int i) {
      return OnDeath([&, i] { trace(made[static_cast<std::size_t>(i)].switch_().as<int>()); });
    };
    const auto waits = create_task([] { turns(3); });  // the first end is on its stack
    const auto unstarted = create_task([held = dying(0)] { static_cast<void>(held); });
    unstarted.cancel();
    {
      const auto ends = create_task([&dying] { return dying(1); });
    }
    {
      const auto gathers =
          asyncio::gather(create_task([&dying] { return dying(2); }), create_task([] {}));
    }
    await(waits);
    trace("goes on");
  };
  run(runs_in_destructors);
  CHECK(trace.take() == "[2] 0 | [2] 1 | [3] 2 | [6] goes on");
  // The creator of an eager task is its hub.
  run([&] { await(create_task(runs_in_destructors, {.eager_start = true})); });
  CHECK(trace.take() == "[2] 0 | [2] 1 | [3] 2 | [6] goes on");
}

TEST_CASE("a task whose greenlet gives way is not continued by the end of another greenlet") {
  for (const bool in_time : {false, true}) {
    Trace trace;
    run([&] {
      fiber::greenlet child;
      fiber::greenlet own;
      const auto waits = create_task(
          [&] {
            own = fiber::getcurrent();
            child = fiber::greenlet([] {
              fiber::getcurrent().parent().switch_();
              return 1;
            });
            child.switch_();
            fiber::greenlet([&] { await(asyncio::sleep(in_time ? 1ms : 0ms)); }).switch_();
            trace("back in ", asyncio::current_task().get_name());
          },
          {.name = "first"});
      const auto other = create_task([&] {
        trace(thrown_by([&] { own.switch_(); }).find("is suspended in an await") !=
              std::string::npos);
        trace(child.switch_().as<int>());
      });
      await(asyncio::gather(waits, other));
      own = nullptr;
    });
    CHECK(trace.take() == (in_time ? "[2] True | [2] 1 | [5] back in first"
                                   : "[2] True | [2] 1 | [3] back in first"));
  }
}

TEST_CASE("the end of a greenlet in an eager step does not continue the task that made it") {
  Trace trace;
  const auto makes_eagerly = [&](const std::string& name) {
    fiber::greenlet child([] {
      fiber::getcurrent().parent().switch_();
      return 1;
    });
    child.switch_();
    // The creator is a greenlet, and the parent of the other one waits for what this starts.
    fiber::greenlet([&] {
      const auto eager = create_task(
          [&] {
            trace(child.switch_().as<int>(), " in ", asyncio::current_task().get_name());
            turns(1);
            trace("eager task ends");
          },
          {.name = "eager", .eager_start = true});
      trace("made");
    }).switch_();
    const asyncio::TaskRef task = asyncio::current_task();
    trace("back in ", task ? task.get_name() : name);
  };
  run([&] {
    await(create_task([&] { makes_eagerly(""); }, {.name = "maker"}));
    turns(1);
    get_running_loop().call_soon([&] { makes_eagerly("callback"); });
    turns(3);
  });
  CHECK(trace.take() ==
        "[2] 1 in eager | [2] made | [2] back in maker | [3] eager task ends | "
        "[5] 1 in eager | [5] made | [5] back in callback | [6] eager task ends");
}

TEST_CASE("a task's stack can be asked for by a destructor that runs on it") {
  std::size_t found = 0;
  std::size_t unwound = 0;
  asyncio::Task<> waits;
  const asyncio::EventLoop loop = virtual_loop();
  loop.run_until_complete(loop.create_task([&] {
    waits = create_task([&] {
      const AtEnd end([&] { unwound = asyncio::TaskRef(waits).get_stack().size(); });
      await(get_running_loop().create_future());
    });
    // Cancelled before its first step, it ends on the stack of the task that has just suspended.
    const auto unstarted = create_task(
        [held = OnDeath([&] { found = waits.get_stack().size(); })] { static_cast<void>(held); });
    unstarted.cancel();
    turns(2);
  }));
  CHECK(found > 0);
  asyncio::set_log_handler([](const asyncio::LogRecord&) {});  // a task is destroyed unfinished
  loop.close();
  asyncio::set_log_handler({});
  CHECK(unwound > 0);
}

// ThreadSanitizer checks which thread counts the references.
TEST_CASE("the parent of a task's greenlet may have passed to another thread when the task dies") {
  run([] {
    const fiber::greenlet pending([] {});
    auto task = create_task([&] { fiber::getcurrent().parent(pending); });
    await(task);
    std::atomic<bool> moved{false};
    std::atomic<bool> died{false};
    std::thread other([&] {
      pending.parent(fiber::getcurrent());
      moved = true;
      do {
        const fiber::greenlet copy = pending;
      } while (!died.load(std::memory_order_relaxed));
    });
    while (!moved) std::this_thread::yield();
    task = {};
    died.store(true, std::memory_order_relaxed);
    other.join();
  });
}
