// References that keep greenlets alive; weak handles; memory.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <thread>

#include "support/events.hpp"
#include "support/leak_check.hpp"
#include "support/valgrind.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::weak_greenlet;
using support::AtEnd;
using support::Events;
using support::Holdings;
using support::thrown_by;
using support::to_parent;

namespace {

long resident_pages() {
  long size = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file != nullptr && std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident;
}

}  // namespace

TEST_CASE("a weak handle does not keep a greenlet alive") {
  greenlet g([] {});
  const weak_greenlet weak(g), copy = weak;
  CHECK(weak.lock() == g);
  g.switch_();
  CHECK(copy.lock().dead());
  g = nullptr;
  CHECK((weak.lock() == nullptr && copy.lock() == nullptr));
  CHECK(weak_greenlet().lock() == nullptr);
  CHECK(weak_greenlet(greenlet(nullptr)).lock() == nullptr);
}

TEST_CASE("a weak handle locks during the kill and is empty after it") {
  Events events;
  greenlet f;
  weak_greenlet weak;
  f = greenlet([&] {
    const AtEnd end([&] { events(weak.lock() == getcurrent() ? "locks" : "empty"); });
    to_parent();
  });
  weak = weak_greenlet(f);
  f.switch_();
  f = nullptr;
  CHECK(events.take() == "locks");
  CHECK(weak.lock() == nullptr);
}

TEST_CASE("dropping a child that alone keeps a suspended parent kills the parent") {
  Events events;
  weak_greenlet child_seen;
  greenlet child;
  {
    greenlet parent([&] {
      const AtEnd end([&] { events(child_seen.lock() == nullptr ? "child gone" : "child there"); });
      to_parent();
    });
    parent.switch_();
    child = greenlet([] {}, {.parent = parent});
    child_seen = weak_greenlet(child);
  }
  CHECK(events.take().empty());
  child = nullptr;
  CHECK(events.take() == "child gone");
}

TEST_CASE("getcurrent() and parent() are not counted, their copies are") {
  Events events;
  greenlet f([&] {
    const AtEnd end([&] { events("unwound"); });
    const greenlet& self = getcurrent();
    self.parent().switch_();
  });
  f.switch_();
  f = nullptr;
  CHECK(events.take() == "unwound");
}

TEST_CASE("a greenlet destroys its body on its own stack, before it counts as dead") {
  Events events;
  greenlet g = nullptr;
  {
    auto captured = std::make_shared<AtEnd<std::function<void()>>>([&] {
      events(getcurrent() == g ? "current" : "not current");
      events(getcurrent().dead() ? "dead" : "not dead");
    });
    g = greenlet([captured] {});
  }
  g.switch_();
  CHECK(events.take() == "current not dead");
  CHECK(g.dead());
}

TEST_CASE("a body that holds the last handle to its greenlet does not take its stack away") {
  Events events;
  auto self = std::make_shared<greenlet>();
  *self = greenlet([self, &events] {
    const AtEnd end([&] { events("end"); });
    to_parent();
  });
  const weak_greenlet weak(*self);
  self->switch_();
  const greenlet* handle = self.get();
  self.reset();
  fiber::detail::greenlet_thread().switch_to(handle->object(), fiber::value());
  CHECK(events.take() == "end");
  CHECK(weak.lock() == nullptr);
}

TEST_CASE("a finished greenlet that returned itself is freed") {
  greenlet g([] { return greenlet(getcurrent()); });
  const weak_greenlet weak(g);
  CHECK(g.switch_().as<greenlet>() == g);
  g = nullptr;
  CHECK(weak.lock() == nullptr);
}

TEST_CASE("a destructor of a body may switch") {
  Events events;
  const greenlet other([&] {
    events("other");
    to_parent();
    events("other again");
  });
  {
    auto captured = std::make_shared<AtEnd<std::function<void()>>>([&] {
      other.parent(getcurrent());
      other.switch_();
      events("destroyed");
    });
    const greenlet g([captured = std::move(captured), &events] { events("body"); });
    g.switch_();
    CHECK(g.dead());
  }
  other.parent(getcurrent());
  other.switch_();
  CHECK(events.take() == "body other destroyed other again");
}

