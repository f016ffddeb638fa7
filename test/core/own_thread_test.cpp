// A fiber with a helper's thread pointer: state per thread is the fiber's own.
#include <fiber/core/own_thread.hpp>

#include <fiber/core/switch.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <deque>
#include <exception>
#include <initializer_list>
#include <optional>
#include <string>

#include <pthread.h>

#include "support/platform.hpp"

using fiber::core::Context;
using fiber::core::OwnThread;
using fiber::core::thread_state;
using fiber::core::ThreadState;

namespace {

thread_local int number = 0;

// Not inlined: a compiler may keep the address of a thread's variable for a whole function.
[[gnu::noinline]] int count() { return ++number; }
[[gnu::noinline]] pthread_t self() { return ::pthread_self(); }

// A fiber that switches away while it runs as a thread of its own.
struct Fiber {
  Fiber() : own(thread_state(), true) {}

  void resume() {
    ThreadState& thread = thread_state();
    if (started) {
      switch_context(thread, outside, inside);
    } else {
      started = true;
      start_context(thread, outside, thread.pool.allocate(1), &Fiber::entry, this);
    }
  }

  static void entry(void* argument) {
    Fiber& fiber = *static_cast<Fiber*>(argument);
    fiber.own.run(&Fiber::body, argument);
    fiber.log += "over ";
    exit_context(fiber.outside);
  }

  static void body(void* argument) {
    Fiber& fiber = *static_cast<Fiber*>(argument);
    const pthread_t before = self();
    fiber.log += self() == fiber.home ? "home " : "own ";
    fiber.log += std::to_string(count()) + " ";
    errno = 7;
    switch_context(thread_state(), fiber.inside, fiber.outside);
    fiber.log += std::to_string(errno) + " ";
    fiber.log += std::to_string(count()) + " ";
    fiber.log += ::pthread_equal(self(), before) != 0 ? "equal " : "other ";
    try {
      throw 1;
    } catch (int) {
      switch_context(thread_state(), fiber.inside, fiber.outside);
      fiber.log += std::current_exception() != nullptr ? "caught " : "nothing ";
    }
  }

  pthread_t home = ::pthread_self();
  OwnThread own;
  Context outside, inside;
  bool started = false;
  std::string log;
};

}  // namespace

TEST_CASE("a fiber with a thread of its own has that thread's state at every switch") {
  if (const char* why = OwnThread::why_not(true)) {
    support::left_out(why);
    return;
  }
  number = 100;
  Fiber fiber;
  errno = 3;
  for (int turn = 0; turn < 3; ++turn) {
    fiber.resume();
    fiber.log += std::to_string(count()) + " " + std::to_string(errno) + " ";
    fiber.log += self() == fiber.home ? "home " : "own ";
    fiber.log += std::current_exception() != nullptr ? "caught | " : "nothing | ";
  }
  CHECK(fiber.log ==
        "own 1 101 3 home nothing | 7 2 equal 102 3 home nothing | caught over 103 3 home "
        "nothing | ");
}

namespace {

// A ring of fibers, each of which continues the next one; every other fiber has no thread.
struct Ring {
  struct Member {
    Ring* ring;
    std::size_t place;
    std::optional<OwnThread> own;
    Context context;
    bool started = false;
    std::string log;
  };

  explicit Ring(std::initializer_list<bool> has_thread) {
    for (const bool has : has_thread) {
      Member& member = members.emplace_back(this, members.size());
      if (has) member.own.emplace(thread_state(), true);
    }
  }

  void continue_next(Context& from, std::size_t place) {
    Member& next = members[place];
    ThreadState& thread = thread_state();
    if (next.started) {
      switch_context(thread, from, next.context);
    } else {
      next.started = true;
      start_context(thread, from, thread.pool.allocate(1), &Ring::entry, &next);
    }
  }

  static void entry(void* argument) {
    Member& member = *static_cast<Member*>(argument);
    if (member.own)
      member.own->run(&Ring::body, argument);
    else
      body(argument);
    if (member.place + 1 < member.ring->members.size())
      exit_context(member.ring->members[member.place + 1].context);
    exit_context(member.ring->outside);
  }

  static void body(void* argument) {
    Member& member = *static_cast<Member*>(argument);
    for (int turn = 0; turn < 3; ++turn) {
      errno = static_cast<int>(member.place) + 10;
      member.ring->continue_next(member.context, (member.place + 1) % member.ring->members.size());
      member.log += std::to_string(count()) + " " + std::to_string(errno) + " ";
      member.log += self() == member.ring->home ? "home " : "own ";
    }
  }

  pthread_t home = ::pthread_self();
  std::deque<Member> members;
  Context outside;
};

}  // namespace

TEST_CASE("fibers that continue each other directly keep apart what each thread has") {
  if (const char* why = OwnThread::why_not(true)) {
    support::left_out(why);
    return;
  }
  number = 100;
  errno = 3;
  Ring ring({true, true, false, true});
  ring.continue_next(ring.outside, 0);
  CHECK(ring.members[0].log == "1 10 own 2 10 own 3 10 own ");
  CHECK(ring.members[1].log == "1 11 own 2 11 own 3 11 own ");
  CHECK(ring.members[2].log == "101 12 home 102 12 home 103 12 home ");
  CHECK(ring.members[3].log == "1 13 own 2 13 own 3 13 own ");
  CHECK(count() == 104);
  CHECK(errno == 3);
}
