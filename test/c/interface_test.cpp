// The interface for plain C: the scenarios are compiled as C11.
#include <fiber/asyncio.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include "c/scenarios.h"
#include "support/descriptor.hpp"

namespace {

std::mutex mutex;
std::string notes;

std::string noted_by(void (*scenario)()) {
  scenario();
  return std::exchange(notes, {});
}

}  // namespace

extern "C" void note(const char* format, ...) {
  char line[300];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  const std::lock_guard lock(mutex);
  notes += (notes.empty() ? "" : "\n") + std::string(line);
}

TEST_CASE("pointers go both ways through a switch") {
  CHECK(noted_by(values_go_both_ways) ==
        "new 0\ng got a\nreceived one, status 0, dead 0\n"
        "g got b, status 0\nreceived two, status 0, dead 0\n"
        "g got c, status 0\nreceived result, status 0, dead 1\n"
        "received d, status 0, dead 1\nnobody looks: 0");
}

TEST_CASE(
    "a status that a body returns arrives at its parent, one that is thrown in the greenlet") {
  CHECK(noted_by(statuses_go_up_and_down) ==
        "ended with 7\nended with -2\nended with -1\nended with -7\nended with -99\n"
        "begins 0\ng was told 42: an error of the program's own\nthrown 42\ndead 1\n"
        "a dead one passes it on: 43\nnot started: 44\ndead 1");
}

TEST_CASE("a greenlet that is killed is told so and cleans up") {
  CHECK(noted_by(a_killed_greenlet_cleans_up) ==
        "not started: killed 0\ndead 1\nactive 1\ntold the greenlet is to end, frees\nkilled 0\n"
        "active 0, dead 1\nkilled again 0\nitself: -3");
}

TEST_CASE("dropping the last reference kills a greenlet") {
  CHECK(noted_by(an_unreferenced_greenlet_is_killed) ==
        "one reference is left\ntold the greenlet is to end, frees\nnone");
}

TEST_CASE("a greenlet that goes on after it was killed is reported") {
  CHECK(noted_by(a_greenlet_that_refuses_to_end) ==
        "told the greenlet is to end\n"
        "killed: -3, the greenlet did not end when it was told to\nkilled: 0");
}

TEST_CASE("a greenlet has a parent, data, a name and a stack") {
  CHECK(noted_by(what_a_greenlet_knows) ==
        "main has a parent 0\nmain's stack 0\ndata NULL\nname of 6: wor\nname of 1: w\n"
        "length alone 1\nstack of 131072\nitself 1, its parent 1\ndata mine\n"
        "uses its stack 1\nstatus 0\nset parent 0");
}

TEST_CASE("impossible calls are refused with a status and a text") {
  CHECK(
      noted_by(invalid_calls) ==
      "no body -2\nsays the body, or the place for the greenlet, is NULL\nno place -2\nswitch -2\n"
      "says the greenlet is NULL\nkill -2\ndead 0\ndata -2\nname of 0: \nthrow nothing -2\n"
      "its own parent -2\nsleep -3\n"
      "says there is no task that could wait: call this in the body of fiber_run, fiber_spawn or "
      "fiber_loop_spawn\nspawn -3\nawait -2\nloop 0\npost -2\n"
      "unknown status");
}

TEST_CASE("a greenlet refuses other threads, which may hold references to it") {
  CHECK(noted_by(another_threads_greenlet) ==
        "switch -5\nsays it belongs to another thread\nthrow -5\nkill -5\nactive 1\n"
        "told the greenlet is to end, frees\nkilled 0");
}

TEST_CASE("a program may have been compiled with fewer options") {
  CHECK(noted_by(old_options) == "new 0\nstack of 65536, name of 0");
}

TEST_CASE("options without their size are refused, not passed over") {
  CHECK(noted_by(options_without_size) ==
        "new -2: the size in the options is wrong: it must be the sizeof of their struct\nmade 0");
}

TEST_CASE("tasks and greenlets take the thread's size of stacks") {
  CHECK(noted_by(sizes_of_stacks) ==
        "set 0\nstack of 1024 KiB\nstack of 1024 KiB\ntoo small -2\nset back 0\n"
        "stack of 256 KiB\ntrimmed 0");
}

TEST_CASE("tasks take turns") {
  CHECK(noted_by(tasks_take_turns) ==
        "main waits\na 0\nb 0\na 1\nb 1\na 0\nb 0\nin a task: run -3\nrun 0 all done");
}

