#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/streams.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::Events;
using support::serve;
using support::thrown_by;
using namespace std::chrono_literals;

namespace {

void until_the_end(StreamReader& reader, StreamWriter& writer) {
  writer.write("hello\n");
  await(reader.read());
  writer.close();
}

// Returns a connection that is being served: the first line has come.
asyncio::StreamPair greeted(const asyncio::Server& server) {
  asyncio::StreamPair pair =
      await(asyncio::open_connection("127.0.0.1", server.sockets().at(0).port()));
  CHECK(await(pair.first.readline()) == "hello\n");
  return pair;
}

}  // namespace

TEST_CASE("a server tells where it listens, until it is closed") {
  asyncio::run([] {
    const asyncio::Server server = await(serve(until_the_end));
    CHECK(server.is_serving());
    REQUIRE(server.sockets().size() == 1);
    const asyncio::Socket socket = server.sockets()[0];
    CHECK(socket.getsockname().host() == "127.0.0.1");
    CHECK(socket.port() > 0);
    CHECK(socket.family() == AF_INET);
    CHECK(asyncio::repr(server) ==
          "<Server sockets=(('127.0.0.1', " + std::to_string(socket.port()) + "))>");
    CHECK(server.get_loop() == asyncio::get_running_loop());
    server.close();
    CHECK_FALSE(server.is_serving());
    CHECK(server.sockets().empty());
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("a server listens at several hosts, each once") {
  asyncio::run([] {
    const auto server =
        await(asyncio::start_server(until_the_end, {"127.0.0.1", "127.0.0.2", "127.0.0.1"}, 0));
    CHECK(server.sockets().size() == 2);
    for (const asyncio::Socket& socket : server.sockets()) {
      auto [reader, writer] =
          await(asyncio::open_connection(socket.getsockname().host(), socket.port()));
      CHECK(await(reader.readline()) == "hello\n");
    }
  });
}

TEST_CASE("hosts may be a list in braces, of any length") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [] { return std::make_shared<asyncio::Protocol>(); };
    const auto at = [](const asyncio::Server& server) {
      std::string hosts;
      for (const asyncio::Socket& socket : server.sockets())
        hosts += socket.getsockname().host() + " ";
      return hosts;
    };
    CHECK(at(await(asyncio::start_server(until_the_end, {"127.0.0.1"}, 0))) == "127.0.0.1 ");
    CHECK(at(await(asyncio::start_server(until_the_end, {"127.0.0.1", "127.0.0.2"}, 0))) ==
          "127.0.0.1 127.0.0.2 ");
    CHECK(at(await(loop.create_server(make, {"127.0.0.1", "127.0.0.2"}, 0))) ==
          "127.0.0.1 127.0.0.2 ");
    CHECK_THROWS_AS(await(asyncio::start_server(until_the_end, {}, 0)), fiber::OSError);
    CHECK_THROWS_AS(await(loop.create_server(make, {}, 0)), fiber::OSError);
  });
}

TEST_CASE("an empty host means all interfaces") {
  asyncio::run([] {
    const auto server = await(asyncio::start_server(until_the_end, "", 0));
    REQUIRE_FALSE(server.sockets().empty());
    for (const asyncio::Socket& socket : server.sockets()) {
      const bool six = socket.family() == AF_INET6;
      CHECK(socket.getsockname().host() == (six ? "::" : "0.0.0.0"));
    }
  });
}

TEST_CASE("callbacks may be functions, coroutine functions, and take handles by value") {
  asyncio::run([] {
    const auto by_value = [](StreamReader, StreamWriter writer) { writer.write("value\n"); };
    const auto coroutine = asyncio::async("serve", [](StreamReader, StreamWriter writer) {
      await(asyncio::sleep(0));
      writer.write("coroutine\n");
    });
    const auto returns = [](StreamReader&, StreamWriter& writer) {
      return asyncio::Coroutine<>([writer] { writer.write("returned\n"); });
    };
    const auto answer_of = [](const asyncio::Server& server) {
      auto [reader, writer] =
          await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
      return await(reader.read());
    };
    CHECK(answer_of(await(serve(by_value))) == "value\n");
    CHECK(answer_of(await(serve(coroutine))) == "coroutine\n");
    CHECK(answer_of(await(serve(returns))) == "returned\n");
  });
}

