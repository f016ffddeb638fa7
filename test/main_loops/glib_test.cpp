// GLib's main loop around our loop, and inside of our loop: no loop spins, and no wake-up is lost.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>

#include <glib.h>

#include "../samples/legacy/support/glib_host.hpp"
#include "../samples/legacy/support/poll_in_task.hpp"
#include "support/cpu.hpp"
#include "support/hosts.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using support::cpu_seconds;

namespace {

// A main context of its own, so that no source is left for the next test.
struct Context {
  GMainContext* context = g_main_context_new();
  GMainLoop* loop = g_main_loop_new(context, FALSE);
  Context() { g_main_context_push_thread_default(context); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    g_main_loop_unref(loop);
    g_main_context_pop_thread_default(context);
    g_main_context_unref(context);
  }
};

// Opens, before the first test case, the descriptors that GLib keeps.
[[maybe_unused]] const bool opened = [] {
  const Context glib;
  const GlibHost host(glib.context);
  return true;
}();

int polls = 0;
gint counting_poll(GPollFD* descriptors, guint count, gint timeout) {
  ++polls;
  return poll_in_task({reinterpret_cast<pollfd*>(descriptors), count}, timeout);
}

}  // namespace

TEST_CASE("a loop inside GLib's sleeps while nothing is to do") {
  const Context glib;
  GlibHost host(glib.context);
  const auto task = host.loop.create_task([] {
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(10ms));
  });
  task.add_done_callback([&] { g_main_loop_quit(glib.loop); });
  const double before = cpu_seconds();
  g_main_loop_run(glib.loop);
  CHECK(task.done());
  CHECK(host.turns() >= 20);
  CHECK(host.turns() <= 100);
  CHECK(cpu_seconds() - before < 0.15);
}

TEST_CASE("calls of other threads reach a loop inside GLib's") {
  const Context glib;
  GlibHost host(glib.context);
  constexpr int kCalls = 1000;
  support::run_while_a_thread_calls(
      host.loop, kCalls, [&](auto) { g_main_loop_run(glib.loop); },
      [&] { g_main_loop_quit(glib.loop); });
  CHECK(host.turns() <= kCalls + 10);
}

TEST_CASE("GLib's loop in a task sleeps while nothing is to do, and is woken by other threads") {
  const Context glib;
  g_main_context_set_poll_func(glib.context, counting_poll);
  polls = 0;
  const double before = cpu_seconds();
  struct State {
    const Context& glib;
    std::atomic<int> calls{0};
    int beats = 0;
  } state{glib};
  int slept = 0;
  asyncio::run([&] {
    GSource* timer = g_timeout_source_new(10);
    g_source_set_callback(
        timer,
        [](gpointer to) -> gboolean {
          return ++static_cast<State*>(to)->beats < 20 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
        },
        &state, nullptr);
    g_source_attach(timer, glib.context);
    g_source_unref(timer);

    const auto glib_task = asyncio::create_task([&] { g_main_loop_run(glib.loop); });
    const auto ours = asyncio::create_task([&] {
      for (; slept < 20; ++slept) await(asyncio::sleep(10ms));
    });
    await(ours);
    await(asyncio::to_thread([&] {
      for (int i = 0; i < 100; ++i) {
        g_main_context_invoke(
            glib.context,
            [](gpointer to) -> gboolean {
              auto& calls = static_cast<State*>(to)->calls;
              calls.fetch_add(1);
              calls.notify_one();
              return G_SOURCE_REMOVE;
            },
            &state);
        state.calls.wait(i);
      }
    }));
    g_main_loop_quit(glib.loop);
    g_main_context_wakeup(glib.context);
    await(glib_task);
  });
  CHECK(slept == 20);
  CHECK(state.beats >= 10);
  CHECK(state.calls == 100);
  CHECK(polls <= 500);
  CHECK(cpu_seconds() - before < 0.5);
}
