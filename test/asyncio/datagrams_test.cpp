// The lists of events are those that CPython 3.13 prints for equal programs.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <sys/un.h>
#include <unistd.h>

#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::DatagramTransport;
using asyncio::SocketAddress;
using support::Events;
using support::thrown_by;

namespace {

struct Recorder : asyncio::DatagramProtocol {
  Recorder(Events& say, std::string name) : say(say), name(std::move(name)) {}
  void connection_made(const DatagramTransport& its) override {
    say(name + ":made");
    transport = its;
  }
  void datagram_received(std::string_view data, const SocketAddress& from) override {
    say(name + ":got(" + std::string(data) + ")");
    if (raises) throw fiber::ValueError("got");
    if (name == "server") transport.sendto("<" + std::string(data) + ">", from);
  }
  void error_received(const std::exception_ptr& error) override {
    say(name + ":error(" + fiber::type_name(error) + ")");
    if (on_error) on_error();
  }
  void connection_lost(const std::exception_ptr& error) override {
    say(name + ":lost(" + (error ? fiber::type_name(error) : "None") + ")");
  }
  void pause_writing() override { say(name + ":pause"); }
  void resume_writing() override {
    say(name + ":resume");
    if (on_resume) on_resume();
  }
  Events& say;
  std::string name;
  DatagramTransport transport;
  bool raises = false;
  std::function<void()> on_error;
  std::function<void()> on_resume;
};

// Waits: UDP over the loopback interface arrives at once, or soon on a busy machine.
void rest() { await(asyncio::sleep(20ms)); }

// Returns Unix sockets that are connected with each other, and have names: CPython takes a nameless
// peer for no connection.
std::pair<sockets::socket, sockets::socket> named_pair() {
  std::pair ends(sockets::socket(AF_UNIX, SOCK_DGRAM), sockets::socket(AF_UNIX, SOCK_DGRAM));
  sockaddr_un none{};
  none.sun_family = AF_UNIX;
  for (const sockets::socket* end : {&ends.first, &ends.second}) {
    end->bind(
        SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&none), sizeof(sa_family_t)));
    end->setblocking(false);
  }
  ends.first.connect(ends.second.getsockname());
  ends.second.connect(ends.first.getsockname());
  return ends;
}

// Sends until a datagram has to wait, at which the protocol pauses.
void fill(const DatagramTransport& transport) {
  transport.set_write_buffer_limits(0);
  while (transport.get_write_buffer_size() == 0) transport.sendto(std::string(1000, 'x'));
}

int take_all(const sockets::socket& peer) {
  int count = 0;
  try {
    for (;; ++count) static_cast<void>(peer.recv(2000));
  } catch (const fiber::BlockingIOError&) {
    return count;
  }
}

}  // namespace

TEST_CASE("datagram endpoints: a server and a client that is connected") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&](const char* name) {
      return [&say, name] { return std::make_shared<Recorder>(say, name); };
    };
    const auto server =
        await(loop.create_datagram_endpoint(make("server"), {.local_addr = {{"127.0.0.1", 0}}}))
            .first;
    say("open");
    const SocketAddress address = server.sockname();
    CHECK_FALSE(server.peername());
    const auto client = await(loop.create_datagram_endpoint(
                                  make("client"), {.remote_addr = {{"127.0.0.1", address.port()}}}))
                            .first;
    say("open");
    CHECK(client.peername() == address);
    client.sendto("one");
    rest();
    client.sendto("two", address);
    rest();
    client.sendto("");
    rest();
    CHECK(thrown_by([&] { client.sendto("x", SocketAddress("127.0.0.1", 1)); }) ==
          "ValueError(\"Invalid address: must be None or " + asyncio::repr(address) + "\")");
    server.close();
    CHECK(server.is_closing());
    server.close();
    rest();
    client.sendto("nobody");
    rest();
    client.sendto("again");
    rest();
    client.abort();
    client.sendto("late");
    rest();
    CHECK(server.get_protocol() == nullptr);
    CHECK(server.fileno() == -1);
    server.sendto("closed", address);
  });
  CHECK(say.take() ==
        "server:made open client:made open server:got(one) client:got(<one>) server:got(two) "
        "client:got(<two>) server:got() client:got(<>) server:lost(None) "
        "client:error(ConnectionRefusedError) client:error(ConnectionRefusedError) "
        "client:lost(None)");
}

