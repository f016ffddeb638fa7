#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/socket_pair.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::SocketAddress;
using support::Descriptor;
using support::Events;
using support::SocketPair;
using support::thrown_by;

namespace {

Descriptor new_socket(int type, int family = AF_INET) {
  return Descriptor(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Binds the socket to a port of the system's choice.
SocketAddress bind_it(int fd) {
  const SocketAddress any("127.0.0.1", 0);
  REQUIRE(::bind(fd, any.data(), any.size()) == 0);
  return SocketAddress::of_socket(fd);
}

}  // namespace

TEST_CASE("sock_accept and sock_connect meet; sock_sendall and sock_recv carry data") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const Descriptor listener = new_socket(SOCK_STREAM);
    const SocketAddress address = bind_it(listener);
    REQUIRE(::listen(listener, 5) == 0);
    const auto accepting = asyncio::create_task(loop.sock_accept(listener));
    await(asyncio::sleep(0));
    const Descriptor client = new_socket(SOCK_STREAM);
    await(loop.sock_connect(client, address));
    const auto [fd, peer] = await(accepting);
    const Descriptor server(fd);
    CHECK(peer == SocketAddress::of_socket(client));
    CHECK((::fcntl(server, F_GETFL) & O_NONBLOCK) != 0);

    const auto receiving = asyncio::create_task(loop.sock_recv(server, 100));
    await(asyncio::sleep(0));
    await(loop.sock_sendall(client, "ping"));
    CHECK(await(receiving) == "ping");
    await(loop.sock_sendall(server, "pong"));
    char memory[100];
    CHECK(await(loop.sock_recv_into(client, memory)) == 4);
    CHECK(std::string(memory, 4) == "pong");
    ::shutdown(server, SHUT_WR);
    CHECK(await(loop.sock_recv(client, 100)) == "");
  });
}

TEST_CASE("sock_recv that need not wait does not suspend; one that waits takes two iterations") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto [a, b] = SocketPair();
    await(loop.sock_sendall(a, "x"));
    const auto other = asyncio::create_task([&] { say("other"); });
    CHECK(await(loop.sock_recv(b, 1)) == "x");
    say("received");
    await(other);
    const int reader = b;
    const auto receiving =
        asyncio::create_task([&, reader] { say(await(loop.sock_recv(reader, 1))); });
    await(asyncio::sleep(0));
    await(loop.sock_sendall(a, "y"));
    say("sent");
    await(asyncio::sleep(0));
    say("still");
    await(asyncio::sleep(0));
    await(receiving);
  });
  CHECK(say.take() == "received other sent still y");
}

TEST_CASE("sock_sendall waits for room, while another task reads from the same socket") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto ends = SocketPair();
    const int a = ends.one, b = ends.other;
    const std::string much(2'000'000, 'm');
    const auto back = asyncio::create_task(loop.sock_recv(a, 10));
    const auto sending = asyncio::create_task(loop.sock_sendall(a, much));
    std::size_t count = 0;
    while (count < much.size()) count += await(loop.sock_recv(b, 1 << 20)).size();
    CHECK(count == much.size());
    await(sending);
    CHECK_FALSE(back.done());
    await(loop.sock_sendall(b, "back"));
    CHECK(await(back) == "back");
  });
}

TEST_CASE("a cancelled wait deregisters: the descriptor may be closed, and its number used again") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    for (int round = 0; round < 3; ++round) {
      const auto [a, b] = SocketPair();
      const auto receiving = asyncio::create_task(loop.sock_recv(b, 10));
      await(asyncio::sleep(0));
      receiving.cancel();
      CHECK(thrown_by([&] { await(receiving); }) == "CancelledError()");
      CHECK_FALSE(loop.remove_reader(b));
      await(loop.sock_sendall(a, "still there"));
      CHECK(await(loop.sock_recv(b, 100)) == "still there");
    }
  });
}

TEST_CASE("no bytes are received at once; more than there can be cost nothing") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto [a, b] = SocketPair();
    CHECK(await(loop.sock_recv(a, 0)) == "");
    CHECK(await(loop.sock_recv_into(a, {})) == 0);
    constexpr std::size_t kHuge = SIZE_MAX;
    await(loop.sock_sendall(b, "text"));
    CHECK(await(loop.sock_recv(a, kHuge)) == "text");
    await(loop.sock_sendall(b, "more"));
    CHECK(await(loop.sock_recvfrom(a, kHuge)).first == "more");
    const auto [c, d] = SocketPair(SOCK_DGRAM | SOCK_NONBLOCK);
    const std::string large(100'000, 'x');
    const auto receiving = asyncio::create_task(loop.sock_recvfrom(c, kHuge));
    await(asyncio::sleep(0));
    await(loop.sock_sendall(d, large));
    CHECK(await(receiving).first == large);
    await(loop.sock_sendall(d, large));
    CHECK(await(loop.sock_recvfrom(c, 70'000)).first == large.substr(0, 70'000));
  });
}

TEST_CASE("datagrams come with their sender") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const Descriptor a = new_socket(SOCK_DGRAM);
    const Descriptor b = new_socket(SOCK_DGRAM);
    const SocketAddress from = bind_it(a);
    const SocketAddress to = bind_it(b);
    const auto receiving = asyncio::create_task(loop.sock_recvfrom(b, 100));
    await(asyncio::sleep(0));
    CHECK(await(loop.sock_sendto(a, "datagram", to)) == 8);
    const auto [data, sender] = await(receiving);
    CHECK(data == "datagram");
    CHECK(sender == from);
  });
}