TEST_CASE("an exception of a callback is reported, and its connection closed") {
  Events say;
  asyncio::run([&] {
    report_to(say);
    const auto server = await(serve([](StreamReader&, StreamWriter& writer) {
      writer.write("before");
      throw fiber::ValueError("bad client");
    }));
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
    CHECK(await(reader.read()) == "before");
    server.close();
    await(server.wait_closed());
  });
  CHECK(say.take() == "Unhandled exception in client_connected_cb: ValueError('bad client')");
}

TEST_CASE("a callback that is cancelled closes its connection without a report") {
  Events say;
  asyncio::run([&] {
    report_to(say);
    const auto server = await(serve([](StreamReader& reader, StreamWriter& writer) {
      asyncio::current_task().set_name("served");
      writer.write("hello\n");
      await(reader.read());
    }));
    auto [reader, writer] = greeted(server);
    for (const asyncio::TaskRef& task : asyncio::all_tasks())
      if (task.get_name() == "served") task.cancel();
    CHECK(await(reader.read()) == "");
  });
  CHECK(say.take() == "");
}

TEST_CASE("wait_closed waits for close, and then for every connection") {
  Events say;
  asyncio::run([&] {
    const auto server = await(serve(until_the_end));
    auto first = greeted(server);
    auto second = greeted(server);
    const auto waiter = asyncio::create_task([&] {
      await(server.wait_closed());
      say("closed");
    });
    await(asyncio::sleep(0));
    server.close();
    say("close");
    first.second.close();
    await(first.second.wait_closed());
    for (int i = 0; i < 10; ++i) await(asyncio::sleep(0));
    say("one left");
    second.second.close();
    await(waiter);
    await(server.wait_closed());
  });
  CHECK(say.take() == "close one left closed");
}

TEST_CASE("connections that come and go leave wait_closed waiting for close") {
  asyncio::run([] {
    const asyncio::Server server = await(serve(until_the_end));
    {
      auto [reader, writer] = greeted(server);
      writer.write_eof();
      CHECK(await(reader.read()) == "");  // the server has closed its end
    }
    const auto waiting = asyncio::create_task(server.wait_closed());
    CHECK(thrown_by([&] { await(asyncio::wait_for(asyncio::shield(waiting), 20ms)); }) ==
          "TimeoutError()");
    server.close();
    await(waiting);
  });
}

TEST_CASE("after close nobody is accepted, while connections go on") {
  asyncio::run([] {
    const auto server = await(serve(until_the_end));
    const int port = server.sockets()[0].port();
    auto [reader, writer] = greeted(server);
    server.close();
    CHECK_THROWS_AS(await(asyncio::open_connection("127.0.0.1", port)),
                    fiber::ConnectionRefusedError);
    CHECK_FALSE(writer.is_closing());
    writer.write_eof();
    CHECK(await(reader.read()) == "");
    await(server.wait_closed());
  });
}

TEST_CASE("close_clients and abort_clients end the connections") {
  asyncio::run([] {
    const auto server = await(serve(until_the_end));
    auto first = greeted(server);
    auto second = greeted(server);
    server.close();
    SUBCASE("close") { server.close_clients(); }
    SUBCASE("abort") { server.abort_clients(); }
    CHECK(await(first.first.read()) == "");
    CHECK(await(second.first.read()) == "");
    await(server.wait_closed());
  });
}

TEST_CASE("serve_forever serves until it is cancelled, and closes the server then") {
  asyncio::run([] {
    const auto server = await(serve(until_the_end, {.start_serving = false}));
    CHECK_FALSE(server.is_serving());
    const auto forever = asyncio::create_task([&] { await(server.serve_forever()); });
    await(asyncio::sleep(0));
    CHECK(server.is_serving());
    CHECK(thrown_by([&] { await(server.serve_forever()); }) ==
          "RuntimeError(\"server " + asyncio::repr(server) +
              " is already being awaited on serve_forever()\")");
    { const auto client = greeted(server); }
    forever.cancel();
    CHECK(thrown_by([&] { await(forever); }) == "CancelledError()");
    CHECK_FALSE(server.is_serving());
    CHECK(thrown_by([&] { await(server.serve_forever()); }) ==
          "RuntimeError('server <Server sockets=()> is closed')");
  });
}

