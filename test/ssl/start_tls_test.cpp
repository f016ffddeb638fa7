#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <unistd.h>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::client_context;
using support::connect_tls;
using support::Events;
using support::finish;
using support::hang_up;
using support::server_context;
using support::start_tls_server;
using support::thrown_by;

TEST_CASE("start_tls: a plain connection goes on over TLS") {
  Events events;
  asyncio::run([&] {
    const auto server_side = server_context();
    const auto server = await(asyncio::start_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          events(await(reader.readline()));
          writer.write("ready\n");
          await(writer.start_tls(server_side));
          events(await(reader.readline()));
          writer.write("secret\n");
          await(reader.read());
          hang_up(writer);
        },
        "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    CHECK_FALSE(writer.get_extra_info(ssl::ssl_object));
    writer.write("STARTTLS\n");
    CHECK(await(reader.readline()) == "ready\n");
    const StreamWriter copy = writer;
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    CHECK(copy.get_extra_info(ssl::ssl_object)->version() == "TLSv1.3");
    copy.write("hello\n");
    CHECK(await(reader.readline()) == "secret\n");
    hang_up(writer);
    finish(server);
  });
  CHECK(events.take() == "STARTTLS\n hello\n");
}

TEST_CASE("start_tls: data sent in the open ahead of the handshake is not taken for secure") {
  Events events;
  asyncio::run([&] {
    const auto server_side = server_context();
    const auto server = await(asyncio::start_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          events(await(reader.readline()));
          events(thrown_by([&] { await(writer.start_tls(server_side)); }));
          CHECK(thrown_by([&] { events(await(reader.readline())); }).starts_with("SSLError"));
        },
        "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    writer.write("STARTTLS\nINJECTED\n");
    const std::string alert = await(reader.read());
    finish(server);
  });
  CHECK(events.take() == "STARTTLS\n SSLError('[SSL: WRONG_VERSION_NUMBER] wrong version number')");
}

namespace {

// Accepts a connection by hand, and serves it through a StreamReaderProtocol.
void serve_one(const fiber::socket::socket& listener, auto callback) {
  const auto loop = asyncio::get_running_loop();
  const int fd = await(loop.sock_accept(listener)).first;
  asyncio::Event served;
  await(loop.connect_accepted_socket(
      [&] {
        return std::make_shared<asyncio::StreamReaderProtocol>(
            StreamReader(), [&](StreamReader& reader, StreamWriter& writer) {
              callback(reader, writer);
              served.set();
            });
      },
      fiber::socket::socket::from_fd(fd)));
  await(served.wait());
}

fiber::socket::socket listening_socket() {
  fiber::socket::socket listener(AF_INET, SOCK_STREAM);
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  listener.setblocking(false);
  return listener;
}

}  // namespace

TEST_CASE("start_tls of a StreamReaderProtocol with a callback is the server's") {
  Events events;
  asyncio::run([&] {
    const auto listener = listening_socket();
    const auto serving = asyncio::create_task([&] {
      serve_one(listener, [&](StreamReader& reader, StreamWriter& writer) {
        events(await(reader.readline()));
        writer.write("ready\n");
        await(writer.start_tls(server_context()));
        events(await(reader.readline()));
        hang_up(writer);
      });
    });
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", listener.getsockname().port()));
    writer.write("STARTTLS\n");
    CHECK(await(reader.readline()) == "ready\n");
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    writer.write("hello\n");
    await(serving);
    hang_up(writer);
  });
  CHECK(events.take() == "STARTTLS\n hello\n");
}

