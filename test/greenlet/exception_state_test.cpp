// The C++ runtime's record of caught and uncaught exceptions belongs to each greenlet.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cfenv>
#include <limits>
#include <stdexcept>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/valgrind.hpp"

using fiber::greenlet;
using fiber::GreenletExit;
using fiber::ValueError;
using support::AtEnd;
using support::Events;
using support::run_forked;
using support::thrown_by;
using support::to_parent;

namespace {

std::string rethrown() {
  return thrown_by([] { throw; });
}

}  // namespace

TEST_CASE("a greenlet started in a handler knows nothing of what its starter caught") {
  Events events;
  const greenlet g([&] {
    events(std::current_exception() ? "caught" : "nothing caught");
    events(std::uncaught_exceptions());
  });
  try {
    throw ValueError("A");
  } catch (const ValueError&) {
    g.switch_();
    events(rethrown());
  }
  CHECK(events.take() == "nothing caught 0 ValueError('A')");
}

TEST_CASE("each greenlet rethrows its own exception, in whatever order the handlers are left") {
  for (const bool main_first : {false, true}) {
    Events events;
    const greenlet f([&] {
      try {
        throw ValueError("B");
      } catch (const ValueError&) {
        to_parent();
        events("f " + rethrown());
        to_parent();
      }
      events(std::current_exception() ? "f still catches" : "f done");
      to_parent();
    });
    try {
      throw ValueError("A");
    } catch (const ValueError&) {
      f.switch_();
      events("main " + rethrown());
      f.switch_();
      events("main " + rethrown());
      if (!main_first) f.switch_();
    }
    events(std::current_exception() ? "main still catches" : "main done");
    if (main_first) f.switch_();
    f.switch_();
    CHECK(events.take() == std::string("main ValueError('A') f ValueError('B') main "
                                       "ValueError('A') ") +
                               (main_first ? "main done f done" : "f done main done"));
  }
}

TEST_CASE("a destructor that unwinding runs may switch to a greenlet that throws and catches") {
  Events events;
  const greenlet f([&] {
    for (int i = 0; i < 2; ++i) {
      const AtEnd end([&] { events("f uncaught " + std::to_string(std::uncaught_exceptions())); });
      try {
        const AtEnd inner(
            [&] { events("f uncaught " + std::to_string(std::uncaught_exceptions())); });
        throw i;
      } catch (int) {
        to_parent();
      }
    }
  });
  try {
    const AtEnd outer([&] {
      events("main uncaught " + std::to_string(std::uncaught_exceptions()));
      f.switch_();
      events("main uncaught " + std::to_string(std::uncaught_exceptions()));
    });
    throw ValueError("x");
  } catch (const ValueError& error) {
    events(error.what());
    f.switch_();
  }
  events("uncaught " + std::to_string(std::uncaught_exceptions()));
  f.switch_();
  CHECK(events.take() ==
        "main uncaught 1 f uncaught 1 main uncaught 1 x f uncaught 0 f uncaught 1 uncaught 0 "
        "f uncaught 0");
}

TEST_CASE("a greenlet suspended by a destructor during unwinding goes on unwinding when resumed") {
  Events events;
  const greenlet f([&] {
    try {
      const AtEnd end([&] {
        events(std::uncaught_exceptions());
        to_parent();
        events(std::uncaught_exceptions());
      });
      throw ValueError("f");
    } catch (const ValueError& error) {
      events(error.what());
    }
  });
  f.switch_();
  events("main " + std::to_string(std::uncaught_exceptions()));
  events(thrown_by([] { throw ValueError("main"); }));
  f.switch_();
  CHECK(events.take() == "1 main 0 ValueError('main') 1 f");
}

TEST_CASE("an exception shared by three suspended handlers is destroyed once, by the last") {
  static int alive;
  alive = 0;
  struct Counted {
    Counted() { ++alive; }
    Counted(const Counted&) { ++alive; }
    ~Counted() { --alive; }
  };
  for (const auto& order : std::vector<std::vector<int>>{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}}) {
    std::vector<greenlet> all;
    auto error = std::make_exception_ptr(Counted());
    for (int i = 0; i < 3; ++i) {
      all.emplace_back([](std::exception_ptr shared) {
        try {
          std::rethrow_exception(std::move(shared));
        } catch (const Counted&) {
          to_parent();
        }
      });
      all.back().switch_(error);
    }
    error = nullptr;
    for (const int i : order) {
      CHECK(alive == 1);
      if (i == 1)
        all[static_cast<std::size_t>(i)].switch_();
      else
        all[static_cast<std::size_t>(i)] = nullptr;
    }
    CHECK(alive == 0);
  }
}

TEST_CASE("a greenlet may be killed by the unwinding of another exception") {
  Events events;
  try {
    greenlet f([&] {
      const AtEnd end([&] { events("f uncaught " + std::to_string(std::uncaught_exceptions())); });
      try {
        to_parent();
      } catch (const GreenletExit&) {
        events(thrown_by([] { throw ValueError("inside"); }));
        throw;
      }
    });
    f.switch_();
    const AtEnd end([&] { events("main uncaught " + std::to_string(std::uncaught_exceptions())); });
    throw ValueError("E");
  } catch (const ValueError& error) {
    events(error.what());
  }
  CHECK(events.take() == "main uncaught 1 ValueError('inside') f uncaught 1 E");
  CHECK(std::uncaught_exceptions() == 0);
}

