#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <latch>
#include <memory>
#include <thread>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::weak_greenlet;
using support::AtEnd;
using support::Events;
using support::named;
using support::thrown_by;
using support::to_parent;

namespace {

// Returns the text without addresses.
std::string without_addresses(std::string text) {
  for (auto at = text.find(" at 0x"); at != std::string::npos; at = text.find(" at 0x"))
    text.erase(at, text.find_first_of(" >", at + 4) - at);
  return text;
}

}  // namespace

TEST_CASE(
    "a greenlet of another thread refuses switches and exceptions, and is untouched by them") {
  Events events;
  const auto argument = std::make_shared<int>(1);
  const greenlet pending([&](int v) { events(v); }, named("p"));
  const greenlet suspended([&] { events(to_parent().as<int>()); }, named("s"));
  suspended.switch_();
  std::thread([&] {
    for (const greenlet* g : {&pending, &suspended}) {
      events(without_addresses(thrown_by([&] { g->switch_(argument); })));
      events(thrown_by([&] { g->throw_(); }).empty() ? "nothing" : "refused");
    }
  }).join();
  const auto refused = [](const std::string& what) {
    return "error(\"cannot switch to a greenlet of another thread: <greenlet " + what +
           "> belongs to the thread of <greenlet current active started main>, this is the thread "
           "of <greenlet current active started main>; hand the value over in a way "
           "that is made for threads, such as a queue, instead\") refused";
  };
  CHECK(events.take() == refused("'p' pending") + " " + refused("'s' suspended active started"));
  CHECK(argument.use_count() == 1);
  pending.switch_(2);
  suspended.switch_(3);
  CHECK(events.take() == "2 3");
}

TEST_CASE(
    "a pending greenlet given a parent in another thread runs there; a started one is refused") {
  Events events;
  const greenlet g([&] {
    events(getcurrent().parent() == nullptr ? "?" : "runs");
    to_parent();
  });
  const greenlet started([] { to_parent(); });
  started.switch_();
  const std::string refused = "ValueError('parent cannot be on a different thread')";
  std::thread([&, here = std::this_thread::get_id()] {
    CHECK(here != std::this_thread::get_id());
    g.parent(getcurrent());
    g.switch_();
    CHECK(thrown_by([&] { started.parent(getcurrent()); }) == refused);
    g.switch_();
    CHECK(g.dead());
  }).join();
  CHECK(events.take() == "runs");
  CHECK(thrown_by([&] {
          g.switch_();
        }).rfind("error('cannot switch to a greenlet whose thread", 0) == 0);
}

TEST_CASE("a parent of another thread is refused") {
  const greenlet ours([] {});
  std::thread([&, main = &getcurrent()] {
    const std::string refused = "ValueError('parent cannot be on a different thread')";
    CHECK(thrown_by([&] { const greenlet g([] {}, {.parent = ours}); }) == refused);
    const greenlet theirs([] {});
    CHECK(thrown_by([&] { theirs.parent(ours); }) == refused);
    CHECK(thrown_by([&] { theirs.parent(*main); }) == refused);
    CHECK(theirs.parent() == getcurrent());
  }).join();
}

TEST_CASE("a pending greenlet whose thread has exited can be saved by a new parent") {
  greenlet saved = nullptr, left = nullptr;
  std::thread([&] {
    saved = greenlet([](int v) { return v + 1; });
    left = greenlet([] {});
  }).join();
  CHECK((!saved.dead() && !saved));
  saved.parent(getcurrent());
  CHECK(saved.switch_(1).as<int>() == 2);
  CHECK((!left.dead() && !left));
}

TEST_CASE("a child whose pending parent moved to another thread ends in its own main greenlet") {
  const greenlet parent([](int v) { return v; });
  const greenlet child(
      [] {
        to_parent();
        return 7;
      },
      {.parent = parent});
  child.parent(getcurrent());
  child.switch_();
  child.parent(parent);
  std::thread([&] {
    parent.parent(getcurrent());
    CHECK(parent.switch_(1).as<int>() == 1);
  }).join();
  CHECK(child.switch_().as<int>() == 7);
  CHECK(child.dead());
}

