// The loop and other threads: executors, calls from outside, several loops at once.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/names.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

namespace futures = fiber::concurrent::futures;
using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

// Runs the function on another thread while the loop of this one goes on.
template <class F>
void beside(F function) {
  std::atomic<bool> over{false};
  std::thread thread([&] {
    function();
    over = true;
  });
  while (!over) await(asyncio::sleep(1ms));
  thread.join();
}

}  // namespace

TEST_CASE("run_coroutine_threadsafe gives a result, an error, or stops waiting") {
  std::vector<std::string> seen;
  std::mutex mutex;
  const auto see = [&](std::string what) {
    const std::lock_guard lock(mutex);
    seen.push_back(std::move(what));
  };
  asyncio::run([&] {
    const auto loop = get_running_loop();
    beside([&] {
      const auto doubled = asyncio::async([](int n) {
        turns(1);
        return 2 * n;
      });
      see(std::to_string(asyncio::run_coroutine_threadsafe(doubled(1), loop).result(5s)));
      see(thrown_by([&] {
        asyncio::run_coroutine_threadsafe([] { throw fiber::ValueError("2"); }, loop).result(5s);
      }));
      auto slow = asyncio::run_coroutine_threadsafe(
          [&] {
            try {
              await(asyncio::sleep(100s));
            } catch (const CancelledError&) {
              see("slow cancelled");
              throw;
            }
          },
          loop);
      see(thrown_by([&] { slow.result(10ms); }));
      see(slow.cancel() && slow.cancelled() ? "cancelled" : "not cancelled");
      auto itself = asyncio::run_coroutine_threadsafe([] { throw CancelledError(); }, loop);
      see(thrown_by([&] { itself.result(5s); }));
    });
    // The other thread has written before it ended; tasks that it cancelled are unwound here.
    await(asyncio::sleep(10ms));
  });
  std::string text;
  for (const std::string& each : seen)
    if (each != "slow cancelled") text += each + " | ";
  CHECK(text == "2 | ValueError('2') | TimeoutError() | cancelled | CancelledError() | ");
  CHECK(std::count(seen.begin(), seen.end(), "slow cancelled") == 1);
}

TEST_CASE("a coroutine sent to a loop that is closed is an error of the sender") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.close();
  const auto coroutine = asyncio::async([] { return 1; })();
  std::string thrown;
  std::thread([&] {
    auto sent = coroutine;
    thrown = thrown_by([&] { asyncio::run_coroutine_threadsafe(std::move(sent), loop); });
  }).join();
  coroutine.close();
  CHECK(thrown == "RuntimeError('Event loop is closed')");
}

TEST_CASE(
    "a coroutine that its loop does not finish is cancelled for the thread that has sent it") {
  Log log;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.set_exception_handler([](const auto&, const auto&) {});
  std::latch begun(1);
  std::thread thread([&] { loop.run_forever(); });
  auto waits = asyncio::run_coroutine_threadsafe(
      [&] {
        begun.count_down();
        await(asyncio::sleep(1h));
      },
      loop);
  begun.wait();
  loop.call_soon_threadsafe([&] { loop.stop(); });
  thread.join();
  CHECK_FALSE(waits.done());
  auto unstarted = asyncio::run_coroutine_threadsafe([] { return 5; }, loop);
  loop.close();
  CHECK(waits.cancelled());
  CHECK(unstarted.cancelled());
  CHECK(support::short_names(support::without_drops(log.take())) ==
        "WARNING RuntimeWarning: coroutine 'lambda' was never awaited");
  CHECK(loop.object().futures_alive == 0);
}

TEST_CASE("an error of the task factory reaches the thread that has sent the coroutine") {
  std::string thrown, reported;
  asyncio::run([&] {
    const auto loop = get_running_loop();
    loop.set_exception_handler(
        [&](const asyncio::EventLoop&, const asyncio::ExceptionContext& context) {
          reported = context.message + " " + fiber::repr(context.exception);
        });
    loop.set_task_factory(
        [](const auto&, const asyncio::CoroutineRef&, const auto&) -> asyncio::TaskRef {
          throw fiber::ValueError("no tasks today");
        });
    const auto coroutine = asyncio::async([] { return 1; })();
    beside([&] {
      auto sent = coroutine;
      auto future = asyncio::run_coroutine_threadsafe(std::move(sent), loop);
      thrown = thrown_by([&] { future.result(5s); });
    });
    coroutine.close();
    loop.set_task_factory(nullptr);
  });
  CHECK(thrown == "ValueError('no tasks today')");
  CHECK(reported == "Exception in callback ValueError('no tasks today')");
}

