#include <fiber/asyncio.hpp>
#include <fiber/asyncio/staggered.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::SocketAddress;
using support::Events;
using support::thrown_by;

namespace {

sockets::socket listener() {
  sockets::socket sock;
  sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  sock.bind({"127.0.0.1", 0});
  sock.listen();
  return sock;
}

// Returns a port without a listener.
int closed_port() {
  sockets::socket sock;
  sock.bind({"127.0.0.1", 0});
  return sock.getsockname().port();
}

}  // namespace

TEST_CASE("a socket knows its family, type and protocol, and closes itself") {
  int fd = -1;
  {
    const sockets::socket sock(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK);
    fd = sock.fileno();
    CHECK(sock.family() == AF_INET6);
    CHECK(sock.type() == SOCK_DGRAM);
    CHECK_FALSE(sock.getblocking());
    CHECK(static_cast<bool>(sock));
  }
  CHECK(thrown_by([&] { sockets::socket::from_fd(fd); }) ==
        "OSError('[Errno 9] Bad file descriptor')");
}

TEST_CASE("socket: close, detach, dup and moves") {
  sockets::socket sock;
  const sockets::socket copy = sock.dup();
  CHECK(copy.fileno() != sock.fileno());
  CHECK(copy.family() == AF_INET);
  sockets::socket moved = std::move(sock);
  CHECK(sock.fileno() == -1);  // NOLINT(bugprone-use-after-move)
  const int fd = moved.detach();
  CHECK(moved.fileno() == -1);
  sockets::socket again = sockets::socket::from_fd(fd);
  CHECK(again.fileno() == fd);
  CHECK(again.type() == SOCK_STREAM);
  again.close();
  again.close();
  CHECK(thrown_by([&] { again.listen(); }) == "OSError('[Errno 9] Bad file descriptor')");
  CHECK(thrown_by([&] { again.recv(1); }) == "OSError('[Errno 9] Bad file descriptor')");
  CHECK(fiber::socket::repr(again) == "<socket.socket [closed] fd=-1, family=2, type=1, proto=6>");
}

TEST_CASE("a descriptor that is closed or no socket is refused and left alone") {
  support::Pipe pipe;
  CHECK(thrown_by([&] { sockets::socket::from_fd(pipe.reads); }) ==
        "OSError('[Errno 88] Socket operation on non-socket')");
  CHECK(pipe.reads.close() == 0);
  CHECK(thrown_by([] { sockets::socket(12345); }) ==
        "OSError('[Errno 97] Address family not supported by protocol')");
}

TEST_CASE("options, as numbers and as bytes") {
  const sockets::socket sock;
  sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1);
  CHECK(sock.getsockopt(SOL_SOCKET, SO_KEEPALIVE) == 1);
  const linger value{.l_onoff = 1, .l_linger = 7};
  sock.setsockopt(SOL_SOCKET, SO_LINGER,
                  std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  const std::string bytes = sock.getsockopt(SOL_SOCKET, SO_LINGER, sizeof value);
  CHECK(bytes == std::string(reinterpret_cast<const char*>(&value), sizeof value));
  CHECK(thrown_by([&] { sock.getsockopt(SOL_SOCKET, SO_LINGER, 0); }) ==
        "OSError('getsockopt buflen out of range')");
  CHECK(thrown_by([&] { sock.getsockopt(SOL_SOCKET, SO_LINGER, 1025); }) ==
        "OSError('getsockopt buflen out of range')");
  CHECK(thrown_by([&] { sock.setsockopt(SOL_SOCKET, 12345, 1); }) ==
        "OSError('[Errno 92] Protocol not available')");
}

TEST_CASE("a socket that does not block says so") {
  const auto [a, b] = sockets::socketpair();
  CHECK(a.getblocking());
  a.setblocking(false);
  CHECK_FALSE(a.getblocking());
  CHECK(thrown_by([&, &sock = a] { sock.recv(1); }) ==
        "BlockingIOError('[Errno 11] Resource temporarily unavailable')");
  b.sendall("xyz");
  CHECK(a.recv(2) == "xy");
  CHECK(a.recv(10, MSG_PEEK) == "z");
  b.shutdown(SHUT_WR);
  CHECK(a.recv(10) == "z");
  CHECK(a.recv(10) == "");
}