TEST_CASE("a task ends with a result or a status") {
  CHECK(noted_by(a_task_returns) ==
        "not yet -3, done 0\nawait 0\nresult pointer\nawait 7: an error of the program's own\n"
        "done 1, result 7\na task's result is its own: -3\nrun 8");
}

TEST_CASE("a task is cancelled, by another one and by the end of the run") {
  CHECK(noted_by(a_task_is_cancelled) ==
        "cancel 0\nwoken: cancelled\nawait -8\ncancelled 1\ncancel -3\nwoken: cancelled\nrun 0");
}

TEST_CASE("a future is ended by anybody, once") {
  CHECK(
      noted_by(a_future_is_awaited) ==
      "sets 0\nsets -3\ntold it is done\nawait 0\nanswer\nset status 0\nawait 9\nresult 9\nrun 0");
}

TEST_CASE("a wait has a limit") {
  CHECK(noted_by(limits) == "woken: cancelled\nawait -7\ncancelled 1\nawait 0\nrun 0");
}

TEST_CASE("a descriptor is waited for") {
  CHECK(noted_by(descriptors) ==
        "limit: -7\nready 0\nwrites 1\nwait 0\nready 1\nwait 0\nready 2\nno event -2\n"
        "no descriptor -2\nclosed -6, errno EBADF\nrun 0");
}

TEST_CASE("several tasks wait for the same descriptor, and one of them is cancelled") {
  CHECK(noted_by(several_tasks_wait_for_a_descriptor) ==
        "wait -8, ready 0\nwrites 2\nwait 0, ready 1\nread 1\nwait 0, ready 1\nread 1\n"
        "task 0: 0\ntask 1: -8\ntask 2: 0\nrun 0");
}

TEST_CASE("threads post to a loop, and a task has them block in its place") {
  CHECK(noted_by(threads) ==
        "post 0\nawait 0, from another thread\nto_thread 0, blocked elsewhere\nrun 0");
}

TEST_CASE("a loop inside a poll loop") {
  CHECK(noted_by(a_loop_in_a_loop) ==
        "new 0\ntimeout -1, ready 0\ntimeout 0, ready 1\nin the host 0\nin the host 1\ndone\n"
        "close 0\nfileno -1\npost -3");
}

TEST_CASE("an exception of C++ code that passes through a body in C arrives as it was") {
  struct Thrower {
    static int through_c(void*, void**) {
      // As C code does: it gets a status, and passes it on.
      const fiber::greenlet inner([] { throw std::out_of_range("far away"); });
      return fiber_greenlet_switch(reinterpret_cast<fiber_greenlet*>(inner.object()), nullptr,
                                   nullptr);
    }
  };
  fiber_greenlet* g = nullptr;
  REQUIRE(fiber_greenlet_new(&g, &Thrower::through_c, nullptr, nullptr) == FIBER_OK);
  const fiber::greenlet same(reinterpret_cast<fiber::detail::GreenletObject*>(g));
  CHECK_THROWS_WITH_AS(same.switch_(), "far away", std::out_of_range);
  CHECK(std::string(fiber_last_error()) == "far away");
  fiber_greenlet_unref(g);
}

TEST_CASE("a value that is no pointer is refused on its way to C") {
  const fiber::greenlet text([] { return std::string("text"); });
  void* received = &mutex;
  CHECK(fiber_greenlet_switch(reinterpret_cast<fiber_greenlet*>(text.object()), nullptr,
                              &received) == FIBER_INVALID);
  CHECK(received == nullptr);
}

TEST_CASE("exceptions that leave a loop are statuses") {
  const auto run = [](fiber_body* body) { return fiber_run(body, nullptr, nullptr); };
  CHECK(run([](void*, void**) -> int { return FIBER_INTERRUPTED; }) == FIBER_INTERRUPTED);
  CHECK(run([](void*, void**) -> int { throw fiber::SystemExit(3); }) == FIBER_ERROR);
}