TEST_CASE("what datagram_received throws is reported, and the endpoint goes on") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
      say("handler:" + context.message + ":" + fiber::repr(context.exception));
    });
    sockets::socket ours(AF_INET, SOCK_DGRAM);
    ours.bind({"127.0.0.1", 0});
    const SocketAddress address = ours.getsockname();
    const auto [transport, protocol] = await(loop.create_datagram_endpoint(
        [&] { return std::make_shared<Recorder>(say, "r"); }, std::move(ours)));
    protocol->raises = true;
    const sockets::socket sender(AF_INET, SOCK_DGRAM);
    sender.sendto("a", address);
    sender.sendto("b", address);
    rest();
    transport.close();
    rest();
  });
  CHECK(say.take() ==
        "r:made r:got(a) handler:Exception in callback:ValueError('got') r:got(b) "
        "handler:Exception in callback:ValueError('got') r:lost(None)");
}

TEST_CASE("datagram endpoints: flow control over a Unix socket whose reader is slow") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [ours, peer] = sockets::socketpair(AF_UNIX, SOCK_DGRAM);
    peer.setblocking(false);
    const auto transport =
        await(loop.create_datagram_endpoint([&] { return std::make_shared<Recorder>(say, "r"); },
                                            std::move(ours)))
            .first;
    transport.set_write_buffer_limits(2000);
    CHECK(transport.get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(500, 2000));
    int sent = 0;
    for (; transport.get_write_buffer_size() <= 2000; ++sent)
      transport.sendto(std::string(992, 'x'));
    CHECK(transport.get_write_buffer_size() == 3000);
    transport.close();
    int received = 0;
    while (received < sent) {
      try {
        CHECK(peer.recv(2000).size() == 992);
        ++received;
      } catch (const fiber::BlockingIOError&) {
        await(asyncio::sleep(0));
      }
    }
    rest();
  });
  CHECK(say.take() == "r:made r:pause r:resume r:lost(None)");
}

TEST_CASE("an endpoint that is closed in error_received hears no more of its buffer") {
  const auto ended_by = [](void (*end)(const DatagramTransport&)) {
    Events say;
    asyncio::run([&] {
      const auto loop = asyncio::get_running_loop();
      auto [ours, peer] = named_pair();
      const auto [transport, protocol] = await(loop.create_datagram_endpoint(
          [&] { return std::make_shared<Recorder>(say, "r"); }, std::move(ours)));
      protocol->on_error = [&, transport = transport] { end(transport); };
      fill(transport);
      peer.close();
      rest();
    });
    return say.take();
  };
  const std::string expected = "r:made r:pause r:error(ConnectionRefusedError) r:lost(None)";
  CHECK(ended_by([](const DatagramTransport& its) { its.close(); }) == expected);
  CHECK(ended_by([](const DatagramTransport& its) { its.abort(); }) == expected);
}

TEST_CASE("an endpoint that is closed in resume_writing loses its connection once") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [ours, peer] = named_pair();
    const auto [transport, protocol] = await(loop.create_datagram_endpoint(
        [&] { return std::make_shared<Recorder>(say, "r"); }, std::move(ours)));
    protocol->on_resume = [transport = transport] { transport.close(); };
    fill(transport);
    take_all(peer);
    rest();
    CHECK(take_all(peer) == 1);
  });
  CHECK(say.take() == "r:made r:pause r:resume r:lost(None)");
}

