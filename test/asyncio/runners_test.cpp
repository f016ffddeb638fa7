// asyncio::run and Runner, and Ctrl-C.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <unistd.h>

#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::CancelledError;
using asyncio::create_task;
using asyncio::Runner;

namespace {

void say(const std::string& text) { std::puts(text.c_str()); }
void interrupt() { ::kill(::getpid(), SIGINT); }

// Returns the output of a program that ends with `body`'s outcome.
std::string printed_by(std::function<void()> body) {
  const ChildResult child = run_forked([body = std::move(body)] {
    std::signal(SIGINT, SIG_DFL);
    try {
      body();
    } catch (...) {
      say("raised " + caught());
    }
  });
  CHECK(child.status == 0);
  return child.out() + child.errors;
}

}  // namespace

TEST_CASE("run gives the result of what it runs: a callable, a coroutine object, an awaitable") {
  CHECK(asyncio::run([] { return 1; }) == 1);
  CHECK(asyncio::run(asyncio::async([](int n) { return n; })(2)) == 2);
  CHECK(asyncio::run(asyncio::sleep(1ms, 3)) == 3);
  asyncio::run([] {});
  CHECK(thrown_by([] { asyncio::run([] { throw fiber::ValueError("x"); }); }) == "ValueError('x')");
  CHECK(thrown_by([] { asyncio::run([] { throw CancelledError("x"); }); }) ==
        "CancelledError('x')");
}

TEST_CASE("a loop_factory that returns a null loop is refused, and asked again") {
  bool null = true;
  Runner runner({.loop_factory = [&] { return null ? asyncio::EventLoop() : virtual_loop(); }});
  const std::string refused = "ValueError('loop_factory has returned a null loop')";
  CHECK(thrown_by([&] { static_cast<void>(runner.get_loop()); }) == refused);
  CHECK(thrown_by([&] { runner.run([] {}); }) == refused);
  null = false;
  CHECK(runner.run([] { return 1; }) == 1);
}

TEST_CASE("several runs of a runner share its loop, which is made at first use") {
  bool made = false;
  Runner runner({.loop_factory = [&] {
    made = true;
    return virtual_loop();
  }});
  CHECK_FALSE(made);
  const asyncio::EventLoop loop = runner.get_loop();
  CHECK(made);
  CHECK(runner.get_loop() == loop);
  asyncio::Task<> background;
  CHECK(runner.run([&] {
    background = create_task([] { turns(3); });
    return asyncio::get_running_loop() == loop;
  }));
  // Tasks that one run leaves unfinished go on in the next run.
  CHECK_FALSE(background.done());
  runner.run([&] { await(background); });
  CHECK(background.done());
  runner.close();
  CHECK(loop.is_closed());
}

TEST_CASE("a runner is closed once and for all") {
  Runner runner;
  runner.run([] {});
  runner.close();
  runner.close();
  const std::string closed = "RuntimeError('Runner is closed')";
  CHECK(thrown_by([&] { runner.run([] {}); }) == closed);
  CHECK(thrown_by([&] { runner.get_loop(); }) == closed);
  CHECK(thrown_by([&] { asyncio::with(runner, [] {}); }) == closed);
  // An unused runner is not closed by this.
  Runner unused;
  unused.close();
  CHECK(unused.run([] { return 1; }) == 1);
}

TEST_CASE("a runner that outlives the fibers of its thread is closed without a word") {
  const ChildResult child = run_forked([] {
    static std::optional<Runner> of_program;
    of_program.emplace().run([] {});
    std::thread([] {
      static thread_local std::optional<Runner> of_thread;
      of_thread.emplace().run([] {});
    }).join();
    std::exit(0);
  });
  CHECK(child.errors == "");
  CHECK(child.status == 0);
}

TEST_CASE("a runner cannot be closed while its loop runs, and is as good as before") {
  const std::string refused = "RuntimeError('Cannot close a running event loop')";
  Runner runner;
  std::string inside;
  CHECK(thrown_by([&] {
          runner.run([&] {
            inside = thrown_by([&] { runner.close(); });
            await(asyncio::sleep(0));
          });
        }) == "CancelledError()");
  CHECK(inside == refused);
  CHECK(runner.run([] { return 1; }) == 1);
  runner.get_loop().call_soon([&] {
    inside = thrown_by([&] { runner.close(); });
    runner.get_loop().stop();
  });
  inside.clear();
  runner.get_loop().run_forever();
  CHECK(inside == refused);
  // A clean-up cannot close it either.
  runner.get_loop().call_soon([&] { runner.get_loop().stop(); });
  const auto left_over = runner.get_loop().create_task([&] {
    try {
      await(asyncio::sleep(1h));
    } catch (const CancelledError&) {
      inside = thrown_by([&] { runner.close(); });
    }
  });
  runner.get_loop().run_forever();
  inside.clear();
  runner.close();
  CHECK(inside == refused);
  CHECK(left_over.done());
  CHECK(thrown_by([&] { runner.get_loop(); }) == "RuntimeError('Runner is closed')");
}

TEST_CASE("exit() in the task of a runner that is static ends with its status") {
  const ChildResult child = run_forked([] {
    static std::optional<Runner> of_program;
    of_program.emplace().run([] { std::exit(3); });
  });
  CHECK(child.errors == "");
  CHECK(child.status == 3);
}