TEST_CASE("a pending greenlet of another thread gets no parent that descends from it") {
  const greenlet parent([] {});
  const greenlet child([] {}, {.parent = parent});
  std::thread([&] { parent.parent(getcurrent()); }).join();
  CHECK(thrown_by([&] { parent.parent(child); }) == "ValueError('cyclic parent chain')");
  parent.parent(getcurrent());
  child.switch_();
  CHECK(child.dead());
}

TEST_CASE("a child neither starts nor switches to a parent that still lives in another thread") {
  for (const bool parent_runs : {false, true}) {
    Events events;
    const greenlet parent([&](int v) {
      events(v);
      events(to_parent().as<int>());
    });
    const greenlet child(
        [] {
          to_parent();
          return 7;
        },
        {.parent = parent});
    child.parent(getcurrent());
    child.switch_();
    child.parent(parent);
    std::latch moved(1), ended(1);
    std::thread other([&] {
      parent.parent(getcurrent());
      if (parent_runs) parent.switch_(1);
      moved.count_down();
      ended.wait();
      if (!parent_runs) parent.switch_(1);
      parent.switch_(2);
    });
    moved.wait();
    const fiber::value result = child.switch_();
    CHECK(result.holds<int>());
    CHECK(child.dead());
    CHECK_FALSE(parent.dead());
    ended.count_down();
    other.join();
    CHECK(events.take() == "1 2");
  }
}

TEST_CASE("a greenlet dropped by another thread is unwound by its own at its next call") {
  Events events;
  std::thread::id unwound_by;
  greenlet f([&] {
    const AtEnd end([&] {
      unwound_by = std::this_thread::get_id();
      errno = 1;
      try {
        throw 5;
      } catch (int) {
      }
      events("unwound");
    });
    to_parent();
  });
  f.switch_();
  try {
    throw fiber::ValueError("pending");
  } catch (...) {
    const auto pending = std::current_exception();
    std::thread([dropped = std::move(f)]() mutable { dropped = nullptr; }).join();
    events("dropped");
    errno = 42;
    getcurrent();
    CHECK(errno == 42);
    CHECK(std::current_exception() == pending);
    CHECK(std::uncaught_exceptions() == 0);
  }
  CHECK(events.take() == "dropped unwound");
  CHECK(unwound_by == std::this_thread::get_id());
}

TEST_CASE("creating a greenlet and switching to one are calls that take drops back, too") {
  Events events;
  const auto drop_elsewhere = [&](const char* name) {
    greenlet f([&events, name] {
      const AtEnd end([&] { events(name); });
      to_parent();
    });
    f.switch_();
    std::thread([dropped = std::move(f)] {}).join();
    CHECK(events.take().empty());
  };
  drop_elsewhere("created");
  const greenlet g([] { to_parent(); });
  CHECK(events.take() == "created");
  drop_elsewhere("switched");
  g.switch_();
  CHECK(events.take() == "switched");
  drop_elsewhere("listed");
  CHECK(fiber::all_greenlets().size() == 2);
  CHECK(events.take() == "listed");
  greenlet last([] { to_parent(); });
  last.switch_();
  drop_elsewhere("threw");
  CHECK(last.throw_().exited());
  CHECK(events.take() == "threw");
}

TEST_CASE("threads that hand references back without end do not keep the owner from its work") {
  const greenlet f([] {
    for (;;) to_parent();
  });
  f.switch_();
  std::atomic<bool> stop{false};
  std::vector<std::thread> droppers;
  for (int i = 0; i < 4; ++i)
    droppers.emplace_back([&, copy = f] {
      while (!stop) const greenlet again = copy;
    });
  for (int i = 0; i < 1000; ++i) f.switch_();
  stop = true;
  for (std::thread& dropper : droppers) dropper.join();
}