TEST_CASE("sendto without any address to send to ends the connection, and is reported") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
      say("handler:" + context.message + ":" + fiber::type_name(context.exception));
    });
    const auto transport =
        await(loop.create_datagram_endpoint([&] { return std::make_shared<Recorder>(say, "r"); },
                                            {.local_addr = {{"127.0.0.1", 0}}}))
            .first;
    transport.sendto("x");
    CHECK(transport.is_closing());
    rest();
    transport.sendto("y");
  });
  CHECK(say.take() ==
        "r:made handler:Fatal write error on datagram transport:TypeError r:lost(TypeError)");
}

TEST_CASE("an endpoint without remote_addr sends until its connection is lost") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    sockets::socket peer(AF_INET, SOCK_DGRAM);
    peer.bind({"127.0.0.1", 0});
    peer.setblocking(false);
    const SocketAddress address = peer.getsockname();
    for (const bool abort : {false, true}) {
      const auto transport =
          await(loop.create_datagram_endpoint([&] { return std::make_shared<Recorder>(say, "r"); },
                                              {.local_addr = {{"127.0.0.1", 0}}}))
              .first;
      abort ? transport.abort() : transport.close();
      transport.sendto("bye", address);
      rest();
      transport.sendto("too late", address);
      CHECK(peer.recv(100) == "bye");
      CHECK(take_all(peer) == 0);
    }
  });
  CHECK(say.take() == "r:made r:lost(None) r:made r:lost(None)");
}

TEST_CASE("an endpoint whose descriptor other code has closed leaves the next file its number") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    for (const bool abort : {false, true}) {
      const auto transport =
          await(loop.create_datagram_endpoint([&] { return std::make_shared<Recorder>(say, "r"); },
                                              {.local_addr = {{"127.0.0.1", 0}}}))
              .first;
      const int fd = transport.fileno();
      const sockets::socket another(AF_INET, SOCK_DGRAM);
      REQUIRE(::dup2(another.fileno(), fd) == fd);
      abort ? transport.abort() : transport.close();
      rest();
      CHECK(::close(fd) == 0);
    }
  });
  CHECK(say.take() == "r:made r:lost(None) r:made r:lost(None)");
}

TEST_CASE("sock_recv takes a large datagram whole") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto [one, other] = sockets::socketpair(AF_UNIX, SOCK_DGRAM);
    const std::string large(300'000, 'd');
    try {
      one.send(large);
    } catch (const fiber::OSError& error) {  // the machine's limit is lower
      MESSAGE("SKIP: ", error.what());
      return;
    }
    CHECK(await(loop.sock_recv(other, 1'000'000)) == large);
  });
}

TEST_CASE("the descriptor of an endpoint is not for readers and writers of others") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto transport =
        await(loop.create_datagram_endpoint([&] { return std::make_shared<Recorder>(say, "r"); },
                                            {.local_addr = {{"127.0.0.1", 0}}}))
            .first;
    const int fd = transport.fileno();
    const std::string refused =
        "RuntimeError('File descriptor " + std::to_string(fd) + " is used by a transport')";
    CHECK(thrown_by([&] { loop.add_reader(fd, [] {}); }) == refused);
    CHECK(thrown_by([&] { loop.add_writer(fd, [] {}); }) == refused);
    CHECK(thrown_by([&] { loop.remove_reader(fd); }) == refused);
    CHECK(thrown_by([&] { loop.remove_writer(fd); }) == refused);
    CHECK(thrown_by([&] { await(loop.sock_recv(fd, 1)); }) == refused);
    sockets::socket(AF_INET, SOCK_DGRAM).sendto("still", transport.sockname());
    rest();
    transport.close();
    rest();
    CHECK_FALSE(loop.remove_reader(fd));
    // The number is free for others.
    const sockets::socket next(AF_INET, SOCK_DGRAM);
    loop.add_writer(next, [&] {
      say("writable");
      loop.remove_writer(next);
    });
    rest();
  });
  CHECK(say.take() == "r:made r:got(still) r:lost(None) writable");
}

