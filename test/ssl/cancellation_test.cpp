// Handshakes that are cancelled at any point leave no connection, task or descriptor behind.
#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::client_context;
using support::connect_tls;
using support::server_context;
using support::start_tls_server;
using namespace std::chrono_literals;

TEST_CASE("ten thousand handshakes, cancelled at random points") {
  constexpr int kHandshakes = 10'000;
  constexpr int kAtOnce = 20;
  const auto client = client_context();
  const auto server_side = server_context();
  const long client_references = client.object().use_count();
  const long server_references = server_side.object().use_count();
  std::minstd_rand random(20'240'229);
  int finished = 0;
  int cancelled = 0;
  int served = 0;
  asyncio::run([&] {
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          ++served;
          await(reader.read());
          writer.close();
        },
        server_side);
    const int port = server.sockets()[0].port();
    for (int round = 0; round < kHandshakes / kAtOnce; ++round) {
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < kAtOnce; ++i)
        tasks.push_back(asyncio::create_task([&] {
          auto [reader, writer] = await(asyncio::open_connection(
              "127.0.0.1", port, {.ssl = client, .server_hostname = "localhost"}));
          writer.write("x");
          writer.close();
          await(writer.wait_closed());
        }));
      // Each task is cancelled at another point: after another number of iterations.
      for (auto& task : tasks) {
        for (int ticks = static_cast<int>(random() % 3); ticks > 0; --ticks)
          await(asyncio::sleep(0s));
        task.cancel();
      }
      await(asyncio::wait(tasks));
      for (const auto& task : tasks) ++(task.cancelled() ? cancelled : finished);
      for (const auto& task : tasks)
        if (!task.cancelled() && task.exception()) std::rethrow_exception(task.exception());
    }
    server.close();
    await(server.wait_closed());
    // The last connections are shut down.
    while (asyncio::all_tasks().size() > 1) await(asyncio::sleep(1ms));
  });
  CHECK(finished + cancelled == kHandshakes);
  // Some cancellations came early, some late.
  CHECK(cancelled > 0);
  CHECK(served > 0);
  CHECK(served < kHandshakes);
  CHECK(client.object().use_count() == client_references);
  CHECK(server_side.object().use_count() == server_references);
}

TEST_CASE("start_tls that is cancelled closes the connection") {
  const auto client = client_context();
  const long references = client.object().use_count();
  asyncio::run([&] {
    const auto server = await(asyncio::start_server(
        [](StreamReader& reader, StreamWriter& writer) {
          await(reader.read());
          writer.close();
        },
        "127.0.0.1", 0));
    for (int ticks = 0; ticks < 10; ++ticks) {
      auto [reader, writer] =
          await(asyncio::open_connection("localhost", server.sockets()[0].port()));
      const auto task = asyncio::create_task([&, writer = writer] {
        await(writer.start_tls(client, {.server_hostname = "localhost"}));
      });
      for (int i = 0; i < ticks; ++i) await(asyncio::sleep(0s));
      task.cancel();
      await(asyncio::wait({task}));
      CHECK(task.cancelled());
      if (ticks > 0) {
        CHECK(writer.is_closing());
        await(writer.wait_closed());
      }
      writer.close();
    }
    server.close();
    await(server.wait_closed());
  });
  CHECK(client.object().use_count() == references);
}

TEST_CASE("a loop that ends in the middle of handshakes and good-byes leaves nothing") {
  const auto client = client_context();
  const auto server_side = server_context();
  const long references = client.object().use_count() + server_side.object().use_count();
  for (int ticks = 0; ticks < 60; ++ticks) {
    const auto main = [&] {
      const auto server = start_tls_server(
          [](StreamReader& reader, StreamWriter& writer) {
            await(reader.read());
            writer.close();
            await(writer.wait_closed());
          },
          server_side);
      // The task outlives this function, so it captures copies.
      const auto task = asyncio::create_task([server, client] {
        auto [reader, writer] = await(connect_tls(server, client));
        writer.write("x");
        writer.close();
        await(writer.wait_closed());
      });
      for (int i = 0; i < ticks / 2; ++i) await(asyncio::sleep(i % 4 == 0 ? 1ms : 0ms));
    };
    if (ticks % 2 == 0) {
      asyncio::run(main);
    } else {  // nobody cancels the tasks
      const auto loop = asyncio::new_event_loop();
      loop.set_exception_handler([](const auto&, const auto&) {});
      loop.run_until_complete(main);
      loop.close();
    }
    CHECK(client.object().use_count() + server_side.object().use_count() == references);
  }
}
