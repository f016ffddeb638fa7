// Loops, tasks, futures, and everything that waits for them.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/log.hpp>

#include <chrono>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::require;

FAULTS_SCENARIO(run) {
  require(asyncio::run([] {
            await(asyncio::sleep(0));
            await(asyncio::sleep(1ms));
            return 7;
          }) == 7,
          "the result of run");
}

FAULTS_SCENARIO(run_that_fails) {
  try {
    asyncio::run([] {
      auto left = asyncio::create_task([] { await(asyncio::sleep(1h)); });
      auto generator = Generator<int>([](auto& self) {
        self.yield(1);
        self.yield(2);
      });
      generator.next();
      throw ValueError("the program's own error, which is not to be replaced");
    });
    require(false, "an error of main is lost");
  } catch (const ValueError&) {
  }
}

// Tasks that outlive their creator, which a fault has ended, are ended with the loop: the objects
// they refer to live longer.
FAULTS_SCENARIO(many_tasks) {
  int done = 0;
  asyncio::run([&] {
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 150; ++i)
      tasks.push_back(asyncio::create_task([&] {
        await(asyncio::sleep(0));
        ++done;
      }));
    for (const auto& task : tasks) await(task);
    require(done == 150, "the tasks");
  });
}

FAULTS_SCENARIO(many_sleepers) {
  asyncio::run([] {
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 100; ++i)
      tasks.push_back(asyncio::create_task([] { await(asyncio::sleep(2ms)); }));
    await(asyncio::gather(tasks));
    for (const auto& task : tasks) task.result();
  });
}

FAULTS_SCENARIO(tasks_with_names) {
  asyncio::run([] {
    auto named = asyncio::create_task([] { return asyncio::current_task().repr(); },
                                      {.name = "a name that is too long for a small string"});
    require(await(named).find("too long") != std::string::npos, "the name of a task");
    static contextvars::ContextVar<int> number("number", 0);
    number.set(1);
    auto inner = asyncio::create_task([] {
      number.set(2);
      return number.get();
    });
    require(await(inner) == 2 && number.get() == 1, "the context of a task");
    require(asyncio::all_tasks().size() == 1, "all_tasks");
  });
}

FAULTS_SCENARIO(eager_tasks) {
  auto loop = asyncio::new_event_loop();
  loop.set_task_factory(asyncio::eager_task_factory);
  struct Close {
    asyncio::EventLoop& loop;
    ~Close() { loop.close(); }
  } close{loop};
  loop.run_until_complete([] {
    auto at_once = asyncio::create_task([] { return 1; });
    auto later = asyncio::create_task([] {
      await(asyncio::sleep(0));
      return 2;
    });
    auto [a, b] = await(asyncio::gather(at_once, later));
    require(a == 1 && b == 2, "eager tasks");
  });
}

FAULTS_SCENARIO(futures) {
  int woken = 0;
  int called = 0;
  asyncio::run([&] {
    auto future = asyncio::get_running_loop().create_future<std::string>();
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 70; ++i)
      tasks.push_back(asyncio::create_task([&woken, future] {
        await(future);
        ++woken;
      }));
    const auto removed = future.add_done_callback([&] { called += 100; });
    for (int i = 0; i < 10; ++i) future.add_done_callback([&] { ++called; });
    future.remove_done_callback(removed);
    await(asyncio::sleep(0));
    std::string result = "a result that is too long for a small string";
    future.set_result(std::move(result));
    for (const auto& task : tasks) await(task);
    require(woken == 70 && called == 10, "some waiters of the future were not woken");
  });
}

FAULTS_SCENARIO(calls) {
  auto loop = asyncio::new_event_loop();
  struct Close {
    asyncio::EventLoop& loop;
    ~Close() { loop.close(); }
  } close{loop};
  int calls = 0;
  for (int i = 0; i < 70; ++i) loop.call_soon([&] { ++calls; });
  for (int i = 0; i < 40; ++i) loop.call_later(1ms, [&] { ++calls; });
  auto cancelled = loop.call_later(1ms, [&] { calls = -1000; });
  cancelled.cancel();
  loop.call_later(3ms, [&] { loop.stop(); });
  loop.run_forever();
  require(calls == 110, "the calls of a loop");
}

FAULTS_SCENARIO(cancellation) {
  int cancelled = 0;
  asyncio::run([&] {
    auto leaf = [&cancelled] {
      try {
        await(asyncio::sleep(1h));
      } catch (const asyncio::CancelledError&) {
        ++cancelled;
        throw;
      }
    };
    std::vector<asyncio::Task<>> leaves;
    for (int i = 0; i < 5; ++i) leaves.push_back(asyncio::create_task(leaf));
    auto tree = asyncio::create_task([leaves] { await(asyncio::gather(leaves)); });
    auto root = asyncio::create_task([tree] { await(tree); });
    auto unstarted = asyncio::create_task([] {});
    unstarted.cancel("before its first step, with a text that needs memory");
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
    root.cancel("a message that is too long for a small string, so that it needs memory");
    try {
      await(root);
      require(false, "a cancelled task has a result");
    } catch (const asyncio::CancelledError&) {
    }
    for (const auto& task : leaves)  // one of them has failed
      if (!task.cancelled() && task.exception()) std::rethrow_exception(task.exception());
    require(cancelled == 5, "a tree of tasks that is cancelled");
  });
}