TEST_CASE("a job that is cancelled runs on; one that is queued is dropped an iteration later") {
  Trace trace;
  std::atomic<bool> running{false}, release{false}, ended{false}, queued_ran{false};
  asyncio::run([&] {
    const auto loop = get_running_loop();
    const auto pool =
        std::make_shared<futures::ThreadPoolExecutor>(futures::ThreadPoolOptions{.max_workers = 1});
    auto job = loop.run_in_executor(pool, [&] {
      running = true;
      while (!release) std::this_thread::yield();
      ended = true;
    });
    auto queued = loop.run_in_executor(pool, [&] { queued_ran = true; });
    auto last = loop.run_in_executor(pool, [] { return 5; });
    while (!running) std::this_thread::yield();
    auto waiter = create_task([&] {
      try {
        await(job);
      } catch (const CancelledError&) {
        trace("CancelledError, ended ", ended.load());
        throw;
      }
    });
    turns(1);
    waiter.cancel();
    queued.cancel();
    turns(1);
    trace("waiter ", waiter.done(), " job ", job.cancelled(), " queued ", queued.cancelled());
    release = true;
    const int five = await(last);
    trace("last ", five, " ended ", ended.load(), " queued ran ", queued_ran.load());
  });
  const std::string text = trace.take();
  CHECK(text.substr(0, text.rfind('[')) ==
        "[3] CancelledError, ended False | [3] waiter True job True queued True | ");
  CHECK(text.substr(text.rfind(']')) == "] last 5 ended True queued ran False");
}

TEST_CASE("a result arrives an iteration after the call that brings it, and wakes in the next") {
  Trace trace;
  asyncio::run([&] {
    futures::Future<int> source;
    CHECK(source.set_running_or_notify_cancel());
    auto future = asyncio::wrap_future(source);
    future.add_done_callback([&] { trace("callback"); });
    std::thread([&] { source.set_result(5); }).join();
    trace("thread finished, done ", future.done());
    const int result = await(future);
    trace("result ", result);
  });
  CHECK(trace.take() == "[1] thread finished, done False | [3] callback | [3] result 5");
}

TEST_CASE("jobs come back in the order in which they ended") {
  std::vector<int> order;
  asyncio::run([&] {
    std::mutex mutex;
    std::condition_variable changed;
    int turn = 0;
    const auto job = [&](int mine) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn == mine; });
      return mine;
    };
    const auto loop = get_running_loop();
    std::vector<asyncio::Future<int>> jobs;
    for (int mine : {2, 0, 1}) jobs.push_back(loop.run_in_executor(nullptr, job, mine));
    for (const auto& each : jobs)
      each.add_done_callback([&, each] {
        order.push_back(each.result());
        const std::lock_guard lock(mutex);
        turn = static_cast<int>(order.size());
        changed.notify_all();
      });
    await(asyncio::wait(jobs));
  });
  CHECK(order == std::vector{0, 1, 2});
}

TEST_CASE("wrap_future passes ends and cancellations on in both directions") {
  Trace trace;
  asyncio::run([&] {
    {
      futures::Future<int> source;
      auto wrapped = asyncio::wrap_future(source);
      source.cancel();
      const auto thrown = thrown_by([&] { await(wrapped); });
      trace(thrown, " ", wrapped.cancelled());
    }
    {
      futures::Future<int> source;
      auto wrapped = asyncio::wrap_future(source);
      wrapped.cancel();
      const bool at_once = source.cancelled();
      turns(1);
      trace(at_once, " then ", source.cancelled());
    }
    {
      futures::Future<int> source;
      source.set_running_or_notify_cancel();
      auto wrapped = asyncio::wrap_future(source);
      wrapped.cancel();
      turns(1);
      trace("running ", source.cancelled());
      source.set_result(1);
      turns(2);
    }
    futures::Future<int> source;
    source.set_result(3);
    auto wrapped = asyncio::wrap_future(source);
    const bool at_once = wrapped.done();
    trace(at_once, " ", await(wrapped));
    futures::Future<int> failing;
    auto failed = asyncio::wrap_future(failing);
    failing.set_exception(fiber::ValueError("x"));
    trace(thrown_by([&] { await(failed); }));
  });
  const std::string text = trace.take();
  CHECK(text.find("CancelledError() True") != std::string::npos);
  CHECK(text.find("False then True") != std::string::npos);
  CHECK(text.find("running False") != std::string::npos);
  CHECK(text.find("False 3") != std::string::npos);
  CHECK(text.find("ValueError('x')") != std::string::npos);
}

