// The beginning and the end of connections with protocols: failures, contexts, closed loops.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support/events.hpp"
#include "support/recorder.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using namespace std::chrono_literals;
using asyncio::await;
using support::Events;
using support::Recorder;
using support::thrown_by;
using support::Transport;

TEST_CASE("failed connections throw the reason, and leave nothing behind") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [] { return std::make_shared<asyncio::Protocol>(); };
    sockets::socket datagrams(AF_INET, SOCK_DGRAM);
    const std::string number = std::to_string(datagrams.fileno());
    CHECK(thrown_by([&] { await(loop.create_connection(make, datagrams.fileno())); }) ==
          "ValueError('A Stream Socket was expected, got descriptor " + number + "')");
    CHECK(datagrams.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
    CHECK_THROWS_AS(await(loop.connect_accepted_socket(make, std::move(datagrams))),
                    fiber::ValueError);
    sockets::socket closed;
    closed.bind({"127.0.0.1", 0});
    CHECK_THROWS_AS(await(loop.create_connection(make, "127.0.0.1", closed.getsockname().port())),
                    fiber::ConnectionRefusedError);
    CHECK_THROWS_AS(await(loop.create_unix_connection(make, "/nonexistent/socket")),
                    fiber::FileNotFoundError);
    auto [a, b] = sockets::socketpair();
    const int fd = a.fileno();
    CHECK(thrown_by([&, &a = a] {
            await(loop.create_connection(
                []() -> std::shared_ptr<asyncio::Protocol> { throw fiber::ValueError("factory"); },
                std::move(a)));
          }) == "ValueError('factory')");
    // In this case a number stays the caller's.
    CHECK(thrown_by([&, &b = b] {
            await(loop.create_connection(
                []() -> std::shared_ptr<asyncio::Protocol> { throw fiber::ValueError("factory"); },
                b.fileno()));
          }) == "ValueError('factory')");
    CHECK(b.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    CHECK(thrown_by([&, &b = b] {
            await(loop.create_connection([]() -> std::shared_ptr<asyncio::Protocol> { return {}; },
                                         std::move(b)));
          }) == "TypeError('a protocol was expected, got null')");
    CHECK(thrown_by([&] { sockets::socket::from_fd(fd); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
    CHECK(thrown_by([] { Transport().close(); }).starts_with("ValueError("));
    CHECK(thrown_by([&] {
            await(loop.create_connection(make, "127.0.0.1", 1, {.server_hostname = "x"}));
          }) == "ValueError('server_hostname is only meaningful with ssl')");
  });
}

TEST_CASE("a Unix server of protocols, and an accepted socket") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&] { return std::make_shared<Recorder>(say); };
    const std::string name = std::string("\0fiber-protocols-", 17) + std::to_string(::getpid());
    const auto server = await(loop.create_unix_server(make, name));
    const auto [transport, protocol] = await(
        loop.create_unix_connection([] { return std::make_shared<asyncio::Protocol>(); }, name));
    transport.write("hello");
    transport.close();
    for (int i = 0; i < 12; ++i) await(asyncio::sleep(0));
    server.close();
    await(server.wait_closed());
    CHECK(say.take() == "made data(hello) eof lost(None)");
    auto [a, b] = sockets::socketpair();
    const auto [accepted, other] = await(loop.connect_accepted_socket(make, std::move(a)));
    accepted.abort();
    await(asyncio::sleep(0));
    CHECK(say.take() == "made lost(None)");
  });
}

TEST_CASE("a connection over TCP sends small pieces at once, however it was made") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    std::vector<Transport> made;
    struct Noting : asyncio::Protocol {
      explicit Noting(std::vector<Transport>& list) : list(list) {}
      void connection_made(const Transport& its) override { list.push_back(its); }
      std::vector<Transport>& list;
    };
    const auto make = [&] { return std::make_shared<Noting>(made); };
    const auto server = await(loop.create_server(make, "127.0.0.1", 0));
    const int port = server.sockets().at(0).port();
    sockets::socket listening;
    listening.bind({"127.0.0.1", 0});
    listening.listen();
    sockets::socket ours = sockets::create_connection("127.0.0.1", listening.getsockname().port());
    await(loop.create_connection(make, "127.0.0.1", port));
    await(loop.create_connection(make, std::move(ours)));
    await(loop.connect_accepted_socket(make, listening.accept().first));
    while (made.size() < 4) await(asyncio::sleep(0));
    for (const Transport& each : made) {
      int on = 0;
      socklen_t size = sizeof on;
      CHECK(::getsockopt(each.fileno(), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0);
      CHECK(on == 1);
      each.abort();
    }
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("a loop that is closed lets go of protocols that hold their transports") {
  std::weak_ptr<Recorder> held;
  Events say;
  auto [a, b] = sockets::socketpair();
  asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.run_until_complete([&, &a = a] {
    held =
        await(loop.create_connection([&] { return std::make_shared<Recorder>(say); }, std::move(a)))
            .second;
  });
  CHECK_FALSE(held.expired());
  loop.close();
  CHECK(held.expired());
  CHECK(b.recv(1) == "");
}

TEST_CASE("the context in which a connection is made is that of its callbacks") {
  fiber::contextvars::ContextVar<int> variable("v", 0);
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [a, b] = sockets::socketpair();
    variable.set(7);
    const auto [transport, protocol] = await(loop.create_connection(
        [&] {
          auto made = std::make_shared<Recorder>(say);
          made->on_data = [&](auto&) { say(std::to_string(variable.get())); };
          return made;
        },
        std::move(a)));
    variable.set(8);
    b.send("x");
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    transport.abort();
  });
  CHECK(say.take() == "made data(x) 7 lost(None)");
}

TEST_CASE("KeyboardInterrupt and SystemExit leave the loop") {
  Events say;
  asyncio::EventLoop loop = asyncio::new_event_loop();
  auto [a, b] = sockets::socketpair();
  CHECK_THROWS_AS(loop.run_until_complete([&, &a = a, &b = b] {
    await(loop.create_connection(
        [&] {
          auto made = std::make_shared<Recorder>(say);
          made->on_data = [](auto&) { throw fiber::SystemExit(3); };
          return made;
        },
        std::move(a)));
    b.send("x");
    await(asyncio::sleep(1h));
  }),
                  fiber::SystemExit);
  loop.close();
  CHECK(say.take() == "made data(x)");
}