TEST_CASE("a greenlet is killed inside its handler, and in the handler of its killer") {
  Events events;
  greenlet f([&] {
    try {
      throw ValueError("B");
    } catch (const ValueError&) {
      try {
        to_parent();
      } catch (const GreenletExit&) {
        events(rethrown());
        throw;
      }
    }
  });
  f.switch_();
  try {
    throw ValueError("A");
  } catch (const ValueError&) {
    f = nullptr;
    events(rethrown());
  }
  CHECK(events.take() == "GreenletExit('the last reference was dropped') ValueError('A')");
}

TEST_CASE("killing a greenlet that waits in a destructor during unwinding is std::terminate") {
  const auto ended = run_forked([] {
    std::set_terminate([] {
      std::fputs("terminate\n", stdout);
      std::fflush(stdout);
      ::_exit(3);
    });
    greenlet f([] {
      const AtEnd end([] { to_parent(); });
      throw ValueError("B");
    });
    f.switch_();
    f = nullptr;
    std::puts("killed");
  });
  CHECK(ended.out() == "terminate\n");
  CHECK(ended.status == 3);
}

TEST_CASE("killing a greenlet below a noexcept function is std::terminate") {
  const auto ended = run_forked([] {
    greenlet f([] { [&]() noexcept { to_parent(); }(); });
    f.switch_();
    std::puts("suspended");
    std::fflush(stdout);
    f = nullptr;
    std::puts("killed");
  });
  CHECK(ended.out() == "suspended\n");
  CHECK(ended.status == 128 + SIGABRT);
}

TEST_CASE("the rounding mode belongs to the greenlet that set it") {
  std::vector<int> modes;
  const greenlet f([&] {
    std::fesetround(FE_UPWARD);
    to_parent();
    modes.push_back(std::fegetround());
  });
  f.switch_();
  modes.push_back(std::fegetround());
  std::fesetround(FE_DOWNWARD);
  f.switch_();
  modes.push_back(std::fegetround());
  std::fesetround(FE_TONEAREST);
  CHECK(modes == std::vector<int>{FE_TONEAREST, FE_UPWARD, FE_DOWNWARD});
}

// Valgrind computes in one rounding mode only.
TEST_CASE(
    "arithmetic follows the greenlet's own rounding mode, which it takes over from its starter" *
    doctest::skip(support::on_valgrind())) {
  volatile double one = 1, three = 3;
  const auto third = [&] { return one / three; };
  const double nearest = third();
  std::vector<double> thirds;
  const greenlet f([&] {
    thirds.push_back(third());
    std::fesetround(FE_DOWNWARD);
    thirds.push_back(third());
    to_parent();
    thirds.push_back(third());
  });
  std::fesetround(FE_UPWARD);
  const double up = third();
  f.switch_();
  thirds.push_back(third());
  std::fesetround(FE_TONEAREST);
  f.switch_();
  thirds.push_back(third());
  const double down = thirds[1];
  CHECK((down < up && (nearest == down || nearest == up)));
  CHECK(thirds == std::vector<double>{up, down, up, down, nearest});
}

#if defined(__SSE2__)
// Valgrind does not flush to zero.
TEST_CASE("the control bits of the vector unit are the greenlet's own" *
          doctest::skip(support::on_valgrind())) {
  constexpr unsigned int flush_to_zero = 0x8000, denormals_are_zero = 0x40;
  const unsigned int before = _mm_getcsr();
  volatile double tiny = std::numeric_limits<double>::min(), half = 0.5;
  std::vector<bool> vanishes;
  const greenlet f([&] {
    _mm_setcsr(_mm_getcsr() | flush_to_zero | denormals_are_zero);
    vanishes.push_back(tiny * half == 0);
    to_parent();
    vanishes.push_back(tiny * half == 0);
  });
  f.switch_();
  vanishes.push_back(tiny * half == 0);
  f.switch_();
  CHECK(vanishes == std::vector<bool>{true, false, true});
  CHECK((_mm_getcsr() & (flush_to_zero | denormals_are_zero)) ==
        (before & (flush_to_zero | denormals_are_zero)));
}
#endif

TEST_CASE("errno survives a switch") {
  std::vector<int> numbers;
  const greenlet f([&] {
    errno = 1;
    to_parent();
    numbers.push_back(errno);
    errno = 3;
  });
  errno = 2;
  f.switch_();
  numbers.push_back(errno);
  f.switch_();
  numbers.push_back(errno);
  CHECK(numbers == std::vector<int>{2, 1, 2});
}

TEST_CASE(
    "a handler may switch to a greenlet that ends by an exception, and still rethrow its own") {
  Events events;
  const greenlet failing([] { throw ValueError("B"); });
  try {
    try {
      throw ValueError("A");
    } catch (const ValueError&) {
      events(thrown_by([&] { failing.switch_(); }));
      throw;
    }
  } catch (const ValueError& error) {
    events(error.what());
  }
  CHECK(events.take() == "ValueError('B') A");
}
