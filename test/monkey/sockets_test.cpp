#include "monkey/support.hpp"

#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

using namespace monkey_test;

namespace {

Descriptor tcp_socket() { return Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

}  // namespace

TEST_CASE("accept waits for connect, and both leave their descriptors blocking") {
  Events say;
  run([&] {
    const Listener listener;
    const auto client = start([&] {
      const Descriptor fd = tcp_socket();
      say("connects");
      CHECK(calls::connect(fd, listener.address.data(), listener.address.size()) == 0);
      CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
      char byte = 0;
      CHECK(calls::read(fd, &byte, 1) == 1);
      say(std::string(1, byte));
    });
    say("accepts");
    const Descriptor server(calls::accept(listener.fd, nullptr, nullptr));
    CHECK((::fcntl(server, F_GETFL) & O_NONBLOCK) == 0);
    CHECK(calls::write(server, "!", 1) == 1);
    await(client);
    const auto other = start([&] {
      const Descriptor fd = tcp_socket();
      CHECK(calls::connect(fd, listener.address.data(), listener.address.size()) == 0);
    });
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    const Descriptor second(
        calls::accept4(listener.fd, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
    CHECK((::fcntl(second, F_GETFD) & FD_CLOEXEC) != 0);
    await(other);
  });
  CHECK(say.take() == "accepts connects !");
}

TEST_CASE("several tasks accept from one listener") {
  run([&] {
    const Listener listener;
    int accepted = 0;
    std::vector<asyncio::Task<void>> servers;
    for (int i = 0; i < 5; ++i)
      servers.push_back(start([&] {
        const Descriptor fd(calls::accept(listener.fd, nullptr, nullptr));
        ++accepted;
      }));
    for (int i = 0; i < 5; ++i) {
      const Descriptor fd = tcp_socket();
      CHECK(calls::connect(fd, listener.address.data(), listener.address.size()) == 0);
    }
    await(asyncio::gather(servers));
    CHECK(accepted == 5);
  });
}

TEST_CASE("connect to nobody is refused; non-blocking ones are in progress or refused at once") {
  run([&] {
    asyncio::SocketAddress nobody;
    {
      const Listener listener;
      nobody = listener.address;
    }
    const Descriptor fd = tcp_socket();
    CHECK(calls::connect(fd, nobody.data(), nobody.size()) == -1);
    CHECK(errno == ECONNREFUSED);
    const Listener listener;
    const Descriptor nonblocking = tcp_socket();
    ::fcntl(nonblocking, F_SETFL, O_NONBLOCK);
    const int result =
        calls::connect(nonblocking, listener.address.data(), listener.address.size());
    CHECK((result == 0 || errno == EINPROGRESS));
    ::fcntl(listener.fd, F_SETFL, O_NONBLOCK);
    int accepted = calls::accept(listener.fd, nullptr, nullptr);
    if (accepted >= 0) calls::close(accepted);
    CHECK(calls::accept(listener.fd, nullptr, nullptr) == -1);
    CHECK(errno == EAGAIN);
  });
}

TEST_CASE("time limits of the socket end accept, and connect where nobody answers") {
  run([&] {
    const Listener listener;
    const timeval limit{.tv_sec = 0, .tv_usec = 10'000};
    REQUIRE(::setsockopt(listener.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(calls::accept(listener.fd, nullptr, nullptr) == -1);
    CHECK(errno == EAGAIN);

    // A server with a full backlog answers no client.
    const Listener full(0);
    std::vector<Descriptor> clients;
    int error = 0;
    for (int i = 0; i < 8 && error == 0; ++i) {
      clients.push_back(tcp_socket());
      REQUIRE(::setsockopt(clients.back(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
      if (calls::connect(clients.back(), full.address.data(), full.address.size()) != 0)
        error = errno;
    }
    CHECK(error == EINPROGRESS);
    CHECK((::fcntl(clients.back(), F_GETFL) & O_NONBLOCK) == 0);
  });
}

TEST_CASE("connect to a Unix server waits while its backlog is full") {
  Events say;
  run([&] {
    const Descriptor server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "fiber-monkey-sockets-" + std::to_string(::getpid());
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const auto* raw = reinterpret_cast<const sockaddr*>(&address);
    REQUIRE(::bind(server, raw, size) == 0);
    REQUIRE(::listen(server, 0) == 0);
    std::vector<asyncio::Task<void>> clients;
    for (int i = 0; i < 4; ++i)
      clients.push_back(start([&] {
        const Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        CHECK(calls::connect(fd, raw, size) == 0);
        say("c");
      }));
    await(asyncio::sleep(5ms));
    say("accepting");
    for (int i = 0; i < 4; ++i) const Descriptor fd(calls::accept(server, nullptr, nullptr));
    await(asyncio::gather(clients));
  });
  CHECK(say.take() == "c accepting c c c");
}

TEST_CASE("a cancelled accept and a cancelled connect fail with ECANCELED") {
  run([&] {
    const Listener listener;
    int error = 0;
    const auto server = start([&] {
      if (calls::accept(listener.fd, nullptr, nullptr) < 0) error = errno;
    });
    await(asyncio::sleep(1ms));
    server.cancel();
    await(asyncio::wait(std::vector{server}));
    CHECK(error == ECANCELED);
    CHECK(server.cancelled());
  });
}

TEST_CASE("accept on a socket that does not listen, and with unknown flags, fails at once") {
  run([&] {
    const Descriptor datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(calls::accept(datagrams, nullptr, nullptr) == -1);
    CHECK(errno == EOPNOTSUPP);
    const Ends ends = socket_pair();
    CHECK(calls::accept(ends.a, nullptr, nullptr) == -1);
    CHECK(errno == EINVAL);
    const Listener listener;
    CHECK(calls::accept4(listener.fd, nullptr, nullptr, 1) == -1);
    CHECK(errno == EINVAL);
  });
}

TEST_CASE("the kernel knows the end of a connect: a second one, and listen, are answered by it") {
  run([] {
    const Listener listener;
    const Descriptor connected = tcp_socket();
    CHECK(calls::connect(connected, listener.address.data(), listener.address.size()) == 0);
    CHECK(calls::connect(connected, listener.address.data(), listener.address.size()) == -1);
    CHECK(errno == EISCONN);

    asyncio::SocketAddress nobody;
    {
      const Listener gone;
      nobody = gone.address;
    }
    const Descriptor refused = tcp_socket();
    for (int i = 0; i < 3; ++i) {
      CHECK(calls::connect(refused, nobody.data(), nobody.size()) == -1);
      CHECK(errno == ECONNREFUSED);
    }
    CHECK(::listen(refused, 1) == 0);
  });
}

TEST_CASE("a connect that was begun before is waited for, and its time limit is told as such") {
  run([] {
    const timeval limit{.tv_sec = 0, .tv_usec = 10'000};
    const Listener full(0);
    std::vector<Descriptor> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(tcp_socket());
      REQUIRE(::setsockopt(clients.back(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
      if (calls::connect(clients.back(), full.address.data(), full.address.size()) != 0) break;
    }
    CHECK(errno == EINPROGRESS);
    CHECK(calls::connect(clients.back(), full.address.data(), full.address.size()) == -1);
    CHECK(errno == EALREADY);

    const Listener listener;
    const Descriptor begun = tcp_socket();
    REQUIRE(::fcntl(begun, F_SETFL, O_NONBLOCK) == 0);
    CHECK(calls::connect(begun, listener.address.data(), listener.address.size()) == -1);
    CHECK(errno == EINPROGRESS);
    REQUIRE(::fcntl(begun, F_SETFL, 0) == 0);
    CHECK(calls::connect(begun, listener.address.data(), listener.address.size()) == 0);
    const Descriptor server(calls::accept(listener.fd, nullptr, nullptr));
    CHECK(calls::write(begun, "x", 1) == 1);
  });
}

TEST_CASE("a cancelled connect goes on in the kernel, and can be waited for again") {
  run([] {
    const Listener full(0);
    std::vector<Descriptor> clients;
    for (int i = 0; i < 2; ++i) clients.push_back(tcp_socket());
    CHECK(calls::connect(clients[0], full.address.data(), full.address.size()) == 0);
    int error = 0;
    const auto connecting = start([&] {
      if (calls::connect(clients[1], full.address.data(), full.address.size()) != 0) error = errno;
    });
    await(asyncio::sleep(1ms));
    connecting.cancel();
    await(asyncio::wait(std::vector{connecting}));
    CHECK(error == ECANCELED);
    const Descriptor first(calls::accept(full.fd, nullptr, nullptr));
    CHECK(calls::connect(clients[1], full.address.data(), full.address.size()) == 0);
  });
}
