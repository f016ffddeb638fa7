// A thread that ends unwinds its suspended greenlets itself, newest first.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/platform.hpp"
#include "support/valgrind.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::weak_greenlet;
using support::AtEnd;
using support::Events;
using support::named;
using support::run_forked;
using support::thrown_by;
using support::to_parent;
using support::UnraisableEvents;

namespace {

// Returns a greenlet that is suspended until it is unwound.
greenlet suspended(Events& events, const char* name) {
  greenlet g(
      [&events, name] {
        const AtEnd end([&] { events(name); });
        to_parent();
      },
      named(name));
  g.switch_();
  return g;
}

// Keeps the greenlet for ever, where leak checkers find it.
void never_drop(greenlet g) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<greenlet>;
  const std::lock_guard lock(mutex);
  kept.push_back(std::move(g));
}

void print(const char* text) {
  (void)!::write(STDOUT_FILENO, text, std::char_traits<char>::length(text));
}

[[maybe_unused]] void end_thread_of(void* (*body)(void*)) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, body, nullptr) != 0) throw std::runtime_error("no thread");
  void* result = nullptr;
  pthread_join(thread, &result);
  print(result == PTHREAD_CANCELED ? "cancelled\n" : "exited\n");
}

}  // namespace

TEST_CASE("greenlets of a thread that exited are dead, say so, and are dropped in peace") {
  Events events;
  std::vector<greenlet> left;
  weak_greenlet weak;
  std::thread::id owner, unwound_by;
  std::thread([&] {
    owner = std::this_thread::get_id();
    left.push_back(getcurrent());
    left.push_back(greenlet([&] {
      const AtEnd end([&] { unwound_by = std::this_thread::get_id(); });
      to_parent();
    }));
    left.back().switch_();
    left.push_back(suspended(events, "newer"));
    left.push_back(suspended(events, "newest"));
    left.push_back(greenlet([] {}));
    left.back().switch_();
    weak = weak_greenlet(left[1]);
  }).join();
  CHECK(events.take() == "newest newer");
  CHECK(unwound_by == owner);
  for (const greenlet& g : left) {
    CHECK((g.dead() && !g));
    CHECK(thrown_by([&] {
            g.switch_();
          }).find("cannot switch to a greenlet whose thread has exited: <greenlet at ") == 7);
    CHECK_THROWS_AS(g.throw_(), greenlet::error);
    CHECK_FALSE(thrown_by([&] { g.parent(getcurrent()); }).empty());
  }
  CHECK(fiber::repr(left[0]).find(" dead main>") != std::string::npos);
  CHECK(weak.lock() == left[1]);
  left.clear();
  CHECK(weak.lock() == nullptr);
}

TEST_CASE("a greenlet dropped by another thread is unwound at the latest when its own exits") {
  std::thread::id owner, unwound_by;
  std::promise<greenlet> made;
  std::promise<void> dropped;
  std::thread thread([&] {
    owner = std::this_thread::get_id();
    greenlet g([&] {
      const AtEnd end([&] { unwound_by = std::this_thread::get_id(); });
      to_parent();
    });
    g.switch_();
    made.set_value(std::move(g));
    dropped.get_future().wait();
  });
  made.get_future().get() = nullptr;
  dropped.set_value();
  thread.join();
  CHECK(unwound_by == owner);
}

TEST_CASE("greenlets that unwinding starts are unwound as well") {
  Events events;
  std::thread([&] {
    const greenlet outer([&] {
      const AtEnd end([&] {
        events("outer");
        never_drop(suspended(events, "inner"));
      });
      to_parent();
    });
    outer.switch_();
    never_drop(outer);
  }).join();
  CHECK(events.take() == "outer inner");
}

// Valgrind reports the caught exception, which is lost with the stack.
TEST_CASE("a greenlet that outlives its thread's exit is reported, dead, and its stack stays" *
          doctest::skip(support::on_valgrind())) {
  Events events;
  const UnraisableEvents unraisable(events);
  greenlet stubborn = nullptr;
  std::thread([&] {
    stubborn = greenlet(
        [&] {
          for (;;) {
            try {
              to_parent();
            } catch (const GreenletExit&) {
              events("swallowed");
            }
          }
        },
        named("stubborn"));
    stubborn.switch_();
    greenlet dropped(
        [&] {
          try {
            to_parent();
          } catch (const GreenletExit&) {
            to_parent();
          }
        },
        named("dropped"));
    dropped.switch_();
    dropped = nullptr;
    events("thread ends");
  }).join();
  CHECK(events.take() ==
        "dropped: GreenletExit did not end thread ends swallowed stubborn: GreenletExit did not "
        "end");
  CHECK((stubborn.dead() && !stubborn));
}

TEST_CASE("an error while a thread exits goes to the unraisable hook") {
  Events events;
  const UnraisableEvents unraisable(events);
  std::thread([&] {
    const greenlet g(
        [] {
          try {
            to_parent();
          } catch (...) {
            throw fiber::ValueError("x");
          }
        },
        named("g"));
    g.switch_();
    never_drop(g);
  }).join();
  CHECK(events.take() == "g: Exception ignored in ValueError('x')");
}

TEST_CASE("references among a dead thread's greenlets are dropped without a deadlock") {
  greenlet left = nullptr;
  std::thread([&] {
    greenlet chain([] {});
    for (int i = 0; i < 100; ++i) chain = greenlet([held = chain] { (void)held; });
    left = chain;
  }).join();
  const weak_greenlet weak(left);
  left = nullptr;
  CHECK(weak.lock() == nullptr);
}

TEST_CASE("a thousand short threads leave nothing behind") {
  for (int i = 0; i < 1000; ++i)
    std::thread([] {
      const greenlet g([] { to_parent(); });
      g.switch_();
      const greenlet self([] {
        const greenlet kept = getcurrent();
        to_parent();
      });
      self.switch_();
    }).join();
}

// ThreadSanitizer requires a thread to end on the stack on which it began.
#if !defined(FIBER_TSAN)
TEST_CASE("pthread_exit in a greenlet unwinds its stack, then the other greenlets") {
  if (support::lacks_forced_unwinding()) return;
  const auto ended = run_forked([] {
    end_thread_of([](void*) -> void* {
      static greenlet other = nullptr;
      other = greenlet([] {
        const AtEnd end([] { print("other unwound\n"); });
        to_parent();
      });
      other.switch_();
      greenlet([] {
        const AtEnd end([] { print("unwound\n"); });
        try {
          pthread_exit(nullptr);
        } catch (const std::exception&) {
          print("swallowed\n");
        }
      }).switch_();
      print("returned\n");
      return nullptr;
    });
  });
  CHECK(ended.out() == "unwound\nother unwound\nexited\n");
  CHECK(ended.errors == "");
  CHECK(ended.status == 0);
}

TEST_CASE("a thread is cancelled while a greenlet runs") {
  if (support::lacks_forced_unwinding()) return;
  const auto ended = run_forked([] {
    end_thread_of([](void*) -> void* {
      greenlet([] {
        const AtEnd end([] { print("unwound\n"); });
        pthread_cancel(pthread_self());
        pthread_testcancel();
        print("not cancelled\n");
      }).switch_();
      return nullptr;
    });
  });
  CHECK(ended.out() == "unwound\ncancelled\n");
  CHECK(ended.errors == "");
  CHECK(ended.status == 0);
}
#endif
