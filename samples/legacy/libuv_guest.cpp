// libuv_guest: a library that brings libuv along, inside an asyncio program.
#include <fiber/asyncio.hpp>
#include <unistd.h>
#include <uv.h>

#include <chrono>

#include "../tutorial/support/print.hpp"
#include "support/uv_guest.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

int main() {
  asyncio::run([] {
    uv_loop_t uv;
    uv_loop_init(&uv);
    {
      UvGuest guest(asyncio::get_running_loop(), &uv);

      // A callback that completes a future, for which tasks can wait.
      const auto ticked = asyncio::get_running_loop().create_future<int>();
      struct Timer {
        uv_timer_t handle;
        const asyncio::Future<int>& ticked;
        int count = 0;
      } timer{{}, ticked};
      uv_timer_init(&uv, &timer.handle);
      uv_timer_start(
          &timer.handle,
          [](uv_timer_t* handle) {
            auto* its = reinterpret_cast<Timer*>(handle);
            print("uv tick", ++its->count);
            if (its->count == 3) {
              uv_timer_stop(handle);
              its->ticked.set_result(its->count);
            }
          },
          20, 20);

      // libuv's own thread pool, which reports the end of work by a descriptor.
      const auto looked = asyncio::get_running_loop().create_future<long>();
      uv_work_t work;
      work.data = const_cast<asyncio::Future<long>*>(&looked);
      uv_queue_work(
          &uv, &work, [](uv_work_t*) { ::usleep(70'000); },
          [](uv_work_t* ended, int) {
            static_cast<asyncio::Future<long>*>(ended->data)->set_result(7);
          });

      guest.turn();
      print("ticks", await(ticked));
      print("work", await(looked));
      uv_close(reinterpret_cast<uv_handle_t*>(&timer.handle), nullptr);
      guest.turn();
      const int before = guest.turns();
      await(asyncio::sleep(50ms));
      print("idle turns:", guest.turns() - before);
    }
    uv_loop_close(&uv);
  });
}