TEST_CASE("a hundred thousand rounds of create, start and finish need no more memory") {
  const auto round = [] {
    const greenlet g([](int x) { return x; });
    g.switch_(1);
    const greenlet failing([] { throw 1; });
    CHECK_THROWS_AS(failing.switch_(), int);
  };
  for (int i = 0; i < 1000; ++i) round();
  const long before = resident_pages();
  const Holdings held = Holdings::now();
  for (int i = support::times(50'000); i > 0; --i) round();
  CHECK(Holdings::now() == held);
#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers keep freed memory for a while
  CHECK(resident_pages() - before < 256);
#else
  CHECK(resident_pages() >= before);
#endif
}

TEST_CASE(
    "a stack that cannot be had is a MemoryError in the caller, and the greenlet stays pending") {
  auto& limits = fiber::core::stack_limits();
  Events events;
  auto argument = std::make_shared<int>(1);
  const std::size_t unusual = 8 * 1024 * 1024;
  const greenlet g([&](std::shared_ptr<int> p) { events(*p); }, {.stack_size = unusual});
  const greenlet thrown_into([&] { events("ran"); }, {.stack_size = unusual});
  const greenlet child([] { return std::make_shared<int>(2); }, {.parent = g});
  limits.fail_after = 0;
  const std::string error = "MemoryError('no address space for fiber stacks (injected)')";
  CHECK(thrown_by([&] { g.switch_(argument); }) == error);
  CHECK((!g && !g.dead()));
  CHECK(argument.use_count() == 1);
  CHECK(thrown_by([&] { thrown_into.throw_(); }) == error);
  CHECK((!thrown_into && !thrown_into.dead()));
  // A parent that cannot be started passes the error on.
  CHECK(thrown_by([&] { child.switch_(); }) == error);
  CHECK((child.dead() && !g.dead()));
  limits.fail_after = -1;
  g.switch_(argument);
  CHECK(events.take() == "1");
  CHECK(thrown_into.throw_().exited());
}

TEST_CASE(
    "a greenlet whose stack holds its child, or a handle to itself, lives until its thread exits") {
  Events events;
  std::thread([&] {
    const auto keeps = [&](const char* name, auto make) {
      weak_greenlet weak;
      {
        const greenlet g([&, name, make] {
          const AtEnd end([&] { events(name); });
          const greenlet held = make();
          to_parent();
        });
        weak = weak_greenlet(g);
        g.switch_();
      }
      events(weak.lock() ? "kept" : "gone");
    };
    keeps("itself", [] { return greenlet(getcurrent()); });
    keeps("pending child", [] { return greenlet([] {}); });
    keeps("suspended child", [&] {
      greenlet child([&] {
        const AtEnd end([&] { events("child"); });
        to_parent();
      });
      child.switch_();
      return child;
    });
    keeps("dead child", [] {
      greenlet child([] {});
      child.switch_();
      return child;
    });
    keeps("child of another", [] { return greenlet([] {}, {.parent = getcurrent().parent()}); });
  }).join();
  CHECK(events.take() ==
        "kept kept kept kept child of another gone dead child child suspended child pending child "
        "itself");
}

// One test shows the part that a test can.
TEST_CASE("a pooled stack is clean for its next user, also when it was left by an exception") {
  for (int i = 0; i < 200; ++i) {
    greenlet g([i] {
      volatile char local[1000];
      for (char volatile& c : local) c = static_cast<char>(i);
      if (i % 3 == 0) throw i;
      if (i % 3 == 1) to_parent();
      return static_cast<int>(local[999]);
    });
    int returned = -1;
    const std::string thrown = thrown_by([&] {
      const fiber::value result = g.switch_();
      if (!result.empty()) returned = result.as<int>();
    });
    CHECK(thrown == (i % 3 == 0 ? "int()" : ""));
    CHECK(returned == (i % 3 == 2 ? static_cast<char>(i) : -1));
  }
}