TEST_CASE("errors of the system calls are OSErrors of Python's kinds") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const Descriptor client = new_socket(SOCK_STREAM);
    SocketAddress nobody;
    {
      const Descriptor taken = new_socket(SOCK_STREAM);
      nobody = bind_it(taken);
    }
    CHECK_THROWS_AS(await(loop.sock_connect(client, nobody)), fiber::ConnectionRefusedError);
    CHECK_THROWS_AS(await(loop.sock_recv(-1, 10)), fiber::OSError);
    const auto [a, b] = SocketPair();
    ::shutdown(a, SHUT_WR);
    CHECK_THROWS_AS(await(loop.sock_sendall(a, "x")), fiber::BrokenPipeError);
  });
}

TEST_CASE("debug mode insists on sockets that do not block") {
  asyncio::run(
      [] {
        const auto loop = asyncio::get_running_loop();
        const auto [a, b] = SocketPair();
        ::fcntl(b, F_SETFL, 0);
        CHECK(thrown_by([&, fd = int(b)] { await(loop.sock_recv(fd, 1)); }) ==
              "ValueError('the socket must be non-blocking')");
      },
      {.debug = true});
}

TEST_CASE("a descriptor of a stream is not for sock_ functions and readers") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    SocketPair ends;
    const int fd = ends.one.release();
    auto [reader, writer] = await(asyncio::open_connection_from(fd));
    const std::string refused =
        "RuntimeError('File descriptor " + std::to_string(fd) + " is used by a transport')";
    CHECK(thrown_by([&] { loop.add_reader(fd, [] {}); }) == refused);
    CHECK(thrown_by([&] { loop.remove_writer(fd); }) == refused);
    CHECK(thrown_by([&] { await(loop.sock_recv(fd, 1)); }) == refused);
  });
}

TEST_CASE("addresses print as Python's tuples and strings") {
  CHECK(asyncio::repr(SocketAddress("127.0.0.1", 80)) == "('127.0.0.1', 80)");
  CHECK(asyncio::repr(SocketAddress("::1", 8080)) == "('::1', 8080, 0, 0)");
  CHECK(asyncio::repr(SocketAddress::from_path("/tmp/x")) == "'/tmp/x'");
  CHECK(asyncio::repr(SocketAddress()) == "None");
  CHECK_FALSE(SocketAddress());
  const SocketAddress address("10.1.2.3", 4567);
  CHECK(address.host() == "10.1.2.3");
  CHECK(address.port() == 4567);
  CHECK(address.path().empty());
  CHECK(address == SocketAddress("10.1.2.3", 4567));
  CHECK_FALSE(address == SocketAddress("10.1.2.3", 4568));
  CHECK(thrown_by([] { SocketAddress("localhost", 1); }) ==
        "ValueError(\"'localhost' does not appear to be an IPv4 or IPv6 address\")");
  CHECK(thrown_by([] { SocketAddress("127.0.0.1", 65536); }) ==
        "ValueError('port must be 0-65535')");
}

TEST_CASE("an address is looked up without a thread, a name in the default executor") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto found = await(loop.getaddrinfo("127.0.0.1", 80, {.type = SOCK_STREAM}));
    REQUIRE(found.size() == 1);
    CHECK(found[0].address == SocketAddress("127.0.0.1", 80));
    CHECK(found[0].family == AF_INET);
    CHECK(found[0].type == SOCK_STREAM);
    CHECK(loop.object().default_executor == nullptr);
    const auto local = await(loop.getaddrinfo("localhost", 80, {.family = AF_INET}));
    REQUIRE_FALSE(local.empty());
    CHECK(local[0].address.host() == "127.0.0.1");
    CHECK(loop.object().default_executor != nullptr);
    CHECK_THROWS_AS(await(loop.getaddrinfo("no.such.host.invalid", 80)), asyncio::gaierror);
  });
}

TEST_CASE("a host with letters beyond ASCII is looked up as IDNA has it") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    // "localhost" in letters of full width.
    const std::string wide = "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54";
    const auto found = await(loop.getaddrinfo(wide, 80, {.family = AF_INET}));
    REQUIRE_FALSE(found.empty());
    CHECK(found[0].address.host() == "127.0.0.1");
    CHECK_THROWS_AS(await(loop.getaddrinfo("b\u00fccher..example", 80)), fiber::ValueError);
    CHECK_THROWS_AS(await(loop.getaddrinfo("b\u00fccher.invalid", 80)), asyncio::gaierror);
  });
}

TEST_CASE("getnameinfo gives numbers when they are asked for") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto [host, service] =
        await(loop.getnameinfo(SocketAddress("127.0.0.1", 80), NI_NUMERICHOST | NI_NUMERICSERV));
    CHECK(host == "127.0.0.1");
    CHECK(service == "80");
  });
}

TEST_CASE("sock_recvfrom with much room tells the error of a connection that was reset") {
  asyncio::run([] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    SocketPair ends;
    // Unread bytes make a reset of the end.
    await(loop.sock_sendall(ends.one, "unread"));
    ends.other = Descriptor();
    CHECK(thrown_by([&] {
            await(loop.sock_recvfrom(ends.one, 1'000'000));
          }).starts_with("ConnectionResetError("));
  });
}
