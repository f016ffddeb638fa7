// libuv's loop around our loop, and inside of our loop: no loop spins, and no wake-up is lost.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>

#include <uv.h>

#include "../samples/legacy/support/uv_guest.hpp"
#include "support/cpu.hpp"
#include "support/hosts.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using support::cpu_seconds;

namespace {

struct Host {
  uv_loop_t uv{};
  uv_poll_t watch{};
  asyncio::EventLoop loop = asyncio::new_event_loop();
  int turns = 0;

  Host() {
    uv_loop_init(&uv);
    uv_poll_init(&uv, &watch, loop.fileno());
    watch.data = this;
    uv_poll_start(&watch, UV_READABLE, [](uv_poll_t* handle, int, int) {
      auto* its = static_cast<Host*>(handle->data);
      ++its->turns;
      its->loop.run_ready();
    });
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() {
    uv_close(reinterpret_cast<uv_handle_t*>(&watch), nullptr);
    uv_run(&uv, UV_RUN_DEFAULT);
    uv_loop_close(&uv);
    loop.close();
  }
};

// Opens, before the first test case, the descriptors that libuv keeps.
[[maybe_unused]] const bool opened = [] {
  const Host host;
  return true;
}();

}  // namespace

TEST_CASE("a loop inside libuv's sleeps while nothing is to do") {
  Host host;
  const auto task = host.loop.create_task([] {
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(10ms));
  });
  task.add_done_callback([&] { uv_stop(&host.uv); });
  const double before = cpu_seconds();
  uv_run(&host.uv, UV_RUN_DEFAULT);
  CHECK(task.done());
  CHECK(host.turns >= 20);
  CHECK(host.turns <= 100);
  CHECK(cpu_seconds() - before < 0.15);
}

TEST_CASE("calls of other threads reach a loop inside libuv's") {
  Host host;
  constexpr int kCalls = 1000;
  support::run_while_a_thread_calls(
      host.loop, kCalls, [&](auto) { uv_run(&host.uv, UV_RUN_DEFAULT); },
      [&] { uv_stop(&host.uv); });
  CHECK(host.turns <= kCalls + 10);
}

TEST_CASE("libuv's loop inside ours sleeps while nothing is to do, and is woken by other threads") {
  asyncio::run([] {
    uv_loop_t uv;
    uv_loop_init(&uv);
    {
      UvGuest guest(asyncio::get_running_loop(), &uv);
      struct State {
        uv_timer_t timer{};
        uv_async_t async{};
        int beats = 0;
        std::atomic<int> calls{0};
      } state;
      uv_timer_init(&uv, &state.timer);
      state.timer.data = &state;
      uv_timer_start(
          &state.timer, [](uv_timer_t* timer) { ++static_cast<State*>(timer->data)->beats; }, 10,
          10);
      state.async.data = &state;
      uv_async_init(&uv, &state.async, [](uv_async_t* async) {
        auto& calls = static_cast<State*>(async->data)->calls;
        calls.fetch_add(1);
        calls.notify_one();
      });
      guest.turn();

      const double before = cpu_seconds();
      await(asyncio::sleep(200ms));
      uv_timer_stop(&state.timer);
      guest.turn();
      CHECK(state.beats >= 5);
      CHECK(guest.turns() <= 100);
      CHECK(cpu_seconds() - before < 0.15);

      // Each wake-up is answered before the next one, because libuv merges them.
      await(asyncio::to_thread([&] {
        for (int i = 0; i < 300; ++i) {
          uv_async_send(&state.async);
          state.calls.wait(i);
        }
      }));
      CHECK(state.calls == 300);
      CHECK(guest.turns() <= 800);

      uv_close(reinterpret_cast<uv_handle_t*>(&state.timer), nullptr);
      uv_close(reinterpret_cast<uv_handle_t*>(&state.async), nullptr);
      while (uv_loop_alive(&uv) != 0) uv_run(&uv, UV_RUN_NOWAIT);
    }
    CHECK(uv_loop_close(&uv) == 0);
  });
}
