// Connections by protocol, sockets without streams, tasks with a thread's state, tests in virtual
// time.
#include "harness.hpp"
#include "protocols.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "support/socket_pair.hpp"

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::Closing;
using faults::Collector;
using faults::require;

namespace {

struct Echo : asyncio::Protocol {
  void connection_made(const asyncio::Transport& its) override { transport = its; }
  void data_received(std::string_view data) override { transport.write(data); }
  void connection_lost(const std::exception_ptr&) override { transport = {}; }
  asyncio::Transport transport;
};

}  // namespace

FAULTS_SCENARIO(connections_by_protocol) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const Closing<asyncio::Server> server{
        await(loop.create_server([] { return std::make_shared<Echo>(); }, "127.0.0.1", 0))};
    const int port = server.its.sockets()[0].getsockname().port();
    const auto [transport, client] = await(
        loop.create_connection([] { return std::make_shared<Collector>(); }, "127.0.0.1", port));
    {
      const Closing<asyncio::Transport> closing{transport};
      transport.write("a line of some length, there and back");
      transport.write_eof();
      // The server may have ended the connection for want of memory.
      try {
        await(asyncio::wait_for(client->ended, 10s));
      } catch (const TimeoutError&) {
        require(false, "the end of a connection");
      }
    }
    require(std::string_view("a line of some length, there and back").starts_with(client->text),
            "what comes back");
    server.its.close_clients();
  });
}

FAULTS_SCENARIO(datagrams_of_sockets) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const support::SocketPair ends(SOCK_DGRAM | SOCK_NONBLOCK);
    const int one = ends.one;
    const int other = ends.other;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      group.create_task([&] {
        for (int i = 0; i < 3; ++i)
          require(await(loop.sock_recvfrom(other, 1000)).first == "a datagram", "a datagram");
      });
      for (int i = 0; i < 3; ++i) await(loop.sock_sendall(one, "a datagram"));
    });
  });
}

FAULTS_SCENARIO(own_thread_state) {
  asyncio::run([] {
    const auto task = asyncio::create_task(
        [] {
          await(asyncio::sleep(0s));
          return 7;
        },
        {.own_thread_state = true, .slow_thread_state = true});
    require(await(task) == 7, "the result of a task with a thread's state");
  });
}

FAULTS_SCENARIO(coroutines_from_threads) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const int sum = await(asyncio::to_thread([&] {
      int all = 0;
      for (int i = 0; i < 3; ++i)
        all += asyncio::run_coroutine_threadsafe(
                   [i] {
                     await(asyncio::sleep(0s));
                     return i;
                   },
                   loop)
                   .result(10s);
      return all;
    }));
    require(sum == 3, "what a loop did for a thread");
  });
}

FAULTS_SCENARIO(virtual_time) {
  int done = 0;
  asyncio::testing::run_test([&] {
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 1; i < 4; ++i)
        group.create_task([&done, i] {
          await(asyncio::sleep(std::chrono::hours(i)));
          ++done;
        });
    });
  });
  require(done == 3, "tasks that slept for hours");
}