TEST_CASE("start_tls of a server's StreamReaderProtocol without a callback is the server's") {
  asyncio::run([] {
    struct Kept : asyncio::StreamReaderProtocol {
      using StreamReaderProtocol::StreamReaderProtocol;
      void connection_made(const asyncio::Transport& its) override {
        StreamReaderProtocol::connection_made(its);
        transport = its;
        made.set();
      }
      asyncio::Transport transport;
      asyncio::Event made;
    };
    const StreamReader theirs;
    const auto protocol = std::make_shared<Kept>(theirs);
    const auto server =
        await(asyncio::get_running_loop().create_server([&] { return protocol; }, "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", server.sockets()[0].port()));
    await(protocol->made.wait());
    const StreamWriter answers(protocol->transport);
    const auto serving = asyncio::create_task([&] { await(answers.start_tls(server_context())); });
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    await(serving);
    writer.write("secret\n");
    CHECK(await(theirs.readline()) == "secret\n");
    answers.close();
    hang_up(writer);
    protocol->transport = {};
    finish(server);
  });
}

TEST_CASE("start_tls of a StreamReaderProtocol does not take data sent in the open for secure") {
  Events events;
  asyncio::run([&] {
    const auto listener = listening_socket();
    const auto serving = asyncio::create_task([&] {
      serve_one(listener, [&](StreamReader& reader, StreamWriter& writer) {
        events(await(reader.readline()));
        events(thrown_by([&] { await(writer.start_tls(server_context())); }));
      });
    });
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", listener.getsockname().port()));
    writer.write("STARTTLS\nINJECTED\n");
    await(serving);
    const std::string alert = await(reader.read());
    hang_up(writer);
  });
  CHECK(events.take() == "STARTTLS\n SSLError('[SSL: WRONG_VERSION_NUMBER] wrong version number')");
}

TEST_CASE("start_tls: TLS in TLS") {
  Events events;
  asyncio::run([&] {
    const auto context = server_context();
    const auto server = start_tls_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          events(await(reader.readline()));
          writer.write("go\n");
          await(writer.start_tls(context));
          events(await(reader.readline()));
          writer.write(std::string(300'000, 'y'));
          events(await(reader.read()));
          hang_up(writer);
        },
        context);
    auto [reader, writer] = await(connect_tls(server, client_context()));
    writer.write("outer\n");
    CHECK(await(reader.readline()) == "go\n");
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    writer.write("inner\n");
    CHECK(await(reader.readexactly(300'000)) == std::string(300'000, 'y'));
    hang_up(writer);
    finish(server);
  });
  CHECK(events.take() == "outer\n inner\n ");
}

TEST_CASE("start_tls fails: the connection is closed, and says why") {
  asyncio::run([&] {
    const auto context = server_context("expired.pem");
    const auto server = await(asyncio::start_server(
        [&](StreamReader&, StreamWriter& writer) {
          CHECK(
              thrown_by([&] { await(writer.start_tls(context)); }) ==
              "SSLError('[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired')");
        },
        "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    CHECK(thrown_by([&] { await(writer.start_tls(true)); }).starts_with("TypeError"));
    CHECK_THROWS_AS(await(writer.start_tls(client_context(), {.server_hostname = "localhost"})),
                    ssl::SSLCertVerificationError);
    CHECK(writer.is_closing());
    CHECK_THROWS_AS(await(writer.wait_closed()), ssl::SSLCertVerificationError);
    CHECK_THROWS_AS(await(reader.read()), ssl::SSLCertVerificationError);
    finish(server);
  });
}

TEST_CASE("start_tls: no pipe, whether it is ours or a child's, goes on over TLS") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto context = client_context();
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto [transport, protocol] = await(
        loop.connect_write_pipe([] { return std::make_shared<asyncio::Protocol>(); }, ends[1]));
    const StreamWriter writer(transport);
    const std::string refusal = "TypeError('transport <write pipe fd=" + std::to_string(ends[1]) +
                                "> is not supported by start_tls()')";
    CHECK(thrown_by([&] { await(writer.start_tls(context, {.server_hostname = "localhost"})); }) ==
          refusal);
    CHECK(thrown_by([&, &protocol = protocol] {
            await(loop.start_tls(writer.transport(), protocol, context));
          }) == refusal);
    writer.write("in the open");
    char got[32];
    CHECK(::read(ends[0], got, sizeof got) == 11);
    writer.close();
    ::close(ends[0]);
    const auto child =
        await(asyncio::create_subprocess_exec({"cat"}, {.stdin_ = asyncio::subprocess::PIPE}));
    CHECK(thrown_by([&] {
            await(child.stdin_()->start_tls(context, {.server_hostname = "localhost"}));
          }).ends_with("> is not supported by start_tls()')"));
    child.stdin_()->close();
    CHECK(await(child.wait()) == 0);
  });
}

