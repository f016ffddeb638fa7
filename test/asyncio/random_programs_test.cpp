// Random programs of tasks, greenlets, generators and callbacks. Their destructors do all of it, too:
// at the end of a task, of a greenlet, of a callback, and in the middle of an exception.
//
// A program follows from its seed, since its clock is virtual. Its operations may fail, but nothing
// may crash, wait for ever or stay. FIBER_RANDOM_PROGRAMS=N runs N programs; default: 300.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

namespace asyncio = fiber::asyncio;
using asyncio::await;
using fiber::Generator;
using fiber::getcurrent;
using fiber::greenlet;
using namespace std::chrono_literals;

namespace {

struct Place {
  int depth;
  bool may_wait;  // in a task, not in a callback
  Place below() const { return {depth + 1, may_wait}; }
};

// The objects that the operations of a program share.
class Program {
 public:
  explicit Program(unsigned seed) : random_(seed) {}

  void main();
  // Some operations, one after the other; an exception ends them.
  void run(Place place);
  // Drops all objects; their destructors may make new ones.
  void drop();

  int below(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }
  bool perhaps() { return below(2) == 0; }
  std::chrono::milliseconds pause() { return std::chrono::milliseconds(below(5)); }
  // Throws std::out_of_range if there is none.
  template <class T>
  T& any_of(std::vector<T>& all) {
    return all.at(all.empty() ? 0 : static_cast<std::size_t>(below(static_cast<int>(all.size()))));
  }
  template <class T>
  T pick(std::vector<T>& all) {
    return any_of(all);
  }
  template <class T>
  void drop_one(std::vector<T>& all) {
    // The destructor runs when the vector is whole again.
    const T dropped = std::exchange(any_of(all), all.back());
    all.pop_back();
  }
  // A function for a task, a greenlet or a callback.
  auto body(Place place) {
    return [this, place, held = std::make_shared<Dropped>(*this, place)] {
      run(place.below());
      return 1;
    };
  }
  auto tasks_of(Place place) {
    return std::vector<asyncio::Task<int>>{asyncio::create_task(body(place)),
                                           asyncio::create_task(body(place))};
  }

  // Runs operations when it is destroyed.
  struct Dropped {
    Program& program;
    Place place;
    Dropped(Program& its_program, Place its_place) : program(its_program), place(its_place) {
      ++program.alive;
    }
    Dropped(const Dropped&) = delete;
    Dropped& operator=(const Dropped&) = delete;
    ~Dropped() {
      --program.alive;
      if (program.perhaps()) return;
      try {
        program.run(place.below());
      } catch (...) {  // not out of a destructor
      }
    }
  };

  std::vector<asyncio::Future<int>> futures;
  std::vector<asyncio::Task<int>> tasks;
  std::vector<asyncio::Handle> handles;
  std::vector<greenlet> greenlets;
  std::vector<Generator<int>> generators;
  asyncio::Lock lock;
  asyncio::Semaphore semaphore{2};
  asyncio::Condition condition;
  asyncio::Event event;
  asyncio::Queue<int> queue{2};
  asyncio::Barrier barrier{2};
  long alive = 0;  // objects that run operations at their end

 private:
  void one(Place place);

