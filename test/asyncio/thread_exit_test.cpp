// Loops and the threads that run them: a thread, or the process, ends while a loop or its tasks are
// suspended on it, and a loop changes its thread.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>

#include <pthread.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/log.hpp"
#include "support/platform.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;

namespace {

// Runs a loop with two tasks, one of which switches to the thread's first greenlet.
void leave_a_loop(Events& events, const fiber::greenlet& first) {
  const AtEnd end([&] { events("hub"); });
  asyncio::run([&] {
    const AtEnd main_end([&] { events("main"); });
    const auto waits = create_task([&] {
      const AtEnd task_end([&] { events("waits"); });
      await(asyncio::sleep(1h));
    });
    const auto leaves = create_task([&] {
      const AtEnd task_end([&] { events("leaves"); });
      first.switch_();
      events("continued");
    });
    await(leaves);
  });
  events("returned");
}

}  // namespace

TEST_CASE(
    "a thread that ends while a task of it has left the loop unwinds the tasks and the loop") {
  Events events;
  std::thread([&] {
    const fiber::greenlet first = fiber::getcurrent();
    fiber::greenlet runs([&] { leave_a_loop(events, first); });
    runs.switch_();
    events("ends");
  }).join();
  CHECK(events.take() == "ends leaves main waits hub");
}

TEST_CASE("a thread may end after main's first step, or a nested greenlet, has left the loop") {
  Events events;
  std::thread([&] {
    const fiber::greenlet first = fiber::getcurrent();
    fiber::greenlet runs([&] {
      const AtEnd end([&] { events("hub"); });
      asyncio::run([&] {
        const AtEnd main_end([&] { events("main"); });
        const auto other = create_task([&] { events("other"); });
        fiber::greenlet inner([&] {
          const AtEnd inner_end([&] { events("inner"); });
          first.switch_();
        });
        inner.switch_();
        events("main again");
      });
    });
    runs.switch_();
    runs = nullptr;
  }).join();
  CHECK(events.take() == "inner main hub");
}

TEST_CASE("a thread may end after a callback or an exception handler has left the loop") {
  for (const bool in_handler : {false, true}) {
    for (const bool debug : {false, true}) {
      Events events;
      std::thread([&] {
        const fiber::greenlet first = fiber::getcurrent();
        fiber::greenlet runs([&] {
          const AtEnd end([&] { events("hub"); });
          asyncio::run(
              [&] {
                const AtEnd main_end([&] { events("main"); });
                const asyncio::EventLoop loop = asyncio::get_running_loop();
                const auto leave = [&] {
                  const AtEnd left([&] { events("left"); });
                  first.switch_();
                };
                loop.set_exception_handler([&](const auto&, const auto&) {
                  if (in_handler)
                    leave();
                  else
                    events("reported");
                });
                loop.call_soon([&] {
                  if (in_handler) throw fiber::ValueError("x");
                  leave();
                });
                await(asyncio::sleep(1h));
              },
              {.debug = debug});
        });
        runs.switch_();
      }).join();
      CHECK(events.take() == "main left hub");
    }
  }
}

TEST_CASE("a thread may end after an eager task has left the loop") {
  for (const bool in_task : {false, true}) {
    Events events;
    std::thread([&] {
      const fiber::greenlet first = fiber::getcurrent();
      fiber::greenlet runs([&] {
        const AtEnd end([&] { events("hub"); });
        asyncio::run([&] {
          const AtEnd main_end([&] { events("main"); });
          const auto leave = [&] {
            const AtEnd maker_end([&] { events("maker"); });
            const auto eager = create_task(
                [&] {
                  const AtEnd left([&] { events("eager"); });
                  first.switch_();
                },
                {.eager_start = true});
            events("made");
          };
          if (in_task)
            leave();
          else
            asyncio::get_running_loop().call_soon(leave);
          await(asyncio::sleep(1h));
        });
      });
      runs.switch_();
    }).join();
    CHECK(events.take() == (in_task ? "eager maker main hub" : "eager main maker hub"));
  }
}

TEST_CASE("the runner closes generators, callbacks and its loop") {
  Events events;
  asyncio::EventLoop loop;
  std::thread([&] {
    const fiber::greenlet first = fiber::getcurrent();
    fiber::greenlet runs([&] {
      asyncio::run([&] {
        loop = asyncio::get_running_loop();
        fiber::Generator<int> numbers([&](auto& self) {
          const AtEnd end([&] { events("generator"); });
          self.yield(1);
          self.yield(2);
        });
        numbers.next();
        loop.call_soon([&] { first.switch_(); });
        loop.call_soon([&] { events("called"); });
        loop.call_later(1h, [&] { events("late"); });
        await(asyncio::sleep(2h));
      });
    });
    runs.switch_();
  }).join();
  CHECK(events.take() == "generator called");
  CHECK(loop.is_closed());
}