TEST_CASE("start_tls lets a task in drain() go on") {
  asyncio::run([] {
    const auto server_side = server_context();
    const asyncio::Event go;
    std::size_t plain = 0;  // bytes, all written before start_tls
    const auto server = await(asyncio::start_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          await(go.wait());
          await(reader.readexactly(plain));
          await(writer.start_tls(server_side));
          await(reader.read());
          hang_up(writer);
        },
        "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    // Less than the layer's limit is left in the transport's buffer, and more than its own.
    constexpr std::size_t kHighWater = 64 * 1024;
    const auto producer = asyncio::create_task([&, writer = writer] {
      while (writer.transport().get_write_buffer_size() <= kHighWater) {
        writer.write(std::string(kHighWater, 'x'));
        plain += kHighWater;
      }
      await(writer.drain());
    });
    await(asyncio::sleep(0));
    const auto starting = asyncio::create_task([writer = writer] {
      await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    });
    await(asyncio::sleep(0));
    go.set();
    await(starting);
    CHECK(producer.done());
    producer.cancel();
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("start_tls resumes reading that was paused") {
  asyncio::run([] {
    const auto server_side = server_context();
    const auto server = await(asyncio::start_server(
        [&](StreamReader& reader, StreamWriter& writer) {
          await(writer.start_tls(server_side));
          await(reader.read());
          hang_up(writer);
        },
        "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("localhost", server.sockets()[0].port()));
    writer.transport().pause_reading();
    CHECK_FALSE(writer.transport().is_reading());
    await(writer.start_tls(client_context(), {.server_hostname = "localhost"}));
    CHECK(writer.transport().is_reading());
    hang_up(writer);
    finish(server);
  });
}

TEST_CASE("start_tls after the other side's end fails at once") {
  Events events;
  asyncio::run([&] {
    const auto server = await(asyncio::start_server(
        [&](StreamReader&, StreamWriter& writer) {
          writer.write("go\n");
          hang_up(writer);
        },
        "127.0.0.1", 0));
    const int port = server.sockets()[0].port();
    const auto [reader, writer] = await(asyncio::open_connection("localhost", port));
    events(await(reader.read()));
    events(thrown_by([&, writer = writer] {
      await(writer.start_tls(client_context(),
                             {.server_hostname = "localhost", .ssl_handshake_timeout = 5s}));
    }));
    // A protocol that keeps its side of the connection open.
    struct Open : asyncio::Protocol {
      bool eof_received() override {
        if (!ended.done()) ended.set_result();
        return true;
      }
      asyncio::Future<> ended = asyncio::get_running_loop().create_future();
    };
    const auto loop = asyncio::get_running_loop();
    const auto [transport, protocol] =
        await(loop.create_connection([] { return std::make_shared<Open>(); }, "localhost", port));
    await(protocol->ended);
    events(thrown_by([&, transport = transport] {
      await(loop.start_tls(transport, std::make_shared<Open>(), client_context(),
                           {.server_hostname = "localhost", .ssl_handshake_timeout = 5s}));
    }));
    finish(server);
  });
  const std::string refused =
      "ConnectionResetError('the other side has closed the connection during the TLS handshake')";
  CHECK(events.take() == "go\n " + refused + " " + refused);
}