TEST_CASE("to_thread passes arguments, results, errors, and a copy of the context") {
  asyncio::run([] {
    const fiber::contextvars::ContextVar<int> variable("variable", 0);
    variable.set(1);
    const auto here = std::this_thread::get_id();
    const int sum = await(asyncio::to_thread(
        [&](int a, std::unique_ptr<int> b) {
          CHECK(std::this_thread::get_id() != here);
          CHECK(variable.get() == 1);
          variable.set(2);
          return a + *b;
        },
        1, std::make_unique<int>(2)));
    CHECK(sum == 3);
    CHECK(variable.get() == 1);
    CHECK(thrown_by([] { await(asyncio::to_thread([] { throw fiber::ValueError("x"); })); }) ==
          "ValueError('x')");
    CHECK(thrown_by([] { await(asyncio::to_thread([] { asyncio::current_task(); })); }) ==
          "RuntimeError('no running event loop')");
  });
}

TEST_CASE("the default executor can be replaced, and is not to be used once it is shut down") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    CHECK(thrown_by([&] { loop.set_default_executor(nullptr); }) ==
          "TypeError('executor must be ThreadPoolExecutor instance')");
    loop.set_default_executor(std::make_shared<futures::ThreadPoolExecutor>(
        futures::ThreadPoolOptions{.max_workers = 1}));
    CHECK(await(loop.run_in_executor(nullptr, [] { return 1; })) == 1);
    await(loop.shutdown_default_executor());
    CHECK(thrown_by([&] { static_cast<void>(loop.run_in_executor(nullptr, [] {})); }) ==
          "RuntimeError('Executor shutdown has been called')");
  });
}

TEST_CASE("a shutdown of the default executor that takes too long or is cancelled: jobs run on") {
  Log log;
  std::binary_semaphore go_on(0);
  std::vector<std::string> seen;
  const auto main = [&](auto&& shut_down) {
    asyncio::run([&] {
      const auto loop = get_running_loop();
      const auto job = loop.run_in_executor(nullptr, [&] { go_on.acquire(); });
      shut_down(loop);
      CHECK_FALSE(job.done());
      go_on.release();
      await(job);
    });
  };
  main([&](const asyncio::EventLoop& loop) { await(loop.shutdown_default_executor(1ms)); });
  CHECK(log.take() ==
        "WARNING RuntimeWarning: The executor did not finish joining its threads in time.");
  main([&](const asyncio::EventLoop& loop) {
    const auto shutdown = asyncio::create_task([&] { await(loop.shutdown_default_executor()); });
    turns(2);
    shutdown.cancel();
    CHECK(thrown_by([&] { await(shutdown); }) == "CancelledError()");
  });
  CHECK(log.take() == "");
}

TEST_CASE("futures of another loop are refused where they are passed") {
  const asyncio::EventLoop other = asyncio::new_event_loop();
  {
    const auto foreign = other.create_future<int>();
    const std::string refused =
        "ValueError('The future belongs to a different loop than the one specified as the loop "
        "argument')";
    run([&] {
      const auto list = std::vector{foreign};
      CHECK(thrown_by([&] { await(asyncio::wait(list)); }) == refused);
      CHECK(thrown_by([&] { await(asyncio::wait(list, {.timeout = 0s})); }) == refused);
      CHECK(thrown_by([&] { asyncio::as_completed(list); }) == refused);
      const auto own = get_running_loop().create_future<int>();
      CHECK(thrown_by([&] { static_cast<void>(asyncio::gather(own, foreign)); }) == refused);
      CHECK(thrown_by([&] {
              static_cast<void>(asyncio::ensure_future(foreign, get_running_loop()));
            }) == refused);
      CHECK(thrown_by([&] { await(asyncio::wait_for(foreign, 1s)); }).starts_with("RuntimeError("));
      CHECK(thrown_by([&] { await(asyncio::wait_for(foreign, 0s)); }) == refused);
      CHECK(asyncio::ensure_future(foreign) == foreign);
    });
    const asyncio::EventLoop mine = asyncio::new_event_loop();
    CHECK(thrown_by([&] { mine.run_until_complete(foreign); }) == refused);
    mine.close();
    CHECK_FALSE(foreign.done());
  }
  other.close();
  CHECK(other.object().futures_alive == 0);
}

