// glib_guest: g_main_loop_run as one task among others (GLib driven by our loop).
//
// GLib lets its poll function be replaced. Ours suspends the task, so that the whole of a GLib
// library (its timeouts, its D-Bus, its idle functions) runs in an asyncio program.
#include <fiber/asyncio.hpp>
#include <glib.h>

#include <chrono>
#include <csignal>
#include <memory>

#include "../tutorial/support/print.hpp"
#include "support/poll_in_task.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

namespace {

gint poll_for_glib(GPollFD* descriptors, guint count, gint timeout) {
  static_assert(sizeof(GPollFD) == sizeof(pollfd));
  try {
    return poll_in_task({reinterpret_cast<pollfd*>(descriptors), count}, timeout);
  } catch (const asyncio::CancelledError&) {
    return 0;  // GLib has no way to report an error: it polls again, and its loop is asked to quit
  }
}

}  // namespace

int main() {
  g_main_context_set_poll_func(nullptr, poll_for_glib);
  const std::unique_ptr<GMainLoop, void (*)(GMainLoop*)> glib(g_main_loop_new(nullptr, FALSE),
                                                              g_main_loop_unref);
  // What GLib uses outlives its task, which ends with our loop.
  struct Counted {
    int beats = 0;
    asyncio::Event enough;
  } counted;
  asyncio::Future<int> answer;
  asyncio::run([&] {
    const auto glib_task = asyncio::create_task([&] { g_main_loop_run(glib.get()); });
    // However this task ends, GLib's loop is told to end, too.
    const std::unique_ptr<GMainLoop, void (*)(GMainLoop*)> quit(glib.get(), g_main_loop_quit);

    g_timeout_add(
        10,
        [](gpointer to) -> gboolean {
          auto* its = static_cast<Counted*>(to);
          if (++its->beats <= 3) print("GLib beat", its->beats);
          if (its->beats == 3) its->enough.set();
          return G_SOURCE_CONTINUE;
        },
        &counted);

    print("task waits for GLib");
    await(counted.enough.wait());
    print("task: GLib has beaten three times");
    await(asyncio::sleep(20ms));

    // A task of ours may hand work to GLib, and wait for its answer.
    answer = asyncio::get_running_loop().create_future<int>();
    g_idle_add(
        [](gpointer to) -> gboolean {
          static_cast<asyncio::Future<int>*>(to)->set_result(42);
          return G_SOURCE_REMOVE;
        },
        &answer);
    g_main_context_wakeup(nullptr);
    print("GLib answers", await(answer));

    g_main_loop_quit(glib.get());
    await(glib_task);
    print("GLib's loop has ended");
  });
}