  static constexpr int kDeepest = 8;
  std::mt19937 random_;
  int left_ = 300;
};

using Operation = void (*)(Program& p, Place place);

constexpr Operation kFutures[] = {
    [](Program& p, Place) {
      p.futures.push_back(asyncio::get_running_loop().create_future<int>());
    },
    [](Program& p, Place) { p.pick(p.futures).set_result(1); },
    [](Program& p, Place) {
      p.pick(p.futures).set_exception(std::make_exception_ptr(fiber::ValueError("set")));
    },
    [](Program& p, Place) { p.pick(p.futures).cancel(); },
    [](Program& p, Place place) {
      static_cast<void>(p.pick(p.futures).add_done_callback(
          [body = p.body({place.depth, false})](const auto&) { body(); }));
    },
    [](Program& p, Place) { p.drop_one(p.futures); },
};

constexpr Operation kTasks[] = {
    [](Program& p, Place place) { p.tasks.push_back(asyncio::create_task(p.body(place))); },
    [](Program& p, Place place) {
      p.tasks.push_back(asyncio::create_task(p.body(place), {.eager_start = true}));
    },
    [](Program& p, Place) { p.pick(p.tasks).cancel("cancelled by an operation"); },
    [](Program&, Place) { asyncio::current_task().uncancel(); },
    [](Program& p, Place) { static_cast<void>(p.pick(p.tasks).get_stack()); },
    [](Program& p, Place) { static_cast<void>(p.pick(p.tasks).repr()); },
    [](Program& p, Place) { p.drop_one(p.tasks); },
};

constexpr Operation kGreenlets[] = {
    [](Program& p, Place place) {
      p.greenlets.emplace_back([&p, place, held = std::make_shared<Program::Dropped>(p, place)] {
        p.run(place.below());
        if (p.perhaps()) getcurrent().parent().switch_();
        p.run(place.below());
      });
    },
    [](Program& p, Place) { p.pick(p.greenlets).switch_(); },
    [](Program& p, Place) { p.pick(p.greenlets).throw_(fiber::ValueError("thrown in")); },
    [](Program& p, Place) { p.pick(p.greenlets).parent(p.pick(p.greenlets)); },
    [](Program& p, Place) { p.greenlets.push_back(getcurrent()); },
    [](Program& p, Place) {
      static_cast<void>(fiber::traceback::extract_stack(p.pick(p.greenlets)));
    },
    [](Program& p, Place) { p.drop_one(p.greenlets); },
};

constexpr Operation kGenerators[] = {
    [](Program& p, Place place) {
      p.generators.push_back(Generator<int>(
          [&p, place, held = std::make_shared<Program::Dropped>(p, place)](auto& self) {
            p.run(place.below());
            self.yield(1);
            p.run(place.below());
            if (p.perhaps()) self.yield_from(p.pick(p.generators));
            self.yield(2);
          }));
    },
    [](Program& p, Place) { p.pick(p.generators).next(-1); },
    [](Program& p, Place) { p.pick(p.generators).close(); },
    [](Program& p, Place) { p.drop_one(p.generators); },
};

constexpr Operation kCallbacks[] = {
    [](Program& p, Place place) {
      p.handles.push_back(asyncio::get_running_loop().call_soon(p.body({place.depth, false})));
    },
    [](Program& p, Place place) {
      p.handles.push_back(
          asyncio::get_running_loop().call_later(p.pause(), p.body({place.depth, false})));
    },
    [](Program& p, Place) { p.pick(p.handles).cancel(); },
    [](Program& p, Place) { p.event.set(); },
    [](Program& p, Place) { p.event.clear(); },
    [](Program& p, Place) { p.queue.put_nowait(2); },
    [](Program& p, Place) { static_cast<void>(p.queue.get_nowait()); },
};

constexpr Operation kBlocks[] = {
    [](Program&, Place) { throw fiber::ValueError("an operation"); },
    [](Program& p, Place place) {
      const Program::Dropped dropped(p, place);
      p.run(place.below());
    },
    [](Program& p, Place place) {
      try {
        throw fiber::RuntimeError("caught");
      } catch (const fiber::RuntimeError&) {
        p.run(place.below());
      }
    },
    [](Program& p, Place place) {
      fiber::contextvars::copy_context().run([&] { p.run(place.below()); });
    },
};

constexpr Operation kWaits[] = {
    [](Program&, Place) { await(asyncio::sleep(0ms)); },
    [](Program& p, Place) { await(asyncio::sleep(p.pause())); },
    [](Program& p, Place) { await(asyncio::wait_for(p.pick(p.futures), 5ms)); },
    [](Program& p, Place) { await(asyncio::wait(std::vector{p.pick(p.tasks)}, {.timeout = 3ms})); },
    [](Program& p, Place) { await(asyncio::wait_for(p.event.wait(), 3ms)); },
    [](Program& p, Place) { await(asyncio::wait_for(p.queue.put(1), 3ms)); },
    [](Program& p, Place) { static_cast<void>(await(asyncio::wait_for(p.queue.get(), 3ms))); },
    [](Program& p, Place) { await(asyncio::wait_for(p.barrier.wait(), 2ms)); },
};

constexpr Operation kCombinators[] = {
    [](Program& p, Place place) { await(asyncio::gather(p.body(place), p.body(place))); },
    [](Program& p, Place place) {
      await(asyncio::wait(p.tasks_of(place),
                          {.timeout = p.pause(), .return_when = asyncio::FIRST_COMPLETED}));
    },
    [](Program& p, Place place) { await(asyncio::wait_for(p.body(place), p.pause())); },
    [](Program& p, Place place) { await(asyncio::shield(asyncio::create_task(p.body(place)))); },
    [](Program& p, Place place) {
      for (auto&& next : asyncio::as_completed(p.tasks_of(place), {.timeout = 10ms})) await(next);
    },
    [](Program& p, Place place) {
      asyncio::with(asyncio::timeout(p.pause()), [&] { p.run(place.below()); });
    },
    [](Program& p, Place place) {
      asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
        static_cast<void>(group.create_task(p.body(place)));
        p.run(place.below());
      });
    },
    [](Program& p, Place place) { asyncio::with(p.lock, [&] { p.run(place.below()); }); },
    [](Program& p, Place place) { asyncio::with(p.semaphore, [&] { p.run(place.below()); }); },
    [](Program& p, Place) {
      asyncio::with(asyncio::timeout(5ms),
                    [&] { asyncio::with(p.condition, [&] { await(p.condition.wait()); }); });
    },
    [](Program& p, Place) { asyncio::with(p.condition, [&] { p.condition.notify(2); }); },
};