TEST_CASE("a loop that a callback left ends with the last handle of its greenlet") {
  for (const bool in_handler : {false, true}) {
    Events events;
    const fiber::greenlet first = fiber::getcurrent();
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    loop.set_exception_handler([&](const auto&, const auto&) { first.switch_(); });
    fiber::greenlet runs([&] {
      const AtEnd end([&] { events("hub"); });
      loop.call_soon([&] {
        if (in_handler) throw fiber::ValueError("x");
        first.switch_();
      });
      loop.call_soon([&] { events("called"); });
      loop.run_forever();
    });
    runs.switch_();
    CHECK(loop.is_running());
    runs = nullptr;
    CHECK_FALSE(loop.is_running());
    CHECK(events.take() == "hub");
    loop.call_soon([&] { loop.stop(); });
    loop.run_forever();
    CHECK(events.take() == "called");
    loop.close();
  }
}

TEST_CASE("a task may refuse to go; a thread ends nevertheless") {
  Events events;
  std::thread([&] {
    const fiber::greenlet first = fiber::getcurrent();
    fiber::greenlet runs([&] {
      const AtEnd end([&] { events("hub"); });
      asyncio::run([&] {
        try {
          first.switch_();
        } catch (const fiber::GreenletExit&) {
          events("caught");
        }
        events(thrown_by([] { await(asyncio::sleep(0)); }));
        events(thrown_by([] { static_cast<void>(create_task([] {})); }));
      });
    });
    runs.switch_();
  }).join();
  CHECK(events.take() ==
        "caught RuntimeError('await() was called outside of a task: start one with asyncio::run or "
        "create_task') RuntimeError('no running event loop') hub");
}

namespace {

// Makes `loop` run on the calling thread and leave two tasks there, one of which is ready.
void leave_tasks(Events& events, const asyncio::EventLoop& loop) {
  loop.run_until_complete(asyncio::async([&] {
    const auto waits = create_task(
        [&] {
          const AtEnd end([&] { events("waits"); });
          await(asyncio::sleep(1h));
        },
        {.name = "waits"});
    const auto ready = create_task(
        [&] {
          const AtEnd end([&] { events("ready"); });
          await(asyncio::sleep(0));
          await(asyncio::sleep(0));
          await(asyncio::sleep(0));
        },
        {.name = "ready"});
    turns(1);
    const auto unstarted = create_task([&] { events("unstarted"); }, {.name = "unstarted"});
    loop.stop();
  })());
}

void note_reports(Events& events, const asyncio::EventLoop& loop) {
  loop.set_exception_handler([&](const auto&, const asyncio::ExceptionContext& context) {
    const std::string task = asyncio::repr(context.task);
    const std::size_t name = task.find('\'') + 1;
    events(context.message + " " + task.substr(name, task.find('\'', name) - name));
  });
}

constexpr const char* kUnwound =
    "Task was destroyed but it is pending! waits waits "
    "Task was destroyed but it is pending! ready ready";

}  // namespace

TEST_CASE("tasks that a stopped loop has suspended on a thread are unwound when the thread ends") {
  Events events;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  note_reports(events, loop);
  std::thread([&] { leave_tasks(events, loop); }).join();
  CHECK(events.take() == kUnwound);
  loop.run_until_complete(asyncio::async([&] { turns(2); })());
  CHECK(events.take() == "unstarted");
  loop.close();
}

TEST_CASE("a loop may be run and closed on another thread once none of its tasks is on the first") {
  Events events;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  note_reports(events, loop);
  std::binary_semaphore left(0), tried(0);
  std::thread thread([&] {
    leave_tasks(events, loop);
    left.release();
    tried.acquire();
  });
  left.acquire();
  const std::string what =
      " the event loop on this thread: its tasks are on the thread that ran it before, and fibers "
      "never change their thread; do it there, or when that thread has ended')";
  CHECK(thrown_by([&] { loop.run_forever(); }) == "RuntimeError('Cannot run" + what);
  CHECK(thrown_by([&] { loop.close(); }) == "RuntimeError('Cannot close" + what);
  CHECK_FALSE(loop.is_closed());
  tried.release();
  thread.join();
  CHECK(events.take() == kUnwound);
  loop.close();
}

TEST_CASE("a loop without handles is closed when the thread ends that has its tasks") {
  Events events;
  asyncio::EventLoop loop = asyncio::new_event_loop();
  note_reports(events, loop);
  std::binary_semaphore left(0), dropped(0);
  std::thread thread([&] {
    leave_tasks(events, loop);
    left.release();
    dropped.acquire();
  });
  left.acquire();
  loop = {};
  dropped.release();
  thread.join();
  CHECK(events.take() ==
        std::string(kUnwound) + " Task was destroyed but it is pending! unstarted");
}