TEST_CASE("each thread has a loop of its own, and sends calls to the others'") {
  constexpr int kThreads = 4;
  constexpr int kMessages = 200;
  std::latch ready(kThreads), over(kThreads);
  std::vector<asyncio::EventLoop> loops(kThreads);
  std::vector<int> received(kThreads, 0);
  std::vector<int> pending(kThreads, 0);
  std::vector<std::thread> threads;
  for (int mine = 0; mine < kThreads; ++mine)
    threads.emplace_back([&, mine] {
      asyncio::run([&, mine] {
        const auto loop = get_running_loop();
        loops[mine] = loop;
        ready.arrive_and_wait();
        const auto all = loop.create_future();
        pending[mine] = (kThreads - 1) * kMessages;
        // The loop that receives a message counts it.
        const auto next = (mine + 1) % kThreads;
        std::vector<futures::Future<int>> answers;
        for (int i = 0; i < kMessages; ++i) {
          for (int other = 0; other < kThreads; ++other)
            if (other != mine)
              loops[other].call_soon_threadsafe([&received, other] { ++received[other]; });
          if (i % 20 == 0)
            answers.push_back(asyncio::run_coroutine_threadsafe(
                [i] {
                  turns(i % 3);
                  return i;
                },
                loops[next]));
          turns(1);
        }
        int sum = 0;
        for (auto& answer : answers) sum += await(asyncio::wrap_future(answer));
        CHECK(sum == 20 * (kMessages / 20) * (kMessages / 20 - 1) / 2);
        while (received[mine] < pending[mine]) await(asyncio::sleep(1ms));
        all.set_result();
        await(all);
        // A loop must not be closed while others still send to it.
        over.count_down();
        while (!over.try_wait()) await(asyncio::sleep(1ms));
      });
    });
  for (std::thread& thread : threads) thread.join();
  for (int mine = 0; mine < kThreads; ++mine) {
    CHECK(received[mine] == (kThreads - 1) * kMessages);
    CHECK(loops[mine].object().futures_alive == 0);
  }
}

TEST_CASE("loops on several threads do not disturb each other: locks, queues, groups, timeouts") {
  constexpr int kThreads = 3;
  std::vector<std::string> results(kThreads);
  std::vector<std::thread> threads;
  for (int mine = 0; mine < kThreads; ++mine)
    threads.emplace_back([&, mine] {
      Trace trace;
      run([&] {
        asyncio::Queue<int> queue(2);
        asyncio::Lock lock;
        for (int round = 0; round < 20; ++round) {
          int sum = 0;
          asyncio::with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) {
            for (int i = 0; i < 4; ++i) {
              group.create_task([&, i] { await(queue.put(i)); });
              group.create_task([&] {
                const int got = await(queue.get());
                asyncio::with(lock, [&] {
                  turns(1);
                  sum += got;
                });
              });
            }
          });
          if (round == 19) trace("sum ", sum);
          try {
            asyncio::with(asyncio::timeout(1s), [] { await(asyncio::sleep(2s)); });
          } catch (const fiber::TimeoutError&) {
            if (round == 19) trace(caught());
          }
        }
      });
      results[mine] = trace.take();
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(results[0].find("sum 6") != std::string::npos);
  CHECK(results[0].find("TimeoutError()") != std::string::npos);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);
}

TEST_CASE("a handle may be cancelled from another thread; a loop is stopped through it") {
  std::atomic<int> called{0};
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const asyncio::Handle unwanted = loop.call_soon_threadsafe([&] { called += 100; });
  std::thread thread([&] {
    unwanted.cancel();
    loop.call_soon_threadsafe([&] { ++called; });
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  thread.join();
  loop.run_forever();
  loop.close();
  CHECK(called == 1);
}

TEST_CASE("a loop may be made on one thread and run on another") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  int result = 0;
  std::thread([&] {
    result = loop.run_until_complete([] {
      await(asyncio::sleep(1ms));
      return 5;
    });
    loop.close();
  }).join();
  CHECK(result == 5);
  CHECK(loop.is_closed());
}
