#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>

#include "ssl/tls.hpp"
#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/folder.hpp"
#include "support/log.hpp"

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
using support::hang_up;
using support::server_context;
using support::start_tls_server;
using support::thrown_by;
using namespace std::chrono_literals;

TEST_CASE("a good-bye and a connection that was cut are told apart, if one asks") {
  Events events;
  asyncio::run([&] {
    bool say_goodbye = false;
    const auto server = start_tls_server(
        [&](StreamReader&, StreamWriter& writer) {
          writer.write("part");
          await(writer.drain());
          if (say_goodbye)
            hang_up(writer);
          else
            ::shutdown(writer.fileno(), SHUT_WR);  // behind TLS's back
          while (!writer.is_closing()) await(asyncio::sleep(1ms));
        },
        server_context());
    for (const bool goodbye : {true, false}) {
      say_goodbye = goodbye;
      {
        auto [reader, writer] = await(connect_tls(server, client_context()));
        const auto object = writer.get_extra_info(ssl::ssl_object);
        events(await(reader.read()));
        events(object->received_close_notify() ? "whole" : "cut");
        hang_up(writer);
      }
      const auto strict = client_context();
      strict.suppress_ragged_eofs(false);
      auto [reader, writer] = await(connect_tls(server, strict));
      std::string got;
      const std::string error = thrown_by([&, reader = reader] {
        for (std::string part; !(part = await(reader.read(100))).empty();) got += part;
      });
      events(got + error);
      writer.close();
    }
    finish(server);
  });
  CHECK(events.take() ==
        "part whole part part cut partSSLEOFError('[SSL: UNEXPECTED_EOF_WHILE_READING] EOF "
        "occurred in violation of protocol')");
}

TEST_CASE("the handshake has its time, and closing has") {
  asyncio::run([&] {
    // A server that sends nothing.
    const auto silent = await(asyncio::start_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          await(reader.read());
          hang_up(writer);
        },
        "127.0.0.1", 0));
    CHECK(thrown_by([&] {
            await(connect_tls(silent, client_context(), {.ssl_handshake_timeout = 50ms}));
          }) ==
          "ConnectionAbortedError('SSL handshake is taking longer than 0.05 seconds: aborting the "
          "connection')");
    finish(silent);

    // A server that never answers a close_notify, because it reads nothing.
    asyncio::Event done;
    const auto deaf = start_tls_server(
        [&](StreamReader&, StreamWriter& writer) {
          writer.transport();
          await(done.wait());
          writer.transport().abort();
        },
        server_context(), {.limit = 1});
    auto [reader, writer] =
        await(connect_tls(deaf, client_context(), {.ssl_shutdown_timeout = 50ms}));
    writer.write(std::string(4'000'000, 'z'));
    writer.close();
    CHECK(thrown_by([&, writer = writer] { await(writer.wait_closed()); }) ==
          "TimeoutError('SSL shutdown timed out')");
    done.set();
    finish(deaf);
  });
}

TEST_CASE("closing while the other side still sends throws away what nobody reads") {
  asyncio::run([&] {
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          try {
            while (!writer.is_closing()) {
              writer.write(std::string(10'000, 'w'));
              await(writer.drain());
            }
            await(reader.read());
          } catch (const fiber::ConnectionError&) {
            // The peer's close_notify came first.
          }
        },
        server_context());
    auto [reader, writer] = await(connect_tls(server, client_context()));
    CHECK(await(reader.readexactly(10)) == std::string(10, 'w'));
    writer.close();
    await(writer.wait_closed());
    finish(server);
  });
}

TEST_CASE("closing with more unread than the buffers hold still finds the peer's good-bye") {
  asyncio::run([&] {
    asyncio::Event sent;
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          for (int piece = 0; piece < 12; ++piece) {
            writer.write(std::string(50'000, 'u'));
            await(writer.drain());
          }
          sent.set();
          CHECK(await(reader.read()) == "");
          hang_up(writer);
        },
        server_context());
    auto [reader, writer] =
        await(connect_tls(server, client_context(), {.limit = 1000, .ssl_shutdown_timeout = 2s}));
    await(sent.wait());
    await(asyncio::sleep(50ms));  // received as far as there is room
    writer.close();
    CHECK(thrown_by([&, writer = writer] { await(writer.wait_closed()); }) == "");
    finish(server);
  });
}

TEST_CASE("data and the good-bye in one piece: all is read, then the end") {
  asyncio::run([&] {
    const std::string all(200'000, 'd');
    const auto server = start_tls_server(
        [&](StreamReader&, StreamWriter& writer) {
          writer.write(all);
          writer.close();
        },
        server_context());
    auto [reader, writer] = await(connect_tls(server, client_context(), {.limit = 1000}));
    std::string got;
    for (;;) {
      const std::string part = await(reader.read(777));
      if (part.empty()) break;
      got += part;
    }
    CHECK(got == all);
    CHECK(reader.at_eof());
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("a client that does not speak TLS is dropped, others go on; debug mode reports it") {
  Events reports;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    support::report_to(reports);
    const auto server = start_tls_server(echo, server_context());
    const auto garbage = [&] {
      auto [reader, writer] =
          await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
      writer.write("GET / HTTP/1.0\r\n\r\n");
      CHECK(await(reader.read()) == "");
      hang_up(writer);
    };
    garbage();
    CHECK(reports.take().empty());
    loop.set_debug(true);
    garbage();
    loop.set_debug(false);
    auto [reader, writer] = await(connect_tls(server, client_context()));
    writer.write("x");
    CHECK(await(reader.readexactly(1)) == "x");
    hang_up(writer);
    finish(server);
  });
  CHECK(reports.take() ==
        "Error on transport creation for incoming connection: SSLError('[SSL: HTTP_REQUEST] http "
        "request')");
}

TEST_CASE("loop.sendfile over TLS that is closed meanwhile does not count what is dropped") {
  asyncio::run([] {
    const support::Folder folder;
    const std::string path = folder.make("block", std::string(10'000, 'f'));
    const support::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    asyncio::Event read;
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          await(read.wait());
          await(reader.read());
          hang_up(writer);
        },
        server_context(), {.limit = 1000});
    auto [reader, writer] = await(connect_tls(server, client_context()));
    for (int piece = 0; piece < 2; ++piece)  // more than has room: sendfile waits
      writer.write(std::string(8'000'000, 'w'));
    const auto sending = asyncio::create_task([&, transport = writer.transport()] {
      return await(asyncio::get_running_loop().sendfile(transport, file));
    });
    await(asyncio::sleep(50ms));
    writer.close();
    read.set();
    CHECK(thrown_by([&] { await(sending); }) == "ConnectionError('Connection closed by peer')");
    await(writer.wait_closed());
    finish(server);
  });
}
