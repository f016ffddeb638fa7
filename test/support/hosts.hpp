// What a loop does inside of a host, a foreign main loop that drives it.
#pragma once

#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "support/events.hpp"
#include "support/socket_pair.hpp"

namespace support {

// Runs the host by `run(done)` while another thread calls into its loop `count` times; `done()`
// tells whether all calls have been answered. `last()` runs in the loop, after the last call. The
// thread waits for most answers, and so calls often just when the host falls asleep.
template <class Run, class Last>
void run_while_a_thread_calls(const fiber::asyncio::EventLoop& loop, int count, Run run,
                              Last last) {
  std::atomic<int> answered{0};
  std::thread caller([&] {
    for (int i = 0; i < count; ++i) {
      loop.call_soon_threadsafe([&] {
        answered.fetch_add(1);
        answered.notify_one();
        if (answered == count) last();
      });
      if (i % 4 != 0) answered.wait(i);
    }
  });
  run([&] { return answered == count; });
  caller.join();
  CHECK(answered == count);
}
template <class Run>
void run_while_a_thread_calls(const fiber::asyncio::EventLoop& loop, int count, Run run) {
  run_while_a_thread_calls(loop, count, run, [] {});
}

// Runs a host by `host.run(done)` until tasks of its loop have waited for a time, a thread and a
// descriptor; returns the order of what happened.
template <class Host>
std::string events_of_tasks(Host& host) {
  Events events;
  const SocketPair ends;
  const auto reader = host.loop.create_task([&] {
    events("reads");
    events(fiber::asyncio::await(host.loop.sock_recv(ends.one, 100)));
  });
  const auto sleeper = host.loop.create_task([&] {
    events("sleeps");
    fiber::asyncio::await(fiber::asyncio::sleep(std::chrono::milliseconds(10)));
    events("slept");
    events(fiber::asyncio::await(fiber::asyncio::to_thread([] { return std::string("thread"); })));
    fiber::asyncio::await(host.loop.sock_sendall(ends.other, "hello"));
  });
  host.loop.call_soon([&] { events("callback"); });
  host.run([&] { return reader.done() && sleeper.done(); });
  return events.take();
}

}  // namespace support
