// glib_host: tasks inside a program that g_main_loop_run owns (GLib).
//
// One source is added to the main context; timeouts, idle functions and tasks take their turns.
#include <fiber/asyncio.hpp>
#include <glib.h>

#include <chrono>

#include "../tutorial/support/print.hpp"
#include "support/glib_host.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

int main() {
  GMainLoop* main_loop = g_main_loop_new(nullptr, FALSE);
  int turns = 0;
  {
    GlibHost host;
    const auto bell = host.loop.create_future();
    const auto task = host.loop.create_task([&] {
      print("task begins");
      await(asyncio::sleep(50ms));
      print("task waits for GLib");
      await(bell);
      print("task counts in threads");
      const auto count = [] { return await(asyncio::to_thread([] { return 21; })); };
      auto [a, b] = await(asyncio::gather(count, count));
      print("task ends with", a + b);
    });
    task.add_done_callback([&] { g_main_loop_quit(main_loop); });

    g_timeout_add(
        200,
        [](gpointer to) -> gboolean {
          print("GLib rings");
          static_cast<asyncio::Future<void>*>(to)->set_result();
          return G_SOURCE_REMOVE;
        },
        const_cast<asyncio::Future<void>*>(&bell));
    g_main_loop_run(main_loop);
    turns = host.turns();
  }
  g_main_loop_unref(main_loop);
  print("the main loop slept in between:", turns < 50 ? "yes" : "no");
}