TEST_CASE("datagram endpoints by path, with reuse_port, and for broadcast") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&] { return std::make_shared<Recorder>(say, "r"); };
    const std::string name = std::string("\0fiber-datagrams", 16);
    const auto server =
        await(loop.create_datagram_endpoint(make, {.local_path = name, .family = AF_UNIX})).first;
    const auto client =
        await(loop.create_datagram_endpoint(make, {.remote_path = name, .family = AF_UNIX})).first;
    client.sendto("by path");
    rest();
    CHECK(say.take() == "r:made r:made r:got(by path)");
    const auto one = await(loop.create_datagram_endpoint(
                               make, {.local_addr = {{"127.0.0.1", 0}}, .reuse_port = true}))
                         .first;
    const auto two =
        await(loop.create_datagram_endpoint(
                  make, {.local_addr = {{"127.0.0.1", one.sockname().port()}}, .reuse_port = true}))
            .first;
    CHECK(one.sockname() == two.sockname());
    const auto broadcast =
        await(loop.create_datagram_endpoint(
                  make, {.remote_addr = {{"127.0.0.1", 9}}, .allow_broadcast = true}))
            .first;
    CHECK_FALSE(broadcast.peername());
    for (const auto& each : {server, client, one, two, broadcast}) each.close();
    rest();
  });
}

TEST_CASE("datagram endpoints with impossible arguments are refused") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [] { return std::make_shared<asyncio::DatagramProtocol>(); };
    using Options = asyncio::CreateDatagramEndpointOptions;
    CHECK(thrown_by([&] { await(loop.create_datagram_endpoint(make, Options{})); }) ==
          "ValueError('unexpected address family')");
    CHECK(thrown_by([&] {
            await(loop.create_datagram_endpoint(make, sockets::socket()));
          }).starts_with("ValueError('A datagram socket was expected, got descriptor "));
    CHECK(
        thrown_by([&] {
          await(loop.create_datagram_endpoint(make, sockets::socket(AF_INET, SOCK_DGRAM),
                                              {.reuse_port = true}));
        }) ==
        "ValueError('socket modifier keyword arguments can not be used when sock is specified.')");
    CHECK_THROWS_AS(await(loop.create_datagram_endpoint(
                        make, {.local_addr = {{"127.0.0.1", 0}}, .remote_addr = {{"::1", 9}}})),
                    fiber::ValueError);
    CHECK_THROWS_AS(await(loop.create_datagram_endpoint(make, {.local_addr = {{"192.0.2.1", 0}}})),
                    fiber::OSError);
    CHECK(thrown_by([&] {
            await(
                loop.create_datagram_endpoint([] { return std::make_shared<asyncio::Protocol>(); },
                                              {.local_addr = {{"127.0.0.1", 0}}}));
          }) == "TypeError('the protocol must be a DatagramProtocol')");
  });
}

TEST_CASE("an OSError of the protocol's factory is not one of the address") {
  asyncio::run([] {
    int calls = 0;
    const auto make = [&]() -> std::shared_ptr<asyncio::DatagramProtocol> {
      throw fiber::PermissionError("call " + std::to_string(++calls));
    };
    const auto loop = asyncio::get_running_loop();
    CHECK(thrown_by([&] {  // "" has addresses of two families
            await(loop.create_datagram_endpoint(make, {.local_addr = {{"", 0}}}));
          }) == "PermissionError('call 1')");
    CHECK(calls == 1);
  });
}

TEST_CASE("a loop that is closed lets go of endpoints whose protocols hold them") {
  std::weak_ptr<Recorder> held;
  Events say;
  int fd = -1;
  asyncio::EventLoop loop = asyncio::new_event_loop();
  loop.run_until_complete([&] {
    const auto [transport, protocol] = await(loop.create_datagram_endpoint(
        [&] { return std::make_shared<Recorder>(say, "r"); }, {.local_addr = {{"127.0.0.1", 0}}}));
    held = protocol;
    fd = transport.fileno();
  });
  loop.close();
  CHECK(held.expired());
  CHECK_THROWS_AS(sockets::socket::from_fd(fd), fiber::OSError);
}