TEST_CASE("tasks that are made before another thread runs their loop are that thread's") {
  Events events;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const auto task = loop.create_task(asyncio::async([&] {
    fiber::greenlet inner([&] {
      await(asyncio::sleep(0));
      events("greenlet");
    });
    inner.switch_();
    fiber::Generator<int> numbers([](auto& self) {
      self.yield(1);
      await(asyncio::sleep(0));
      self.yield(2);
    });
    for (const int number : numbers) events(number);
    const fiber::greenlet self = fiber::getcurrent();
    events(self.parent() == nullptr ? "root" : "child");
    return 5;
  })());
  const auto never = loop.create_task(asyncio::async([&] { events("never"); })());
  never.cancel();
  std::thread([&] { loop.run_until_complete(task); }).join();
  CHECK(events.take() == "greenlet 1 2 child");
  CHECK(task.result() == 5);
  CHECK(never.cancelled());
  loop.close();
}

TEST_CASE("exit() unwinds a loop that its thread has left, and one in whose task it is called") {
  for (const bool in_task : {false, true}) {
    const auto ended = run_forked([in_task] {
      const auto print = [](const char* text) {
        std::fputs(text, stdout);
        std::fflush(stdout);
      };
      const fiber::greenlet first = fiber::getcurrent();
      fiber::greenlet runs([&] {
        const AtEnd end([&] { print("hub\n"); });
        asyncio::run([&] {
          const AtEnd main_end([&] { print("main\n"); });
          const auto leaves = create_task([&] {
            const AtEnd task_end([&] { print("task\n"); });
            if (in_task) std::exit(3);
            first.switch_();
          });
          await(leaves);
        });
      });
      runs.switch_();
      std::exit(3);
    });
    CHECK(ended.out() == (in_task ? "main\nhub\n" : "task\nmain\nhub\n"));
    CHECK(ended.errors == "");
    CHECK(ended.status == 3);
  }
}

// ThreadSanitizer requires a thread to end on the stack on which it began.
#if !defined(FIBER_TSAN)
TEST_CASE("pthread_exit in a task ends the thread of the loop, and is logged") {
  if (support::lacks_forced_unwinding()) return;
  // In a child process: the descriptors of a loop whose thread is gone stay open.
  const auto ended = run_forked([] {
    const auto print = [](const char* text) {
      std::fputs(text, stdout);
      std::fflush(stdout);
    };
    std::thread([&] {
      asyncio::run([&] {
        const auto other = create_task([&] {
          const AtEnd task_end([&] { print("other\n"); });
          await(asyncio::sleep(1h));
        });
        await(asyncio::sleep(0));
        const auto leaves = create_task(
            [&] {
              const AtEnd task_end([&] { print("leaves\n"); });
              ::pthread_exit(nullptr);
            },
            {.name = "leaves"});
        await(leaves);
      });
      print("returned\n");
    }).join();
    std::_Exit(3);
  });
  CHECK(ended.out() == "leaves\nother\n");
  CHECK(ended.errors.starts_with("pthread_exit() or pthread_cancel() in <Task "));
  CHECK(ended.errors.find("name='leaves'") != std::string::npos);
  CHECK(ended.errors.ends_with("> ends the thread of the event loop, and all its tasks\n"));
  CHECK(ended.status == 3);
}

TEST_CASE("a thread that is cancelled in the middle of a step of its loop unwinds the loop") {
  if (support::lacks_forced_unwinding()) return;
  const auto ended = run_forked([] {
    std::thread([] {
      const AtEnd thread_end([] { std::puts("unwound"); });
      asyncio::run([] {
        auto [one, other] = fiber::socket::socketpair();
        auto [reader, writer] = await(asyncio::open_connection(std::move(one)));
        auto [other_reader, other_writer] = await(asyncio::open_connection(std::move(other)));
        writer.write("x");
        await(asyncio::sleep(0));
        ::pthread_cancel(::pthread_self());  // the next call that looks is the read of a step
        await(asyncio::sleep(0));
        await(asyncio::sleep(1h));
      });
    }).join();
    std::fflush(stdout);
    std::_Exit(3);
  });
  CHECK(ended.out() == "unwound\n");
  CHECK(ended.status == 3);
}

TEST_CASE("a thread that is being cancelled may post to a loop that sleeps") {
  if (support::lacks_forced_unwinding()) return;
  Events events;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const asyncio::Event posted;
    std::thread thread([&, loop] {
      ::pthread_cancel(::pthread_self());
      loop.call_soon_threadsafe([&] {
        events("posted");
        posted.set();
      });
      ::pthread_testcancel();
      events("goes on");
    });
    await(posted.wait());
    thread.join();
  });
  CHECK(events.take() == "posted");
}
#endif
