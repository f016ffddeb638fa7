// Descriptors that a TLS connection takes over, does not take over, and loses.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ssl/tls.hpp"
#include "support/events.hpp"
#include "support/log.hpp"
#include "support/socket_pair.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::client_context;
using support::connect_tls;
using support::echo;
using support::Events;
using support::finish;
using support::server_context;
using support::SocketPair;
using support::start_tls_server;
using support::thrown_by;
using namespace std::chrono_literals;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a descriptor that is refused with its TLS arguments stays open and the caller's") {
  asyncio::run([] {
    const SocketPair pair;
    CHECK(thrown_by([&] {
            await(asyncio::open_connection_from(pair.one, {.ssl = client_context()}));
          }) == "ValueError('You must set server_hostname when using ssl without a host')");
    CHECK(thrown_by([&] {
            await(asyncio::open_connection_from(pair.one, {.ssl_handshake_timeout = 1s}));
          }) == "ValueError('ssl_handshake_timeout is only meaningful with ssl')");
    const auto serve = [](auto&, auto&) {};
    const std::string no_context =
        "TypeError('ssl argument must be an SSLContext, or nothing: a server needs a certificate')";
    CHECK(thrown_by([&] { await(asyncio::start_server_from(serve, pair.one, {.ssl = true})); }) ==
          no_context);
    CHECK(thrown_by([&] {
            await(asyncio::start_unix_server_from(serve, pair.one, {.ssl = true}));
          }) == no_context);
    // A connected socket cannot listen.
    CHECK(thrown_by([&] {
            await(asyncio::start_server_from(serve, pair.one, {.ssl = server_context()}));
          }).starts_with("OSError('[Errno 22]"));
    CHECK(is_open(pair.one));
  });
}

TEST_CASE("a descriptor whose TLS handshake fails was taken over, and is closed") {
  asyncio::run([] {
    const SocketPair pair;
    const int taken = ::dup(pair.one);
    const std::string garbage = "this is no TLS at all\n";
    REQUIRE(::send(pair.other, garbage.data(), garbage.size(), 0) ==
            static_cast<ssize_t>(garbage.size()));
    CHECK(thrown_by([&] {
            await(asyncio::open_connection_from(
                taken, {.ssl = client_context(), .server_hostname = "localhost"}));
          }).starts_with("SSLError("));
    while (is_open(taken)) await(asyncio::sleep(0));
  });
}

TEST_CASE("a bound socket that is handed over is served over TLS") {
  asyncio::run([] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const auto server = await(asyncio::start_server_from(echo, fd, {.ssl = server_context()}));
    auto [reader, writer] = await(connect_tls(server, client_context()));
    writer.write("handed over");
    CHECK(await(reader.readexactly(11)) == "handed over");
    writer.close();
    await(writer.wait_closed());
    finish(server);
  });
}

TEST_CASE("a connection that cannot be served is closed after its handshake; others go on") {
  Events reports;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    support::report_to(reports);
    const auto server = start_tls_server(echo, server_context());
    // The first task is the connection's, which waits for the handshake; the second serves it.
    int tasks = 0;
    loop.set_task_factory([&](const asyncio::EventLoop& its_loop,
                              const asyncio::CoroutineRef& coroutine,
                              const asyncio::TaskOptions& options) {
      if (++tasks == 2) throw fiber::RuntimeError("no task to be had");
      return asyncio::TaskRef(coroutine, its_loop, options);
    });
    {
      auto [reader, writer] = await(connect_tls(server, client_context()));
      CHECK(await(reader.read()) == "");
      writer.close();
      await(writer.wait_closed());
    }
    CHECK(tasks == 2);
    auto [reader, writer] = await(connect_tls(server, client_context()));
    writer.write("x");
    CHECK(await(reader.readexactly(1)) == "x");
    writer.close();
    await(writer.wait_closed());
    finish(server);
    loop.set_task_factory(nullptr);
    CHECK(asyncio::all_tasks().size() == 1);
  });
  CHECK(reports.take() ==
        "Fatal error: protocol.connection_made() call failed.: RuntimeError('no task to be had')");
}

TEST_CASE("a number that stands for another file ends the TLS connection, not the file") {
  asyncio::run([] {
    const auto server = start_tls_server(echo, server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    writer.write("x");
    CHECK(await(reader.readexactly(1)) == "x");
    const int number = writer.fileno();
    const SocketPair pair;
    REQUIRE(::dup2(pair.one, number) == number);
    auto [new_reader, new_writer] = await(asyncio::open_connection_from(number));
    CHECK(thrown_by([&] { await(writer.wait_closed()); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
    CHECK(thrown_by([&] { await(reader.read()); }) == "OSError('[Errno 9] Bad file descriptor')");
    CHECK(is_open(number));
    REQUIRE(::send(pair.other, "y", 1, 0) == 1);
    CHECK(await(new_reader.readexactly(1)) == "y");
    new_writer.close();
    await(new_writer.wait_closed());
    finish(server);
  });
}
