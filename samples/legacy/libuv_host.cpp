// libuv_host: tasks inside a program that uv_run owns (libuv).
//
// uv_poll watches our one descriptor; our timers need no uv_timer.
#include <fiber/asyncio.hpp>
#include <uv.h>

#include <chrono>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

int main() {
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  uv_loop_t* uv = uv_default_loop();
  uv_poll_t watch;
  uv_poll_init(uv, &watch, loop.fileno());
  watch.data = const_cast<asyncio::EventLoop*>(&loop);
  uv_poll_start(&watch, UV_READABLE, [](uv_poll_t* handle, int, int) {
    static_cast<asyncio::EventLoop*>(handle->data)->run_ready();
  });

  const auto bell = loop.create_future();
  const auto task = loop.create_task([&] {
    print("task begins");
    await(asyncio::sleep(20ms));
    print("task waits for libuv");
    await(bell);
    print("task ends");
    // Without this, uv_run would wait for our descriptor forever.
    uv_close(reinterpret_cast<uv_handle_t*>(&watch), nullptr);
  });

  uv_timer_t timer;
  uv_timer_init(uv, &timer);
  timer.data = const_cast<asyncio::Future<void>*>(&bell);
  uv_timer_start(
      &timer,
      [](uv_timer_t* rings) {
        print("libuv rings");
        static_cast<asyncio::Future<void>*>(rings->data)->set_result();
      },
      200, 0);

  uv_run(uv, UV_RUN_DEFAULT);
  print("task done:", task.done() ? "yes" : "no");
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  uv_run(uv, UV_RUN_DEFAULT);
  uv_loop_close(uv);
  loop.close();
}