TEST_CASE("accept, connect, and the addresses of both sides") {
  const sockets::socket server = listener();
  const sockets::socket client;
  client.connect(server.getsockname());
  const auto [accepted, peer] = server.accept();
  CHECK(peer == client.getsockname());
  CHECK(accepted.getpeername() == peer);
  CHECK(accepted.getsockname() == server.getsockname());
  CHECK(fiber::socket::repr(accepted) ==
        "<socket.socket fd=" + std::to_string(accepted.fileno()) +
            ", family=2, type=1, proto=0, laddr=" + asyncio::repr(accepted.getsockname()) +
            ", raddr=" + asyncio::repr(peer) + ">");
  const sockets::socket alone;
  CHECK(thrown_by([&] { alone.getpeername(); }) ==
        "OSError('[Errno 107] Transport endpoint is not connected')");
  const SocketAddress nobody("127.0.0.1", closed_port());
  CHECK(alone.connect_ex(nobody) == ECONNREFUSED);
  CHECK(thrown_by([&] { alone.connect(nobody); }) ==
        "ConnectionRefusedError('[Errno 111] Connection refused: " + nobody.text() + "')");
}

TEST_CASE("an empty host stands for all interfaces, and \"<broadcast>\" for everybody") {
  sockets::socket four(AF_INET, SOCK_DGRAM);
  four.bind({"", 0});
  CHECK(four.getsockname().host() == "0.0.0.0");
  sockets::socket six(AF_INET6, SOCK_DGRAM);
  six.bind({"", 0});
  CHECK(six.getsockname().host() == "::");
  CHECK(asyncio::repr(SocketAddress("<broadcast>", 9)) == "('255.255.255.255', 9)");
  CHECK(SocketAddress::parse(":80").text() == "0.0.0.0:80");
}

TEST_CASE("UDP in five lines, in the loop") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const sockets::socket server(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK);
    server.bind({"127.0.0.1", 0});
    const sockets::socket client(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK);
    const auto receiving = asyncio::create_task(loop.sock_recvfrom(server, 100));
    await(asyncio::sleep(0));
    await(loop.sock_sendto(client, "ping", server.getsockname()));
    const auto [data, from] = await(receiving);
    CHECK(data == "ping");
    await(loop.sock_sendto(server, "pong", from));
    char buffer[2];
    const auto [count, sender] = await(loop.sock_recvfrom_into(client, buffer));
    CHECK(std::string(buffer, count) == "po");  // the remaining bytes of the datagram are gone
    CHECK(sender == server.getsockname());
  });
}

TEST_CASE("sockets go where descriptors do: add_reader, sock_accept, sock_connect, sock_sendall") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const sockets::socket server = listener();
    server.setblocking(false);
    const sockets::socket client(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    await(loop.sock_connect(client, server.getsockname()));
    const sockets::socket peer = sockets::socket::from_fd(await(loop.sock_accept(server)).first);
    const auto readable = loop.create_future();
    loop.add_reader(peer, [&] {
      say("readable");
      loop.remove_reader(peer);
      readable.set_result();
    });
    await(loop.sock_sendall(client, "hello"));
    await(readable);
    CHECK(await(loop.sock_recv(peer, 100)) == "hello");
    CHECK_FALSE(loop.remove_reader(peer));
  });
  CHECK(say.take() == "readable");
}

TEST_CASE("a connected socket becomes a pair of streams, which own it") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    auto ends = sockets::socketpair();
    ends.first.setblocking(false);
    const int fd = ends.first.detach();
    auto open = sockets::socket::from_fd(fd);
    const auto [reader, writer] = await(asyncio::open_connection(std::move(open)));
    CHECK(open.fileno() == -1);  // NOLINT(bugprone-use-after-move)
    CHECK(writer.fileno() == fd);
    await(loop.sock_sendall(ends.second, "line\n"));
    CHECK(await(reader.readline()) == "line\n");
    writer.close();
    await(writer.wait_closed());
  });
}

