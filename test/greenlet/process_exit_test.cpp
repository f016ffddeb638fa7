// The end of a process with greenlets: in child processes, whose status and output are compared.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <semaphore>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/valgrind.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::ValueError;
using support::AtEnd;
using support::run_forked;
using support::thrown_by;
using support::to_parent;

namespace {

void print(const std::string& text) {
  const std::string line = text + "\n";
  (void)!::write(STDOUT_FILENO, line.data(), line.size());
}

greenlet suspended(const char* name) {
  greenlet g([name] {
    const AtEnd end([name] { print(std::string(name) + " unwound"); });
    to_parent();
  });
  g.switch_();
  return g;
}

// Does in its destructor things that a program might do too late.
struct Late {
  explicit Late(const char* name) : name(name) {}
  ~Late() {
    handle = nullptr;
    print(std::string(name) + ": dropped");
    print(std::string(name) + ": " + thrown_by([] { getcurrent(); }));
    print(std::string(name) + ": " + thrown_by([] { const greenlet g([] {}); }));
    print(std::string(name) + ": " + thrown_by([&] { asked.switch_(); }));
    print(std::string(name) + (asked.dead() ? ": dead" : ": not dead"));
    (void)fiber::repr(asked);
  }
  const char* name;
  greenlet handle = nullptr, asked = nullptr;
};

std::string too_late(const std::string& name) {
  const std::string refused =
      ": RuntimeError('fibers were used on a thread that has already ended its fibers')\n";
  return name + ": dropped\n" + name + refused + name + refused + name + refused + name +
         ": dead\n";
}

}  // namespace

TEST_CASE("exit() unwinds the suspended greenlets of its thread, newest first") {
  const auto ended = run_forked([] {
    const greenlet a = suspended("a");
    const greenlet in_handler([] {
      try {
        throw ValueError("x");
      } catch (const ValueError&) {
        const AtEnd end([] { print("handler unwound"); });
        to_parent();
      }
    });
    in_handler.switch_();
    const greenlet nested([] {
      const greenlet inner = suspended("inner");
      const AtEnd end([] { print("nested unwound"); });
      to_parent();
    });
    nested.switch_();
    std::exit(5);
  });
  CHECK(ended.out() == "inner unwound\nnested unwound\nhandler unwound\na unwound\n");
  CHECK(ended.errors == "");
  CHECK(ended.status == 5);
}

TEST_CASE("exit() leaves the greenlets of other threads alone") {
  const auto ended = run_forked([] {
    std::binary_semaphore ready(0), never(0);
    std::thread other([&] {
      // In a frame of AddressSanitizer's own, LeakSanitizer would not see what it refers to.
      const greenlet g([]() __attribute__((no_sanitize("address"))) {
        const auto kept = std::make_unique<std::string>("what only a suspended stack refers to");
        const AtEnd end([] { print("other unwound"); });
        to_parent();
      });
      g.switch_();
      ready.release();
      never.acquire();
    });
    ready.acquire();
    const greenlet g = suspended("main's");
    std::exit(6);
  });
  CHECK(ended.out() == "main's unwound\n");
  CHECK(ended.errors == "");
  CHECK(ended.status == 6);
}

TEST_CASE("exit() in a greenlet unwinds the others and ends the process with its status") {
  const auto ended = run_forked([] {
    const greenlet other = suspended("other");
    const auto kept = std::make_unique<std::string>("what only the stack of main refers to");
    greenlet g([] {
      const AtEnd end([] { print("never left"); });
      std::exit(7);
    });
    g.switch_();
  });
  CHECK(ended.out() == "other unwound\n");
  CHECK(ended.errors == "");
  CHECK(ended.status == 7);
}

TEST_CASE(
    "a function registered with atexit may still use greenlets, unless main has ended its own") {
  const auto ended = run_forked([] {
    std::atexit([] {
      print(thrown_by([] { greenlet([] { print("atexit"); }).switch_(); }));
      print(thrown_by([] { fiber::gettrace(); }));
      print(thrown_by([] { fiber::settrace(nullptr); }));
    });
    std::exit(0);
  });
  const std::string refused =
      "RuntimeError('fibers were used on a thread that has already ended its fibers')\n";
  CHECK(ended.out() == refused + refused + refused);
  CHECK(ended.status == 0);
}

TEST_CASE("static and thread_local objects may drop and ask for greenlets when it is too late") {
  const auto ended = run_forked([] {
    std::thread([] {
      static thread_local Late late("thread_local");  // made before the thread's first greenlet
      late.handle = suspended("f");
      late.asked = suspended("g");
    }).join();
    static Late late("static");
    late.handle = suspended("f");
    late.asked = suspended("g");
    std::exit(0);
  });
  CHECK(ended.out() == "g unwound\nf unwound\n" + too_late("thread_local") +
                           "g unwound\nf unwound\n" + too_late("static"));
  CHECK(ended.errors == "");
  CHECK(ended.status == 0);
}

TEST_CASE("a thread_local object made after the first greenlet still finds all of them") {
  const auto ended = run_forked([] {
    std::thread([] {
      getcurrent();
      static thread_local AtEnd late([] {
        greenlet([] { print("ran"); }).switch_();
        const greenlet g = suspended("f");
        print("leaving");
      });
    }).join();
  });
  CHECK(ended.out() == "ran\nleaving\nf unwound\n");
  CHECK(ended.status == 0);
}

// Valgrind counts the memory of threads that a child process lacks as a leak.
TEST_CASE("a forked child resumes the greenlets of its thread, and drops them" *
          doctest::skip(support::on_valgrind())) {
  const auto ended = run_forked([] {
    int resumed = 0;
    greenlet f([&] {
      const AtEnd end([] { print("unwound"); });
      for (;;) {
        to_parent();
        ++resumed;
      }
    });
    f.switch_();
    // Other threads keep handing references back while the process forks: so many that one of them
    // holds the lock nearly all the time.
    std::atomic<bool> stop{false};
    std::vector<std::thread> droppers;
    for (int i = 0; i < 4; ++i)
      droppers.emplace_back([&, copy = f] {
        while (!stop) const greenlet again = copy;
      });
    for (int i = 0; i < 20; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::alarm(10);
        f.switch_();
        getcurrent();
        ::_exit(resumed == 1 ? 0 : 1);
      }
      int status = -1;
      ::waitpid(child, &status, 0);
      if (status != 0) print("child failed: " + std::to_string(status));
      getcurrent();
    }
    stop = true;
    for (std::thread& dropper : droppers) dropper.join();
    f = nullptr;
    getcurrent();
  });
  CHECK(ended.out() == "unwound\n");
  CHECK(ended.status == 0);
}

TEST_CASE("an exception that reaches no handler in main ends the process as any other does") {
  const auto ended = run_forked(
      [] { std::thread([] { greenlet([] { throw ValueError("x"); }).switch_(); }).join(); });
  CHECK(ended.status == 128 + SIGABRT);
}
