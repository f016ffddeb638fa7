// The README's programs with greenlets.
#include <fiber/greenlet.hpp>
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <sstream>

#include "support/events.hpp"

using support::Events;
using support::thrown_by;

TEST_CASE("two greenlets take turns") {
  Events say;
  fiber::greenlet gr1, gr2;
  gr1 = fiber::greenlet([&] {
    say(1);
    gr2.switch_();
    say(2);
    gr2.switch_();
  });
  gr2 = fiber::greenlet([&] {
    say(3);
    gr1.switch_();
    say(4);
  });
  gr1.switch_();
  CHECK(say.take() == "1 3 2 4");
}

TEST_CASE("values go out and back in") {
  const fiber::greenlet adder([](int a, int b) {
    const int c = fiber::getcurrent().parent().switch_(a + b).as<int>();
    return c * 10;
  });
  CHECK(adder.switch_(2, 3).as<int>() == 5);
  CHECK(adder.switch_(7).as<int>() == 70);
  CHECK(adder.dead());
}

TEST_CASE("an exception goes to the parent that was given") {
  Events say;
  const fiber::greenlet collector([&] {
    try {
      fiber::getcurrent().parent().switch_();
    } catch (const fiber::ValueError& error) {
      say(error.what());
    }
  });
  collector.switch_();
  const fiber::greenlet worker([] { throw fiber::ValueError("bad"); },
                               {.parent = collector, .stack_size = 1 << 20, .name = "worker"});
  worker.switch_();
  CHECK(say.take() == "bad");
  CHECK((collector.dead() && worker.dead()));
}

TEST_CASE("what a dropped greenlet holds is closed") {
  Events say;
  struct Connection {
    Events& say;
    ~Connection() { say("closed"); }
    int read() { return 1; }
  };
  fiber::greenlet g([&] {
    Connection connection{say};
    for (;;) fiber::getcurrent().parent().switch_(connection.read());
  });
  CHECK(g.switch_().as<int>() == 1);
  g = nullptr;
  say("dropped");
  CHECK(say.take() == "closed dropped");

  const fiber::greenlet other([] { fiber::getcurrent().parent().switch_(); });
  other.switch_();
  CHECK(other.throw_().exited());
}

TEST_CASE("greenlets can be traced, listed and shown") {
  std::ostringstream log, stacks;
  const fiber::greenlet g([] { fiber::getcurrent().parent().switch_(); }, {.name = "g"});
  fiber::settrace([&](const char* event, const fiber::greenlet& from, const fiber::greenlet& to) {
    log << event << " from " << from << " to " << to << '\n';
  });
  g.switch_();
  fiber::settrace(nullptr);
  CHECK(log.str().rfind("switch from <greenlet at ", 0) == 0);
  for (const fiber::greenlet& each : fiber::all_greenlets())
    fiber::traceback::print_stack(each, stacks);
  CHECK(stacks.str().find("Stack of <greenlet at ") == 0);
  CHECK(stacks.str().find(" 'g' suspended active started> (most recent call last):\n") !=
        std::string::npos);
}