TEST_CASE("start_server and open_connection take sockets over, also those they refuse") {
  asyncio::run([] {
    sockets::socket bound;
    bound.bind({"127.0.0.1", 0});
    const SocketAddress address = bound.getsockname();
    const auto server = await(asyncio::start_server(
        [](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
          writer.write(await(reader.readline()));
          await(writer.drain());
        },
        std::move(bound)));
    CHECK(server.sockets().at(0).getsockname() == address);
    sockets::socket client;
    client.connect(address);
    const auto [reader, writer] = await(asyncio::open_connection(std::move(client)));
    writer.write("echo\n");
    CHECK(await(reader.read()) == "echo\n");
    writer.close();
    server.close();
    await(server.wait_closed());

    sockets::socket datagrams(AF_INET, SOCK_DGRAM);
    const int fd = datagrams.fileno();
    CHECK(thrown_by([&] { await(asyncio::open_connection(std::move(datagrams))); }) ==
          "ValueError('A Stream Socket was expected, got descriptor " + std::to_string(fd) + "')");
    CHECK(thrown_by([&] { sockets::socket::from_fd(fd); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
    // A number stays the caller's.
    const sockets::socket kept(AF_INET, SOCK_DGRAM);
    CHECK_THROWS_AS(await(asyncio::open_connection_from(kept.fileno())), fiber::ValueError);
    CHECK(kept.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
  });
}

TEST_CASE("create_connection waits in a task, and blocks elsewhere") {
  const sockets::socket server = listener();
  const int port = server.getsockname().port();
  const sockets::socket blocking = sockets::create_connection("127.0.0.1", port);
  CHECK(blocking.getblocking());
  CHECK(blocking.getpeername() == server.getsockname());
  asyncio::run([&] {
    const sockets::socket sock = sockets::create_connection(
        "127.0.0.1", port, {.timeout = 10s, .source_address = {{"127.0.0.1", 0}}});
    CHECK(sock.getpeername() == server.getsockname());
    CHECK(sock.getblocking());
  });
  for (const char* source : {"", "localhost"}) {
    const sockets::socket sock =
        sockets::create_connection("127.0.0.1", port, {.source_address = {{source, 0}}});
    CHECK(sock.getsockname().host() == "127.0.0.1");
  }
  const int nobody = closed_port();
  CHECK_THROWS_AS(sockets::create_connection("127.0.0.1", nobody), fiber::ConnectionRefusedError);
  CHECK_THROWS_AS(sockets::create_connection("127.0.0.1", nobody, {.all_errors = true}),
                  fiber::ExceptionGroup);
  CHECK_THROWS_AS(asyncio::run([&] { sockets::create_connection("127.0.0.1", nobody); }),
                  fiber::ConnectionRefusedError);
}

TEST_CASE("create_connection refuses a port and a host that cannot be, in a task or not") {
  const sockets::socket server = listener();
  const int port = server.getsockname().port();
  const auto check = [&] {
    for (const int wrong : {-1, 65536, port + 65536})
      CHECK_THROWS_AS(sockets::create_connection("127.0.0.1", wrong), asyncio::gaierror);
    CHECK_THROWS_AS(sockets::create_connection(std::string("127.0.0.1\0x", 11), port),
                    fiber::ValueError);
  };
  check();
  asyncio::run(check);
}

TEST_CASE("more bytes than a string can have are no length_error") {
  const auto [a, b] = sockets::socketpair();
  const std::string text = "MemoryError('a string cannot have 18446744073709551615 bytes')";
  CHECK(thrown_by([&, &sock = a] { sock.recv(SIZE_MAX); }) == text);
  CHECK(thrown_by([&, &sock = a] { sock.recvfrom(SIZE_MAX); }) == text);
  b.sendall("kept");
  CHECK(a.recv(4) == "kept");
}

TEST_CASE("addresses are printed and parsed") {
  const auto again = [](const char* text) { return SocketAddress::parse(text).text(); };
  for (const char* text :
       {"127.0.0.1:80", "[::1]:443", "[::]:0", "unix:/run/x", "unix:@hidden", "[fe80::1%lo]:80"})
    CHECK(again(text) == text);
  CHECK(again("[fe80::1%1]:80") == "[fe80::1%lo]:80");
  CHECK(again("[fe80::1%4242]:80") == "[fe80::1%4242]:80");
  CHECK(SocketAddress().text() == "");
  CHECK(SocketAddress::parse("unix:@hidden").path() == std::string("\0hidden", 7));
  const auto refused = [](const char* text) {
    return thrown_by([&] { SocketAddress::parse(text); });
  };
  CHECK(refused("") ==
        "ValueError(\"'' is not the address of a socket: neither 'host:port' nor '[host]:port' nor "
        "'unix:path'\")");
  CHECK(refused("127.0.0.1").ends_with("nor 'unix:path'\")"));
  CHECK(refused("127.0.0.1:").ends_with("the port must be 0-65535\")"));
  CHECK(refused("127.0.0.1:65536").ends_with("the port must be 0-65535\")"));
  CHECK(refused("127.0.0.1:-1").ends_with("the port must be 0-65535\")"));
  CHECK(refused("127.0.0.1: 1").ends_with("the port must be 0-65535\")"));
  CHECK(refused("::1:80").ends_with("stands in brackets, as in '[::1]:80'\")"));
  CHECK(refused("[127.0.0.1]:80").ends_with("in brackets is not an IPv6 address\")"));
  CHECK(refused("example.org:80") ==
        "ValueError(\"'example.org' does not appear to be an IPv4 or IPv6 address\")");
  CHECK(refused("[fe80::1%nowhere]:80")
            .ends_with("no network interface of this machine after "
                       "its '%'\")"));
  CHECK(refused("[fe80::1%]:80").ends_with("after its '%'\")"));
  CHECK(refused("unix:") ==
        "ValueError(\"'unix:' is not the address of a socket: the path is missing\")");
}

// CPython prints ('fe80::1', 80, 5, 1) for socket.getsockname() of such a socket.
TEST_CASE("IPv6 addresses have a flow and a scope") {
  const SocketAddress address("fe80::1", 80, 5, 1);
  CHECK(asyncio::repr(address) == "('fe80::1', 80, 5, 1)");
  CHECK(address.flowinfo() == 5);
  CHECK(address.scope_id() == 1);
  CHECK(asyncio::repr(SocketAddress("fe80::1%lo", 80)) == "('fe80::1', 80, 0, 1)");
  CHECK_THROWS_AS(SocketAddress("127.0.0.1", 80, 0, 1), fiber::ValueError);
  CHECK_THROWS_AS(SocketAddress("::1", 80, 1 << 20, 0), fiber::ValueError);
  CHECK(SocketAddress("127.0.0.1", 80).scope_id() == 0);
}

TEST_CASE("happy eyeballs: an address that fails gives way to the next one at once") {
  asyncio::run([] {
    const sockets::socket server = listener();
    const int port = server.getsockname().port();
    const auto [reader, writer] =
        await(asyncio::open_connection("localhost", port, {.happy_eyeballs_delay = 1h}));
    CHECK(writer.peername() == server.getsockname());
    writer.close();
    const auto mixed = await(asyncio::open_connection("localhost", port, {.interleave = 2}));
    CHECK(mixed.second.peername() == server.getsockname());
    const int nobody = closed_port();
    CHECK(thrown_by([&] {
            await(asyncio::open_connection("127.0.0.1", nobody,
                                           {.happy_eyeballs_delay = 0s, .all_errors = true}));
          }) ==
          "ExceptionGroup('create_connection failed', [ConnectionRefusedError(\"[Errno 111] "
          "Connection refused: Connect call failed ('127.0.0.1', " +
              std::to_string(nobody) + ")\")])");
    CHECK_THROWS_AS(
        await(asyncio::open_connection("127.0.0.1", nobody, {.happy_eyeballs_delay = 250ms})),
        fiber::ConnectionRefusedError);
    CHECK_THROWS_AS(await(asyncio::open_connection("127.0.0.1", nobody, {.all_errors = true})),
                    fiber::ExceptionGroup);
  });
}

TEST_CASE("happy eyeballs: attempts whose tasks are cancelled end the call as cancelled") {
  for (const bool all_errors : {false, true})
    asyncio::run([&] {
      // A listener that takes no more connections lets the attempt wait.
      sockets::socket full;
      full.bind({"127.0.0.1", 0});
      full.listen(0);
      const auto address = full.getsockname();
      std::vector<sockets::socket> crowd(3);
      for (sockets::socket& each : crowd) {
        each.setblocking(false);
        each.connect_ex(address);
      }
      const auto opening = asyncio::create_task([&] {
        await(asyncio::open_connection("127.0.0.1", address.port(),
                                       {.happy_eyeballs_delay = 1h, .all_errors = all_errors}));
      });
      while (asyncio::all_tasks().size() < 4) await(asyncio::sleep(0));
      for (int i = 0; i < 4; ++i) await(asyncio::sleep(0));
      for (const auto& task : asyncio::all_tasks())
        if (task != asyncio::current_task() && task != opening) task.cancel();
      await(asyncio::wait({opening}));
      CHECK(opening.cancelled());
      CHECK(asyncio::all_tasks().size() == 1);
    });
}

TEST_CASE("a race that nobody wins ends by its first error that is no OSError") {
  using asyncio::detail::staggered_race;
  asyncio::run([] {
    auto& loop = asyncio::get_running_loop().object();
    const auto refused = [] { throw fiber::ConnectionRefusedError("refused"); };
    CHECK_FALSE(staggered_race(loop, 3, 0, [&](std::size_t) { refused(); }));
    CHECK_FALSE(staggered_race(loop, 0, 0, [](std::size_t) { FAIL("there is no attempt"); }));
    CHECK(thrown_by([&] {
            staggered_race(loop, 3, 0, [&](std::size_t index) {
              if (index == 0) refused();
              if (index == 1) throw fiber::ValueError("first");
              throw fiber::TypeError("second");
            });
          }) == "ValueError('first')");
    CHECK(staggered_race(loop, 2, 0, [](std::size_t index) {
            if (index == 0) throw std::bad_alloc();
          }) == 1U);
    // The task of the second attempt is cancelled before its turn.
    const auto main = asyncio::current_task();
    const auto cancel_the_second = [&](std::size_t) {
      for (int i = 0; i < 4; ++i) await(asyncio::sleep(0));
      for (const auto& task : asyncio::all_tasks())
        if (task != main && task != asyncio::current_task()) task.cancel();
      refused();
    };
    CHECK_THROWS_AS(staggered_race(loop, 2, 3'600'000'000'000, cancel_the_second),
                    asyncio::CancelledError);
    CHECK(asyncio::all_tasks().size() == 1);
  });
}