FAULTS_SCENARIO(gather) {
  asyncio::run([] {
    auto [a, b] = await(asyncio::gather([] { return 1; }, [] { return std::string("two"); }));
    require(a == 1 && b == "two", "gather");
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 60; ++i) tasks.push_back(asyncio::create_task([i] { return i; }));
    require(await(asyncio::gather(tasks)).size() == 60, "gather of many");
    auto failing = asyncio::create_task([]() -> int { throw ValueError("one"); });
    auto outcomes = await(asyncio::gather(asyncio::return_exceptions, failing, [] { return 2; }));
    static_cast<void>(outcomes);
  });
}

FAULTS_SCENARIO(wait) {
  asyncio::run([] {
    auto a = asyncio::create_task([] { await(asyncio::sleep(1ms)); });
    auto b = asyncio::create_task([] { await(asyncio::sleep(2ms)); });
    auto first = await(asyncio::wait({a, b, a}, {.return_when = asyncio::FIRST_COMPLETED}));
    require(!first.done.empty(), "the first");
    auto all = await(asyncio::wait({a, b}, {.timeout = 1h}));
    require(all.done.size() == 2, "all");
    auto late = asyncio::create_task([] { await(asyncio::sleep(1h)); });
    require(await(asyncio::wait({late}, {.timeout = 1ms})).pending.size() == 1, "a timeout");
    late.cancel();
  });
}

FAULTS_SCENARIO(wait_for_and_shield) {
  asyncio::run([] {
    require(await(asyncio::wait_for([] { return 1; }, 1h)) == 1, "wait_for");
    try {
      await(asyncio::wait_for([] { await(asyncio::sleep(1h)); }, 1ms));
      require(false, "wait_for waits too long");
    } catch (const TimeoutError&) {
    }
    auto inner = asyncio::create_task([] {
      await(asyncio::sleep(1ms));
      return 3;
    });
    auto outer = asyncio::shield(inner);
    outer.cancel();
    require(await(asyncio::shield(inner)) == 3, "shield");
  });
}

FAULTS_SCENARIO(task_groups) {
  asyncio::run([] {
    int done = 0;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 0; i < 20; ++i)
        (void)group.create_task([&] {
          await(asyncio::sleep(0));
          ++done;
        });
    });
    require(done == 20, "a group");
    try {
      asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
        (void)group.create_task([] { await(asyncio::sleep(1h)); });
        for (int i = 0; i < 3; ++i) (void)group.create_task([] { throw ValueError("an error"); });
        await(asyncio::sleep(1h));
      });
      require(false, "a group without its errors");
    } catch (const ExceptionGroup&) {
    }
    require(asyncio::all_tasks().size() == 1, "what a group leaves");
  });
}

FAULTS_SCENARIO(timeouts) {
  asyncio::run([] {
    try {
      asyncio::with(asyncio::timeout(1ms), [] { await(asyncio::sleep(1h)); });
      require(false, "a timeout that does not come");
    } catch (const TimeoutError&) {
    }
    asyncio::with(asyncio::timeout(1h), [](auto& timeout) {
      timeout.reschedule(asyncio::get_running_loop().time() + 2h);
      await(asyncio::sleep(0));
    });
    std::exception_ptr failure;
    try {
      asyncio::with(asyncio::timeout(1ms), [&](auto& timeout) {
        try {
          timeout.reschedule(asyncio::get_running_loop().time() + 1h);
        } catch (...) {
          failure = std::current_exception();
          await(asyncio::sleep(1h));  // under the limit that could not be moved
        }
      });
    } catch (const TimeoutError&) {
      require(failure != nullptr, "a timeout that was moved");
    }
    if (failure) std::rethrow_exception(failure);
    require(asyncio::current_task().cancelling() == 0, "what a timeout leaves");
  });
}

FAULTS_SCENARIO(as_completed) {
  asyncio::run([] {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(asyncio::create_task([i] {
        await(asyncio::sleep(0));
        return i;
      }));
    int sum = 0;
    for (auto next : asyncio::as_completed(tasks)) sum += await(next);
    require(sum == 190, "as_completed");
    auto late = asyncio::create_task([] { await(asyncio::sleep(1h)); });
    try {
      for (auto next : asyncio::as_completed(std::vector{late}, {.timeout = 1ms})) await(next);
      require(false, "as_completed waits too long");
    } catch (const TimeoutError&) {
    }
    late.cancel();
  });
}

