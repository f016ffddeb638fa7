#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::certificates;
using support::client_context;
using support::connect_tls;
using support::echo;
using support::Events;
using support::finish;
using support::hang_up;
using support::server_context;
using support::start_tls_server;
using support::thrown_by;
using namespace std::chrono_literals;

// The list is the output of CPython 3.11 for an equal program.
TEST_CASE("the events of a short conversation come in CPython's iterations") {
  std::vector<std::string> events;
  asyncio::run([&] {
    int ticks = 0;
    bool ticking = true;
    const auto say = [&](const std::string& what) {
      events.push_back(std::to_string(ticks) + " " + what);
    };
    // Bytes sent through a Unix socket arrive at once.
    const std::string path = certificates()("events");
    const auto server = await(asyncio::start_unix_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          say("server connected");
          say("server got " + await(reader.readline()));
          writer.write("pong\n");
          await(writer.drain());
          say("server drained");
          say("server rest " + await(reader.read()));
          writer.close();
          say("server close");
          await(writer.wait_closed());
          say("server closed");
        },
        path, {.ssl = server_context()}));
    auto [reader, writer] = await(asyncio::open_unix_connection(
        path, {.ssl = client_context(), .server_hostname = "localhost"}));
    const auto loop = asyncio::get_running_loop();
    std::function<void()> tick = [&] {
      ++ticks;
      if (ticking) loop.call_soon([&] { tick(); });
    };
    loop.call_soon([&] { tick(); });
    say("client connected");
    writer.write("ping\n");
    await(writer.drain());
    say("client drained");
    say("client got " + await(reader.readline()));
    writer.close();
    say("client close");
    say("client rest " + await(reader.read()));
    await(writer.wait_closed());
    say("client closed");
    finish(server);
    say("server wait_closed");
    ticking = false;
    await(asyncio::sleep(0s));
  });
  CHECK(events == std::vector<std::string>{
                      "0 client connected", "0 client drained", "1 server connected",
                      "1 server got ping\n", "1 server drained", "2 client got pong\n",
                      "2 client close", "4 server rest ", "4 server close", "5 client rest ",
                      "7 server closed", "8 client closed", "8 server wait_closed"});
}

TEST_CASE("a conversation over TLS, and what is known of it") {
  Events events;
  asyncio::run([&] {
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          events("server " + writer.get_extra_info(ssl::ssl_object)->version().value());
          events(await(reader.readline()));
          writer.write("pong\n");
          await(writer.drain());
          events("rest '" + await(reader.read()) + "'");
          hang_up(writer);
        },
        server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    const auto object = writer.get_extra_info(ssl::ssl_object);
    REQUIRE(object);
    CHECK(object->version() == "TLSv1.3");
    CHECK(object->server_hostname() == "localhost");
    CHECK_FALSE(object->server_side());
    CHECK(writer.get_extra_info(ssl::cipher)->protocol == "TLSv1.3");
    CHECK(writer.get_extra_info(ssl::peercert)->commonName() == "localhost");
    CHECK_FALSE(writer.get_extra_info(ssl::compression));
    CHECK_FALSE(writer.can_write_eof());
    CHECK(thrown_by([&] { writer.write_eof(); }).starts_with("NotImplementedError"));
    writer.write("ping\n");
    CHECK(await(reader.readline()) == "pong\n");
    hang_up(writer);
    CHECK(await(reader.read()) == "");
    finish(server);
  });
  CHECK(events.take() == "server TLSv1.3 ping\n rest ''");
}

TEST_CASE("every version of TLS that is not obsolete, on both sides") {
  asyncio::run([&] {
    const auto server = start_tls_server(echo, server_context());
    for (const ssl::TLSVersion version : {ssl::TLSVersion::TLSv1_2, ssl::TLSVersion::TLSv1_3}) {
      const auto context = client_context();
      context.minimum_version(version);
      context.maximum_version(version);
      auto [reader, writer] = await(connect_tls(server, context));
      CHECK(writer.get_extra_info(ssl::ssl_object)->version() ==
            (version == ssl::TLSVersion::TLSv1_2 ? "TLSv1.2" : "TLSv1.3"));
      writer.write("a");
      CHECK(await(reader.readexactly(1)) == "a");
      hang_up(writer);
    }
    finish(server);
  });
}