TEST_CASE("a runner cannot run inside of itself") {
  Trace trace;
  Runner runner;
  runner.run([&] {
    trace(thrown_by([&] { runner.run([] {}); }).starts_with("RuntimeError("));
    trace(thrown_by([&] { asyncio::run([] {}); }).starts_with("RuntimeError("));
  });
  CHECK(trace.take() == "[1] True | [1] True");
}

TEST_CASE("run leaves no loop set, one with a loop_factory leaves the set one alone") {
  const asyncio::EventLoop mine = asyncio::new_event_loop();
  asyncio::set_event_loop(mine);
  run([] {});
  CHECK(asyncio::get_event_loop() == mine);
  asyncio::set_event_loop({});
  mine.close();
}

TEST_CASE("the main thread makes no loop of its own after run, as no code would run it") {
  run([] {});
  CHECK(thrown_by([] {
          asyncio::get_event_loop();
        }).starts_with("RuntimeError('There is no current event loop"));
}

TEST_CASE("a main that is cancelled without Ctrl-C throws CancelledError") {
  CHECK(thrown_by([] {
          run([] {
            asyncio::current_task().cancel("by itself");
            await(asyncio::sleep(1s));
          });
        }) == "CancelledError('by itself')");
}

TEST_CASE("Ctrl-C cancels main, then the remaining tasks, and ends in KeyboardInterrupt") {
  CHECK(printed_by([] {
          asyncio::run([] {
            static_cast<void>(create_task([] {
              const AtEnd end([] { say("bg ends"); });
              await(asyncio::sleep(100s));
            }));
            turns(1);
            interrupt();
            try {
              await(asyncio::sleep(100s));
            } catch (const CancelledError&) {
              say("main CancelledError, cancelling " +
                  std::to_string(asyncio::current_task().cancelling()));
              turns(2);
              say("main cleans up");
              throw;
            }
          });
        }) ==
        "main CancelledError, cancelling 1\nmain cleans up\nbg ends\nraised KeyboardInterrupt()\n");
}

TEST_CASE("the third Ctrl-C ends a program that does not come back to its loop") {
  const ChildResult child = run_forked([] {
    std::signal(SIGINT, SIG_DFL);
    asyncio::run([] {
      for (int i = 0; i < 2; ++i) interrupt();
      std::fputs("still here\n", stderr);
      interrupt();
      std::fputs("too far\n", stderr);
    });
  });
  CHECK(child.errors == "still here\n");
  CHECK(child.status == 128 + SIGINT);
}

TEST_CASE("a main that swallows Ctrl-C gives its value; debug mode reports it") {
  const auto printed = [](bool debug) {
    return printed_by([debug] {
      const auto main = [] {
        interrupt();
        try {
          await(asyncio::sleep(100s));
        } catch (const CancelledError&) {
          say("main swallows");
        }
        return std::string("value");
      };
      say("run -> " + asyncio::run(main, {.debug = debug}));
    });
  };
  const std::string said = "main swallows\nrun -> value\n";
  CHECK(printed(false) == said);
  const std::string with_report = printed(true);
  CHECK(with_report.starts_with(said));
  CHECK(with_report.find("swallowed a cancellation", said.size()) != std::string::npos);
}

TEST_CASE("a main that uncancels after Ctrl-C and then is cancelled throws CancelledError") {
  CHECK(printed_by([] {
          asyncio::run([] {
            interrupt();
            try {
              await(asyncio::sleep(100s));
            } catch (const CancelledError&) {
              asyncio::current_task().cancel();
            }
            await(asyncio::sleep(100s));
          });
        }) == "raised CancelledError()\n");
}

TEST_CASE("a second Ctrl-C throws KeyboardInterrupt at once") {
  CHECK(printed_by([] {
          asyncio::run([] {
            interrupt();
            try {
              await(asyncio::sleep(100s));
            } catch (const CancelledError&) {
              say("main CancelledError");
              interrupt();
              try {
                await(asyncio::sleep(100s));
              } catch (const CancelledError&) {
                say("main is cancelled by the clean-up");
                throw;
              }
            }
          });
        }) ==
        "main CancelledError\nmain is cancelled by the clean-up\nraised KeyboardInterrupt()\n");
}

TEST_CASE("Ctrl-C reaches a loop that is busy, between two callbacks, and one that sleeps") {
  CHECK(printed_by([] {
          asyncio::run([] {
            try {
              for (int i = 0;; ++i) {
                if (i == 100) interrupt();
                turns(1);
              }
            } catch (const CancelledError&) {
              say("cancelled");
              throw;
            }
          });
        }) == "cancelled\nraised KeyboardInterrupt()\n");
}

TEST_CASE("a runner keeps an existing handler of SIGINT, and removes its own") {
  CHECK(printed_by([] {
          std::signal(SIGINT, [](int) {
            const char text[] = "handler\n";
            static_cast<void>(!::write(1, text, sizeof text - 1));
          });
          asyncio::run([] {
            interrupt();
            turns(2);
          });
          say("not cancelled");
        }) == "handler\nnot cancelled\n");
  CHECK(printed_by([] {
          asyncio::run([] {});
          struct sigaction now {};
          ::sigaction(SIGINT, nullptr, &now);
          say(now.sa_handler == SIG_DFL ? "default" : "something else");
        }) == "default\n");
}