FAULTS_SCENARIO(locks) {
  asyncio::run([] {
    asyncio::Lock lock;
    asyncio::Semaphore semaphore(2);
    asyncio::Event event;
    asyncio::Condition condition;
    asyncio::Barrier barrier(3);
    int passed = 0;
    auto body = [&] {
      asyncio::with(lock, [&] { await(asyncio::sleep(0)); });
      asyncio::with(semaphore, [&] { await(asyncio::sleep(0)); });
      await(barrier.wait());
      await(event.wait());
      ++passed;
    };
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 0; i < 3; ++i) (void)group.create_task(body);
      (void)group.create_task([&] {
        await(asyncio::sleep(1ms));
        event.set();
        asyncio::with(condition, [&] { condition.notify_all(); });
      });
    });
    require(passed == 3 && !lock.locked(), "the locks");
  });
}

FAULTS_SCENARIO(queues) {
  asyncio::run([] {
    asyncio::Queue<std::string> queue(3);
    asyncio::PriorityQueue<int> smallest;
    int received = 0;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      (void)group.create_task([&] {
        for (int i = 0; i < 10; ++i) {
          await(queue.put("an item that is too long for a small string"));
          smallest.put_nowait(10 - i);
        }
      });
      (void)group.create_task([&] {
        for (int i = 0; i < 10; ++i) {
          static_cast<void>(await(queue.get()));
          ++received;
        }
      });
    });
    require(received == 10 && smallest.get_nowait() == 1, "the items");
  });
}

FAULTS_SCENARIO(context_variables) {
  static contextvars::ContextVar<std::string> request("request");
  static contextvars::ContextVar<int> depth("depth", 0);
  asyncio::run([] {
    request.set("the request that all of this belongs to");
    auto context = contextvars::copy_context();
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 1; i <= 10; ++i)
      tasks.push_back(asyncio::create_task([i] {
        const auto token = depth.set(i);
        await(asyncio::sleep(0));
        require(request.get().starts_with("the request"), "a context that is inherited");
        const int mine = depth.get();
        depth.reset(token);
        require(depth.get() == 0, "a variable that is reset");
        return mine;
      }));
    int sum = 0;
    for (const int number : await(asyncio::gather(tasks))) sum += number;
    require(sum == 55 && depth.get() == 0, "contexts of tasks");
    auto shared = asyncio::create_task(
        [] {
          request.set("another one, and quite as long as that");
          depth.set(7);
        },
        {.context = context});
    await(shared);
    require(context.run([] { return request.get(); }).starts_with("another"), "a context given");
    int seen = 0;
    asyncio::get_running_loop().call_soon([&] { seen = depth.get(); }, {.context = context});
    await(asyncio::sleep(0));
    require(seen == 7 && depth.get() == 0, "the context of a callback");
  });
}

// What a call that fails has made must not run after it: `alive` is gone then.
FAULTS_SCENARIO(callables) {
  const auto plain = [](const auto& make) {
    asyncio::run([&make] {
      bool alive = true;
      bool late = false;
      const auto body = [&alive, &late] { late = late || !alive; };
      try {
        make(body);
      } catch (const std::bad_alloc&) {
        alive = false;
        await(asyncio::sleep(0));
        await(asyncio::sleep(0));
        require(!late, "a callable runs after its call has failed");
        throw;
      }
    });
  };
  plain([](const auto& body) { await(asyncio::gather(body, body, body)); });
  plain([](const auto& body) { await(asyncio::gather(std::vector{body, body})); });
  plain([](const auto& body) { await(asyncio::shield(body)); });
  plain([](const auto& body) {
    for (auto next : asyncio::as_completed(std::vector{body, body}, {.timeout = 1h})) await(next);
  });
  plain([](const auto& body) {
    try {
      await(asyncio::wait_for(body, 0s));
    } catch (const TimeoutError&) {
    }
  });
}

FAULTS_SCENARIO(run_until_complete) {
  auto loop = asyncio::new_event_loop();
  struct Close {
    asyncio::EventLoop& loop;
    ~Close() { loop.close(); }
  } close{loop};
  bool alive = true;
  bool late = false;
  try {
    loop.run_until_complete([&] { late = !alive; });
  } catch (const std::bad_alloc&) {
    alive = false;
    loop.run_until_complete([] { await(asyncio::sleep(0)); });
    require(!late, "a callable runs after run_until_complete has failed");
    throw;
  }
}

// The caller has the error: a warning that the callable's coroutine never ran would be one too many.
FAULTS_SCENARIO(unstarted_tasks) {
  bool warned = false;
  struct Restore {
    asyncio::log_handler previous;
    ~Restore() {
      for (bool restored = false; !restored;) try {  // a burst of failures comes to an end
          asyncio::set_log_handler(previous);
          restored = true;
        } catch (const std::bad_alloc&) {
        }
    }
  } restore{asyncio::set_log_handler([&warned](const asyncio::LogRecord& record) {
    warned = warned || record.message.find("never awaited") != std::string::npos;
  })};
  try {
    asyncio::run([] {
      await(asyncio::create_task([] {}, {.name = "a name that is too long for a small string"}));
      await(asyncio::create_task([] {}, {.context = contextvars::copy_context()}));
    });
  } catch (const std::bad_alloc&) {
    require(!warned, "a warning of a coroutine beside the error");
    throw;
  }
}