TEST_CASE("closing the server cancels serve_forever") {
  asyncio::run([] {
    const auto server = await(serve(until_the_end));
    const auto forever = asyncio::create_task([&] { await(server.serve_forever()); });
    await(asyncio::sleep(0));
    server.close();
    CHECK(thrown_by([&] { await(forever); }) == "CancelledError()");
  });
}

TEST_CASE("start_serving may be called again; asyncio::with closes and waits") {
  asyncio::run([] {
    asyncio::Server outside;
    asyncio::with(await(serve(until_the_end, {.start_serving = false})),
                  [&](asyncio::Server& server) {
                    outside = server;
                    await(server.start_serving());
                    await(server.start_serving());
                    const auto client = greeted(server);
                  });
    CHECK_FALSE(outside.is_serving());
    CHECK(outside.sockets().empty());
  });
}

TEST_CASE("a port that is taken is an OSError that names it") {
  asyncio::run([] {
    const auto server = await(serve(until_the_end));
    const int port = server.sockets()[0].port();
    try {
      await(asyncio::start_server(until_the_end, "127.0.0.1", port));
      FAIL("no error");
    } catch (const fiber::OSError& error) {
      CHECK(error.error_number() == EADDRINUSE);
      CHECK(std::string(error.what())
                .find("error while attempting to bind on address ('127.0.0.1', " +
                      std::to_string(port) + ")") != std::string::npos);
    }
    CHECK_THROWS_AS(await(asyncio::start_server(until_the_end, "192.0.2.1", 0)), fiber::OSError);
    const auto shared = await(serve(until_the_end, {.reuse_port = true}));
    const auto same_port = await(asyncio::start_server(
        until_the_end, "127.0.0.1", shared.sockets()[0].port(), {.reuse_port = true}));
    CHECK(same_port.sockets()[0].port() == shared.sockets()[0].port());
  });
}

TEST_CASE("a bound socket of the caller's may be served") {
  asyncio::run([] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const asyncio::SocketAddress any("127.0.0.1", 0);
    REQUIRE(::bind(fd, any.data(), any.size()) == 0);
    const auto server = await(asyncio::start_server_from(until_the_end, fd));
    CHECK(server.sockets()[0].fileno() == fd);
    const auto client = greeted(server);
  });
}

TEST_CASE("a server that is forgotten serves on, and ends with its loop") {
  asyncio::run([] {
    const int port = [] { return await(serve(until_the_end)).sockets()[0].port(); }();
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
    CHECK(await(reader.readline()) == "hello\n");
  });
}

// Without a free descriptor UndefinedBehaviorSanitizer cannot examine objects, and reports them as
// invalid.
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define CANNOT_DO_WITHOUT_DESCRIPTORS
#endif
#endif
#if !defined(CANNOT_DO_WITHOUT_DESCRIPTORS)
class NoDescriptors {
 public:
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int highest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(highest);
    const rlimit none{static_cast<rlim_t>(highest), before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("a server that has no descriptor to listen with says so") {
  asyncio::run([] {
    const NoDescriptors none;
    CHECK(thrown_by([] { await(serve(until_the_end)); })
              .starts_with("OSError(\"[Errno 24] Too many open files: error while making a socket "
                           "for address ('127.0.0.1', 0)"));
  });
}

TEST_CASE("out of descriptors the server pauses and says so") {
  Events say;
  asyncio::run([&] {
    report_to(say);
    const auto server = await(serve(until_the_end));
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::optional<NoDescriptors> none;
    none.emplace();
    const auto address = server.sockets()[0].getsockname();
    CHECK(::connect(client, address.data(), address.size()) == 0);
    for (int i = 0; i < 4; ++i) await(asyncio::sleep(0));
    none.reset();
    ::close(client);
  });
  CHECK(say.take().starts_with(
      "socket.accept() out of system resource: OSError('[Errno 24] Too many open files"));
}
#endif

TEST_CASE("asyncio::with closes the server that it has entered, whatever the block assigns") {
  asyncio::run([] {
    asyncio::Server server = await(serve(until_the_end));
    const asyncio::Server same = server;
    asyncio::with(server, [&] { server = {}; });
    CHECK_FALSE(same.is_serving());
  });
}
