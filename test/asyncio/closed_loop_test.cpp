// The remains of a closed loop: its futures, and calls that come too late.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

namespace futures = fiber::concurrent::futures;
using namespace support;
using asyncio::await;
using asyncio::TaskGroup;

TEST_CASE("futures of a closed loop can be made and set, but run no callbacks") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const std::string closed = "RuntimeError('Event loop is closed')";
  const auto held = std::make_shared<int>();
  {
    const auto set = loop.create_future<int>();
    const auto failed = loop.create_future();
    const auto cancelled = loop.create_future();
    const auto outer = asyncio::shield(cancelled);
    set.add_done_callback([held] {});
    set.add_done_callback([held] {});
    failed.add_done_callback([held] {});
    loop.close();
    CHECK(thrown_by([&] { set.set_result(3); }) == closed);
    CHECK(set.result() == 3);
    CHECK(held.use_count() == 2);
    CHECK(thrown_by([&] { failed.set_exception(fiber::ValueError("x")); }) == closed);
    CHECK(thrown_by([&] { failed.result(); }) == "ValueError('x')");
    CHECK(held.use_count() == 1);
    CHECK(cancelled.cancel());
    CHECK(thrown_by([&] { set.add_done_callback([held] {}); }) == closed);
    CHECK(held.use_count() == 1);

    const auto late = loop.create_future<int>();
    late.set_result(4);
    CHECK(late.result() == 4);
    const auto child = loop.create_future();
    const auto gather = asyncio::gather(child);
    CHECK(thrown_by([&] { gather.cancel(); }) == closed);
    CHECK(child.cancelled());
    CHECK_FALSE(gather.done());
  }
  CHECK(loop.object().futures_alive == 0);
}

TEST_CASE("a job that outlives its closed loop keeps nothing of it") {
  auto loop = asyncio::new_event_loop();
  const auto& object = loop.object();
  futures::ThreadPoolExecutor pool({.max_workers = 1});
  futures::Future<int> never;
  const auto token = std::make_shared<int>();
  std::latch closed(1);
  {
    const auto job = loop.run_in_executor(pool, [&closed, token] {
      closed.wait();
      return token;
    });
    const auto wrapped = asyncio::wrap_future(never, loop);
    loop.close();
    closed.count_down();
    pool.submit([] {}).result();
    CHECK_FALSE(job.done());
    CHECK(wrapped.repr() == "<Future pending cb=[1]>");
  }
  CHECK(object.futures_alive == 0);
  CHECK(object.outside_work == 1);  // of the future that never ends
  never = {};
  CHECK(object.outside_work == 0);
  pool.shutdown();
  CHECK(token.use_count() == 1);
}

TEST_CASE("a loop may be closed while other threads bring results and coroutines") {
  Log log;
  futures::ThreadPoolExecutor pool({.max_workers = 2});
  for (int round = 0; round < 20; ++round) {
    const auto loop = asyncio::new_event_loop();
    std::latch begin(2);
    std::thread sender([&] {
      begin.arrive_and_wait();
      for (int i = 0; i < 10; ++i) {
        try {
          auto sent =
              asyncio::run_coroutine_threadsafe([] { return std::make_shared<int>(); }, loop);
          if (i % 3 == 0) sent.cancel();
        } catch (const fiber::RuntimeError&) {
          break;  // closed
        }
      }
    });
    loop.run_until_complete([&] {
      std::vector<asyncio::Future<std::shared_ptr<int>>> jobs;
      for (int i = 0; i < 10; ++i)
        jobs.push_back(loop.run_in_executor(pool, [] { return std::make_shared<int>(); }));
      begin.arrive_and_wait();
      jobs[1].cancel();
      if (round % 2 != 0) await(jobs[2]);
    });
    loop.close();
    sender.join();
    pool.submit([] {}).result();
    CHECK(loop.object().futures_alive == 0);
  }
  pool.shutdown();
  static_cast<void>(log.take());  // reports of coroutines that came too late
}

TEST_CASE("a closed loop refuses each kind of callback, and lets go of what it holds") {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.close();
  const std::string closed = "RuntimeError('Event loop is closed')";
  const auto held = std::make_shared<int>();
  const auto callback = [&] { return [held] {}; };
  CHECK(thrown_by([&] { loop.call_soon(callback()); }) == closed);
  CHECK(thrown_by([&] { loop.call_soon_threadsafe(callback()); }) == closed);
  CHECK(thrown_by([&] { loop.call_later(std::chrono::seconds(1), callback()); }) == closed);
  CHECK(thrown_by([&] { loop.add_reader(0, callback()); }) == closed);
  CHECK(thrown_by([&] { loop.add_writer(1, callback()); }) == closed);
  CHECK(thrown_by([&] { loop.add_signal_handler(SIGUSR1, callback()); }) == closed);
  CHECK(held.use_count() == 1);
}

TEST_CASE("a loop that ends under a waiting group unwinds it") {
  const asyncio::EventLoop loop = virtual_loop();
  std::vector<std::string> reports;
  loop.set_exception_handler([&](const auto&, const asyncio::ExceptionContext& context) {
    reports.push_back(context.message);
  });
  auto task = loop.create_task([&] {
    asyncio::with(TaskGroup(), [&](TaskGroup& group) {
      group.create_task(asyncio::sleep(10s));
      group.create_task(asyncio::sleep(20s));
    });
  });
  loop.run_until_complete(asyncio::sleep(1s));
  loop.close();
  CHECK(task.cancelled());
  CHECK(reports == std::vector<std::string>(3, "Task was destroyed but it is pending!"));
}