struct Group {
  const Operation* first;
  std::size_t count;
  bool waits;
};
constexpr Group kGroups[] = {
    {kFutures, std::size(kFutures), false},     {kTasks, std::size(kTasks), false},
    {kGreenlets, std::size(kGreenlets), false}, {kGenerators, std::size(kGenerators), false},
    {kCallbacks, std::size(kCallbacks), false}, {kBlocks, std::size(kBlocks), false},
    {kWaits, std::size(kWaits), true},          {kCombinators, std::size(kCombinators), true},
};

void Program::one(Place place) {
  if (--left_ < 0 || place.depth > kDeepest) return;
  const Group& group = kGroups[below(int(std::size(kGroups)))];
  if (group.waits && !place.may_wait) return;
  const Operation operation = group.first[below(int(group.count))];
  try {
    operation(*this, place);
  } catch (const std::out_of_range&) {  // no object to pick
  } catch (const asyncio::InvalidStateError&) {
  } catch (const asyncio::QueueFull&) {
  } catch (const asyncio::QueueEmpty&) {
  }
}

void Program::run(Place place) {
  for (int left = below(4); left >= 0; --left) one(place);
}

void Program::main() {
  struct End {
    Program& program;
    ~End() { program.drop(); }
  } end{*this};
  for (int i = 0; i < 6; ++i) {
    try {
      run({0, true});
    } catch (const std::exception&) {
    } catch (const asyncio::CancelledError&) {
    }
  }
}

void Program::drop() {
  left_ = 0;
  const auto clear = [](auto& all) { std::exchange(all, {}).clear(); };
  clear(greenlets);
  clear(generators);
  clear(tasks);
  clear(handles);
  clear(futures);
}

// A destructor that swallows GreenletExit keeps its greenlet, which is then only suspended.
void end_all_greenlets() {
  for (const greenlet& each : fiber::all_greenlets()) {
    if (each == getcurrent()) continue;
    try {
      static_cast<void>(each.throw_());
    } catch (const std::exception&) {  // the end of another operation
    }
  }
}

// Runs a program in a loop of its own, and returns the number of its objects that are left.
long left_of(unsigned seed) {
  Program program(seed);
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  asyncio::testing::VirtualClock clock;
  clock.attach(loop);
  loop.set_raise_deadlock(true);
  try {
    asyncio::Runner runner({.loop_factory = [loop] { return loop; }});
    runner.run([&] { program.main(); });
  } catch (const std::exception&) {
  } catch (const asyncio::CancelledError&) {
  }
  program.drop();
  end_all_greenlets();
  return program.alive;
}

}  // namespace

TEST_CASE("tasks, greenlets, generators and destructors in any order leave nothing") {
  asyncio::set_log_handler([](const asyncio::LogRecord&) {});
  fiber::set_unraisablehook([](const fiber::UnraisableHookArgs&) {});
  const char* wanted = std::getenv("FIBER_RANDOM_PROGRAMS");
  const unsigned programs = wanted != nullptr ? static_cast<unsigned>(std::atoi(wanted)) : 300;
  for (unsigned seed = 0; seed < programs; ++seed) {
    INFO("seed ", seed);
    CHECK(left_of(seed) == 0);
    CHECK(fiber::all_greenlets().size() == 1);
  }
  fiber::set_unraisablehook(nullptr);
  asyncio::set_log_handler(nullptr);
}