TEST_CASE("a drop that is taken back in the middle of a switch may drop the target's last handle") {
  Events events;
  auto target = std::make_unique<greenlet>([&] { events("target"); });
  greenlet f([&] {
    const AtEnd end([&] { target.reset(); });
    to_parent();
  });
  f.switch_();
  std::thread([dropped = std::move(f)] {}).join();
  target->switch_();
  CHECK(events.take() == "target");
}

TEST_CASE("handles and weak handles are copied and dropped by many threads at once") {
  int unwound = 0;
  {
    std::vector<greenlet> all;
    for (int i = 0; i < 50; ++i) {
      all.emplace_back([&] {
        const AtEnd end([&] { ++unwound; });
        to_parent();
      });
      all.back().switch_();
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([copies = all]() mutable {
        for (int round = 0; round < 20; ++round)
          for (greenlet& g : copies) {
            const weak_greenlet weak(g);
            const greenlet copy = g, locked = weak.lock();
            CHECK((copy == locked && !copy.dead()));
          }
      });
    for (int round = 0; round < 20; ++round)
      for (greenlet& g : all) {
        const weak_greenlet weak(g);
        const greenlet copy = weak.lock();
        getcurrent();
      }
    all.clear();
    for (std::thread& thread : threads) thread.join();
    getcurrent();
  }
  CHECK(unwound == 50);
}

TEST_CASE("sixteen dying owners and sixteen threads that try their greenlets: only errors") {
  for (int round = 0; round < 4; ++round) {
    constexpr int kThreads = 16;
    std::vector<greenlet> handles(2 * kThreads, nullptr);
    std::latch made(kThreads + 1), go(1);
    std::atomic<int> errors{0}, others{0}, unwound{0};
    std::vector<std::thread> owners, visitors;
    for (int i = 0; i < kThreads; ++i)
      owners.emplace_back([&, i] {
        const greenlet suspended([&] {
          const AtEnd end([&] { ++unwound; });
          for (;;) to_parent();
        });
        suspended.switch_();
        handles[static_cast<std::size_t>(2 * i)] = suspended;
        handles[static_cast<std::size_t>(2 * i + 1)] = greenlet([] {});
        made.arrive_and_wait();
        for (int n = 0; n < 50; ++n) suspended.switch_();
      });
    made.arrive_and_wait();
    for (int i = 0; i < kThreads; ++i)
      visitors.emplace_back([&, mine = handles] {
        go.wait();
        for (const greenlet& g : mine) {
          try {
            g.switch_();
            ++others;
          } catch (const greenlet::error&) {
            ++errors;
          }
          (void)g.dead();
          (void)fiber::repr(g);
        }
      });
    go.count_down();
    handles.clear();
    for (auto* group : {&owners, &visitors})
      for (std::thread& thread : *group) thread.join();
    CHECK(errors == 2 * kThreads * kThreads);
    CHECK(others == 0);
    CHECK(unwound == kThreads);
  }
}

TEST_CASE("getcurrent() is right in every thread, before and after switches of one function") {
  const auto body = [](greenlet expected) {
    bool right = getcurrent() == expected;
    for (int i = 0; i < 3; ++i) {
      to_parent();
      right = right && getcurrent() == expected;
    }
    return right;
  };
  const auto use = [&](const greenlet& g) {
    const bool main = getcurrent().parent() == nullptr;
    g.switch_(g);
    CHECK((main && getcurrent().parent() == nullptr));
    g.switch_();
    g.switch_();
    CHECK(g.switch_().as<bool>());
  };
  const greenlet here(body), there(body);
  std::thread([&] {
    there.parent(getcurrent());
    use(there);
    use(greenlet(body));
  }).join();
  use(here);
}