TEST_CASE("a killed greenlet keeps its parent") {
  fiber_greenlet* parent = nullptr;
  fiber_greenlet* killed = nullptr;
  const auto body = [](void*, void**) { return static_cast<int>(FIBER_OK); };
  REQUIRE(fiber_greenlet_new(&parent, body, nullptr, nullptr) == FIBER_OK);
  fiber_greenlet_options options{};
  options.size = sizeof options;
  options.parent = parent;
  REQUIRE(fiber_greenlet_new(&killed, body, nullptr, &options) == FIBER_OK);
  CHECK(fiber_greenlet_kill(killed) == FIBER_OK);
  CHECK(fiber_greenlet_parent(killed) == parent);
  CHECK(fiber_greenlet_dead(parent) == 0);
  fiber_greenlet_unref(killed);
  fiber_greenlet_unref(parent);
}

TEST_CASE("a greenlet that cannot be killed, or throws instead of ending, keeps its parent") {
  static fiber_greenlet* main = nullptr;
  static fiber_greenlet* of_task = nullptr;
  main = fiber_greenlet_current();
  fiber_greenlet* parent = nullptr;
  fiber_greenlet* killed = nullptr;
  const auto body = [](void*, void**) {
    const int told = fiber_greenlet_switch(main, nullptr, nullptr);
    CHECK(fiber_greenlet_throw(main, 7, nullptr) == FIBER_EXIT);
    return told;
  };
  REQUIRE(fiber_greenlet_new(&parent, body, nullptr, nullptr) == FIBER_OK);
  fiber_greenlet_options options{};
  options.size = sizeof options;
  options.parent = parent;
  REQUIRE(fiber_greenlet_new(&killed, body, nullptr, &options) == FIBER_OK);
  CHECK(fiber_greenlet_switch(killed, nullptr, nullptr) == FIBER_OK);
  CHECK(fiber_greenlet_kill(killed) == 7);
  CHECK(fiber_greenlet_parent(killed) == parent);
  CHECK(fiber_greenlet_kill(killed) == FIBER_OK);
  fiber_greenlet_unref(killed);
  fiber_greenlet_unref(parent);

  CHECK(fiber_run(
            [](void*, void**) {
              fiber_future* task = nullptr;
              const auto waits = [](void*, void**) {
                of_task = fiber_greenlet_ref(fiber_greenlet_current());
                return fiber_sleep(FIBER_MILLISECOND);
              };
              CHECK(fiber_spawn(&task, waits, nullptr, nullptr) == FIBER_OK);
              CHECK(fiber_sleep(0) == FIBER_OK);
              fiber_greenlet* const before = fiber_greenlet_parent(of_task);
              CHECK(fiber_greenlet_kill(of_task) == FIBER_BAD_STATE);
              CHECK(fiber_greenlet_parent(of_task) == before);
              CHECK(fiber_await(task, FIBER_NO_LIMIT, nullptr) == FIBER_OK);
              fiber_greenlet_unref(of_task);
              fiber_future_unref(task);
              return static_cast<int>(FIBER_OK);
            },
            nullptr, nullptr) == FIBER_OK);
}

TEST_CASE("a task that waits for what is ready lets others run, too") {
  support::Pipe pipe;
  fiber::asyncio::run([&] {
    bool others_ran = false;
    const auto other = fiber::asyncio::create_task([&] { others_ran = true; });
    CHECK(fiber_wait_fd(pipe.writes, FIBER_WRITABLE, FIBER_NO_LIMIT, nullptr) == FIBER_OK);
    CHECK(others_ran);
  });
}

TEST_CASE("a descriptor that has come to its end is ready") {
  support::Pipe pipe;
  pipe.writes.close();
  fiber::asyncio::run([&] {
    int ready = 0;
    CHECK(fiber_wait_fd(pipe.reads, FIBER_READABLE, FIBER_SECOND, &ready) == FIBER_OK);
    CHECK(ready == FIBER_READABLE);
  });
}

TEST_CASE("a wait for a descriptor that is over leaves nothing in the loop's selector") {
  support::Pipe pipe;
  const fiber::asyncio::EventLoop loop = fiber::asyncio::new_event_loop();
  pollfd host{.fd = loop.fileno(), .events = POLLIN, .revents = 0};
  loop.run_until_complete([&] {
    CHECK(fiber_wait_fd(pipe.reads, FIBER_READABLE, FIBER_MILLISECOND, nullptr) == FIBER_TIMEOUT);
  });
  while (loop.run_ready()) {
  }
  CHECK(::write(pipe.writes, "x", 1) == 1);
  CHECK(::poll(&host, 1, 0) == 0);
  loop.close();
}