TEST_CASE("much data in both directions at once, of all sizes") {
  asyncio::run([&] {
    const auto server = start_tls_server(echo, server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    std::string sent;
    for (std::size_t size : {1U, 2U, 16383U, 16384U, 16385U, 100'000U, 1'000'000U})
      sent += std::string(size, static_cast<char>('a' + size % 26));
    const auto sending = asyncio::create_task([&, writer = writer] {
      for (std::size_t at = 0, step = 1; at < sent.size(); at += step, step = step * 2 + 1) {
        writer.write(std::string_view(sent).substr(at, step));
        await(writer.drain());
      }
    });
    CHECK(await(reader.readexactly(static_cast<std::ptrdiff_t>(sent.size()))) == sent);
    await(sending);
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("a writer that nobody reads from waits, and its buffer is bounded") {
  asyncio::run([&] {
    asyncio::Event go_on;
    std::size_t received = 0;
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          await(go_on.wait());
          for (;;) {
            const std::string data = await(reader.read(1 << 20));
            if (data.empty()) break;
            received += data.size();
          }
          hang_up(writer);
        },
        server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    CHECK(writer.transport().get_write_buffer_limits() ==
          std::pair<std::size_t, std::size_t>(128 * 1024, 512 * 1024));
    const std::string block(64 * 1024, 'x');
    std::size_t written = 0;
    std::size_t most = 0;
    const auto sending = asyncio::create_task([&, writer = writer] {
      for (int i = 0; i < 400; ++i) {
        writer.write(block);
        written += block.size();
        most = std::max(most, writer.transport().get_write_buffer_size());
        await(writer.drain());
      }
    });
    // Until no more bytes are moved.
    for (std::size_t before = 1; before != written;) {
      before = written;
      for (int i = 0; i < 50; ++i) await(asyncio::sleep(1ms));
    }
    CHECK_FALSE(sending.done());
    CHECK(most < 512 * 1024 + 2 * block.size());
    go_on.set();
    await(sending);
    hang_up(writer);
    finish(server);
    CHECK(received == 400 * block.size());
  });
}

TEST_CASE("with a limit of 0 a writer waits only while bytes are buffered") {
  asyncio::run([] {
    const auto server = start_tls_server(echo, server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    const auto exchange = [&, &reader = reader, &writer = writer] {
      writer.write("ping");
      await(asyncio::wait_for(writer.drain(), 20s));
      CHECK(await(reader.readexactly(4)) == "ping");
    };
    exchange();  // nothing comes from now on but echoes
    writer.transport().set_write_buffer_limits(0);
    for (int i = 0; i < 3; ++i) {
      CHECK(writer.transport().get_write_buffer_size() == 0);
      await(asyncio::wait_for(writer.drain(), 20s));
      exchange();
    }
    // More than the sockets take, so that the second byte stays with TLS.
    writer.write(std::string(16 << 20, 'x'));
    writer.write("y");
    CHECK(writer.transport().get_write_buffer_size() > 0);
    const auto draining = asyncio::create_task([&, &writer = writer] { await(writer.drain()); });
    await(asyncio::sleep(0));
    CHECK_FALSE(draining.done());
    for (std::size_t left = (16 << 20) + 1; left > 0;) left -= await(reader.read(1 << 20)).size();
    await(draining);
    CHECK(writer.transport().get_write_buffer_size() == 0);
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("Unix sockets, and sockets that are connected already") {
  asyncio::run([&] {
    const std::string path = certificates()("socket");
    const auto server = await(asyncio::start_unix_server(echo, path, {.ssl = server_context()}));
    {
      auto [reader, writer] = await(asyncio::open_unix_connection(
          path, {.ssl = client_context(), .server_hostname = "localhost"}));
      writer.write("unix");
      CHECK(await(reader.readexactly(4)) == "unix");
      hang_up(writer);
    }
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = asyncio::SocketAddress::from_path(path);
    REQUIRE(::connect(fd, address.data(), address.size()) == 0);
    auto [reader, writer] = await(asyncio::open_connection_from(
        fd, {.ssl = client_context(), .server_hostname = "localhost"}));
    writer.write("fd");
    CHECK(await(reader.readexactly(2)) == "fd");
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("arguments that make no sense are refused before anything is opened") {
  asyncio::run([&] {
    const auto context = client_context();
    using Options = asyncio::OpenConnectionOptions;
    const auto open = [](Options options) {
      return thrown_by([&] { await(asyncio::open_connection("localhost", 1, options)); });
    };
    CHECK(open({.server_hostname = "a"}) ==
          "ValueError('server_hostname is only meaningful with ssl')");
    CHECK(open({.ssl_handshake_timeout = 1s}) ==
          "ValueError('ssl_handshake_timeout is only meaningful with ssl')");
    CHECK(open({.ssl_shutdown_timeout = 1s}) ==
          "ValueError('ssl_shutdown_timeout is only meaningful with ssl')");
    CHECK(open({.ssl = context, .ssl_handshake_timeout = 0s})
              .starts_with("ValueError('ssl_handshake_timeout should be a positive number"));
    CHECK(open({.ssl = context, .ssl_shutdown_timeout = -1s})
              .starts_with("ValueError('ssl_shutdown_timeout should be a positive number"));
    CHECK(open({.ssl = context, .server_hostname = ".a"}) ==
          "ValueError('server_hostname cannot be an empty string or start with a leading dot.')");
    CHECK(open({.ssl = context, .server_hostname = ""}) ==
          "ValueError('check_hostname requires server_hostname')");
    CHECK(open({.ssl = server_context()}).starts_with("SSLError('Cannot create a client"));
    CHECK(thrown_by([&] { await(asyncio::open_unix_connection("/none", {.ssl = context})); }) ==
          "ValueError('You must set server_hostname when using ssl without a host')");
    CHECK(thrown_by([&] {
            await(asyncio::start_server(echo, "127.0.0.1", 0, {.ssl = true}));
          }).starts_with("TypeError('ssl argument must be an SSLContext"));
    CHECK(thrown_by([&] {
            await(asyncio::start_server(echo, "127.0.0.1", 0, {.ssl_handshake_timeout = 1s}));
          }) == "ValueError('ssl_handshake_timeout is only meaningful with ssl')");
  });
}

TEST_CASE("`true` stands for the usual context, which trusts what the machine trusts") {
  ::setenv("SSL_CERT_FILE", certificates()("authority.pem").c_str(), 1);
  asyncio::run([&] {
    const auto server = start_tls_server(echo, server_context());
    const int port = server.sockets()[0].port();
    auto [reader, writer] = await(asyncio::open_connection("localhost", port, {.ssl = true}));
    CHECK(writer.get_extra_info(ssl::sslcontext)->verify_mode() == ssl::CERT_REQUIRED);
    hang_up(writer);
    ::unsetenv("SSL_CERT_FILE");
    CHECK_THROWS_AS(await(asyncio::open_connection("localhost", port, {.ssl = true})),
                    ssl::SSLCertVerificationError);
    finish(server);
  });
}

TEST_CASE("the connection of a server is served from the end of its handshake on") {
  Events events;
  asyncio::run([&] {
    const auto server = start_tls_server(
        [&](StreamReader&, StreamWriter& writer) {
          events("served");
          writer.close();
        },
        server_context(), {.ssl_handshake_timeout = 10s});
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(1ms));
    CHECK(events.take().empty());
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    CHECK(await(reader.read()) == "");
    hang_up(writer);
    finish(server);
  });
  CHECK(events.take() == "served");
}

TEST_CASE("a small stack is enough for a task that reads and writes over TLS") {
  asyncio::run([&] {
    const auto server = start_tls_server(echo, server_context());
    const auto task = asyncio::create_task(
        [&] {
          auto [reader, writer] = await(connect_tls(server, client_context()));
          for (int i = 0; i < 10; ++i) {
            writer.write(std::string(50'000, 's'));
            CHECK(await(reader.readexactly(50'000)).size() == 50'000);
          }
          hang_up(writer);
        },
        {.stack_size = 64 * 1024});
    await(task);
    finish(server);
  });
}

TEST_CASE("a session is resumed for the host with which it was made alone") {
  for (const ssl::TLSVersion version : {ssl::TLSVersion::TLSv1_2, ssl::TLSVersion::TLSv1_3})
    asyncio::run([&] {
      const auto server = start_tls_server(
          [](StreamReader& reader, StreamWriter& writer) {
            writer.write("x");
            await(reader.read());
            hang_up(writer);
          },
          server_context());
      const auto context = client_context();
      context.maximum_version(version);
      const auto session_of = [&](const asyncio::ssl_argument& argument, bool reused) {
        auto [reader, writer] = await(
            asyncio::open_connection("localhost", server.sockets()[0].port(), {.ssl = argument}));
        CHECK(await(reader.read(1)) == "x");
        const auto object = writer.get_extra_info(ssl::ssl_object).value();
        CHECK(object.session_reused() == reused);
        hang_up(writer);
        return object.session().value();
      };
      const auto first = context.resuming(session_of(context, false));
      session_of(first, true);
      CHECK(
          thrown_by([&] {
            await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port(),
                                           {.ssl = first, .server_hostname = "evil.example"}));
          }) ==
          "ValueError(\"Session was made for server_hostname 'localhost', not for server_hostname "
          "'evil.example'.\")");
      CHECK(thrown_by([&] {
              await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port(),
                                             {.ssl = first}));
            }).ends_with("not for server_hostname '127.0.0.1'.\")"));
      finish(server);
    });
}
