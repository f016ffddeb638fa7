#include "monkey/support.hpp"

#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "support/passing.hpp"

using namespace monkey_test;

namespace {

// Two connected sockets of TCP, which block.
Ends tcp_pair() {
  const Descriptor server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const asyncio::SocketAddress any("127.0.0.1", 0);
  REQUIRE(::bind(server, any.data(), any.size()) == 0);
  REQUIRE(::listen(server, 1) == 0);
  const asyncio::SocketAddress where = asyncio::SocketAddress::of_socket(server);
  Descriptor one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(one, where.data(), where.size()) == 0);
  return {std::move(one), Descriptor(::accept4(server, nullptr, nullptr, SOCK_CLOEXEC))};
}

}  // namespace

TEST_CASE("recv and send wait; MSG_DONTWAIT does not") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    char buffer[8] = "";
    CHECK(calls::recv(ends.a, buffer, 8, MSG_DONTWAIT) == -1);
    CHECK(errno == EAGAIN);
    const auto sender = start([&] {
      say("sends");
      CHECK(calls::send(ends.b, "abc", 3, 0) == 3);
    });
    CHECK(calls::recv(ends.a, buffer, 8, MSG_PEEK) == 3);
    CHECK(calls::recv(ends.a, buffer, 8, 0) == 3);
    say(buffer);
    await(sender);
  });
  CHECK(say.take() == "sends abc");
}

TEST_CASE("MSG_WAITALL waits for all, or for the end") {
  run([&] {
    Ends ends = socket_pair();
    const auto sender = start([&] {
      for (const char* part : {"ab", "cd", "ef", "gh"}) {
        CHECK(calls::send(ends.b, part, 2, 0) == 2);
        await(asyncio::sleep(1ms));
      }
      ends.b.close();
    });
    char buffer[16] = "";
    CHECK(calls::recv(ends.a, buffer, 5, MSG_WAITALL) == 5);
    CHECK(std::string(buffer, 5) == "abcde");
    CHECK(calls::recv(ends.a, buffer, 10, MSG_WAITALL) == 3);
    CHECK(std::string(buffer, 3) == "fgh");
    await(sender);
  });
}

TEST_CASE("MSG_WAITALL with MSG_PEEK waits for all on TCP alone") {
  for (const bool tcp : {false, true}) {
    run([&] {
      const Ends ends = tcp ? tcp_pair() : socket_pair();
      const auto sender = start([&] {
        for (const char* part : {"ab", "cd"}) {
          CHECK(calls::send(ends.b, part, 2, 0) == 2);
          await(asyncio::sleep(1ms));
        }
      });
      char buffer[8] = "";
      CHECK(calls::recv(ends.a, buffer, 3, MSG_WAITALL | MSG_PEEK) == (tcp ? 3 : 2));
      await(sender);
    });
  }
}

TEST_CASE("datagrams stay whole, and MSG_WAITALL takes one") {
  run([&] {
    const Ends ends = socket_pair(SOCK_DGRAM);
    const auto sender = start([&] {
      CHECK(calls::send(ends.b, "one", 3, 0) == 3);
      CHECK(calls::send(ends.b, "three", 5, 0) == 5);
    });
    char buffer[16];
    CHECK(calls::recv(ends.a, buffer, 16, MSG_WAITALL) == 3);
    CHECK(calls::recv(ends.a, buffer, 16, 0) == 5);
    await(sender);
  });
}

TEST_CASE("recvfrom and sendto carry addresses") {
  run([&] {
    const Descriptor a(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const Descriptor b(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const asyncio::SocketAddress any("127.0.0.1", 0);
    REQUIRE(::bind(a, any.data(), any.size()) == 0);
    REQUIRE(::bind(b, any.data(), any.size()) == 0);
    const auto to = asyncio::SocketAddress::of_socket(a);
    const auto sender =
        start([&] { CHECK(calls::sendto(b, "hi", 2, 0, to.data(), to.size()) == 2); });
    char buffer[8];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    CHECK(calls::recvfrom(a, buffer, 8, 0, reinterpret_cast<sockaddr*>(&from), &size) == 2);
    CHECK(asyncio::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&from), size) ==
          asyncio::SocketAddress::of_socket(b));
    await(sender);
  });
}

TEST_CASE("MSG_WAITALL ends behind the bytes with which descriptors came, as the kernel does") {
  const auto send = [](int to, int passed, const char* text) {
    const std::size_t size = std::strlen(text);
    support::Passing one(const_cast<char*>(text), size);
    one.pass(passed);
    CHECK(calls::sendmsg(to, &one.message, 0) == static_cast<ssize_t>(size));
  };
  run([&] {
    const Ends ends = socket_pair();
    const auto sender = start([&] {
      for (const char* text : {"one", "two"}) {
        await(asyncio::sleep(1ms));
        CHECK(calls::send(ends.b, "-", 1, 0) == 1);
        send(ends.b, ends.a, text);
      }
      CHECK(calls::send(ends.b, "rest", 4, 0) == 4);
    });
    char room[10];
    CHECK(calls::recv(ends.a, room, sizeof room, MSG_WAITALL) == 4);
    support::Passing one(room, sizeof room);
    REQUIRE(calls::recvmsg(ends.a, &one.message, MSG_WAITALL) == 4);
    CHECK(std::string(room, 4) == "-two");
    REQUIRE(one.passed() >= 0);
    calls::close(one.passed());
    CHECK(calls::recvfrom(ends.a, room, 4, MSG_WAITALL, nullptr, nullptr) == 4);
    await(sender);
    const int on = 1;  // told with every part: no reason to end
    CHECK(::setsockopt(ends.a, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    const auto slow = start([&] {
      for (int i = 0; i < 2; ++i) {
        CHECK(calls::send(ends.b, "abcde", 5, 0) == 5);
        await(asyncio::sleep(1ms));
      }
    });
    CHECK(calls::recv(ends.a, room, sizeof room, MSG_WAITALL) == 10);
    await(slow);
  });
}

TEST_CASE("recvmsg and sendmsg carry descriptors once, however many parts are sent") {
  run([&] {
    const Ends ends = socket_pair();
    const Ends passed = pipe();
    std::string much(1'000'000, 'm');
    const auto sender = start([&] {
      support::Passing all(much.data(), much.size());
      all.pass(passed.b);
      CHECK(calls::sendmsg(ends.b, &all.message, 0) == static_cast<ssize_t>(much.size()));
    });
    std::size_t got = 0;
    int descriptors = 0;
    std::vector<char> buffer(70'000);
    while (got < much.size()) {
      support::Passing part(buffer.data(), buffer.size());
      const ssize_t count = calls::recvmsg(ends.a, &part.message, MSG_CMSG_CLOEXEC);
      REQUIRE(count > 0);
      CHECK(part.is_intact());
      got += static_cast<std::size_t>(count);
      if (part.passed() < 0) continue;
      ++descriptors;
      calls::close(part.passed());
    }
    CHECK(descriptors == 1);
    await(sender);
  });
}

TEST_CASE("recvmmsg and sendmmsg go through all their messages") {
  run([&] {
    const Ends ends = socket_pair(SOCK_DGRAM);
    char texts[3][4] = {"a", "bb", "ccc"};
    iovec parts[3];
    mmsghdr messages[3] = {};
    for (std::size_t i = 0; i < 3; ++i) {
      parts[i] = {texts[i], i + 1};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const auto sender = start([&] {
      CHECK(calls::sendmmsg(ends.b, messages, 2, 0) == 2);
      await(asyncio::sleep(1ms));
      CHECK(calls::sendmmsg(ends.b, messages + 2, 1, 0) == 1);
    });
    char rooms[3][8];
    iovec room_parts[3];
    mmsghdr got[3] = {};
    for (std::size_t i = 0; i < 3; ++i) {
      room_parts[i] = {rooms[i], 8};
      got[i].msg_hdr.msg_iov = &room_parts[i];
      got[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK(calls::recvmmsg(ends.a, got, 3, 0, nullptr) == 3);
    CHECK(got[0].msg_len == 1);
    CHECK(got[1].msg_len == 2);
    CHECK(got[2].msg_len == 3);
    await(sender);
    CHECK(calls::sendmmsg(ends.b, messages, 2, 0) == 2);
    CHECK(calls::recvmmsg(ends.a, got, 3, MSG_WAITFORONE, nullptr) == 2);
  });
}

TEST_CASE("recvmmsg leaves the rest of its time limit to the caller, as Linux does") {
  const Ends ends = socket_pair(SOCK_DGRAM);
  const auto receive = [&ends](timespec limit, int flags) {
    for (int i = 0; i < 2; ++i) CHECK(::send(ends.b, "x", 1, 0) == 1);
    mmsghdr got[3] = {};
    const int count = calls::recvmmsg(ends.a, got, 2, flags, &limit);
    char byte;
    for (int i = count; i < 2; ++i) CHECK(::recv(ends.a, &byte, 1, 0) == 1);
    const bool is_less = limit.tv_sec == 99 && limit.tv_nsec > 0;
    const bool is_zero = limit.tv_sec == 0 && limit.tv_nsec == 0;
    return std::to_string(count) + (is_less ? " less" : is_zero ? " zero" : " other");
  };
  const auto compare = [&receive](const char* where) {
    CAPTURE(std::string(where));
    CHECK(receive({.tv_sec = 100, .tv_nsec = 0}, 0) == "2 less");
    CHECK(receive({.tv_sec = 100, .tv_nsec = 0}, MSG_WAITFORONE) == "2 less");
    CHECK(receive({.tv_sec = 0, .tv_nsec = 0}, 0) == "1 zero");
    CHECK(receive({.tv_sec = 0, .tv_nsec = 1}, 0) == "1 zero");
  };
  compare("unpatched");
  run([&] {
    compare("patched");
    // Without a message the limit is as it was.
    timespec limit{.tv_sec = 100, .tv_nsec = 7};
    mmsghdr got[1] = {};
    CHECK(calls::recvmmsg(ends.a, got, 1, MSG_DONTWAIT, &limit) == -1);
    CHECK(limit.tv_sec == 100);
    CHECK(limit.tv_nsec == 7);
  });
}

TEST_CASE("SO_RCVTIMEO and SO_SNDTIMEO end a wait with EAGAIN, after what was sent") {
  run([&] {
    const Ends ends = socket_pair();
    const timeval limit{.tv_sec = 0, .tv_usec = 20'000};
    REQUIRE(::setsockopt(ends.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    REQUIRE(::setsockopt(ends.a, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    Events say;
    const auto other = start([&] { say("other"); });
    char byte;
    CHECK(calls::recv(ends.a, &byte, 1, 0) == -1);
    CHECK(errno == EAGAIN);
    say("timeout");
    CHECK(say.take() == "other timeout");
    const std::string much(5'000'000, 'x');
    const ssize_t sent = calls::send(ends.a, much.data(), much.size(), 0);
    CHECK(sent > 0);
    CHECK(sent < static_cast<ssize_t>(much.size()));
    CHECK(calls::send(ends.a, much.data(), much.size(), 0) == -1);
    CHECK(errno == EAGAIN);
  });
}

TEST_CASE("sending to a datagram socket whose reader is slow waits without spinning") {
  run([&] {
    const Descriptor server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "fiber-monkey-" + std::to_string(::getpid());
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const auto* raw = reinterpret_cast<const sockaddr*>(&address);
    REQUIRE(::bind(server, raw, size) == 0);
    const Descriptor client(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    constexpr int kMany = 2000;  // more than the queue of any system holds
    const auto reader = start([&] {
      char byte;
      for (int i = 0; i < kMany; ++i) REQUIRE(calls::recv(server, &byte, 1, 0) == 1);
    });
    for (int i = 0; i < kMany; ++i) REQUIRE(calls::sendto(client, "x", 1, 0, raw, size) == 1);
    await(reader);
  });
}

TEST_CASE("a connection that ends while its writer waits: the bytes that went, then the error") {
  const std::string large(4'000'000, 'x');
  const auto previous = ::signal(SIGPIPE, SIG_DFL);  // would end the program
  run([&] {
    Ends ends = socket_pair();
    const auto reader = start([&] {
      char part[1000];
      CHECK(calls::read(ends.b, part, sizeof part) > 0);
      ends.b.close();
    });
    const ssize_t sent = calls::write(ends.a, large.data(), large.size());
    CHECK(sent > 0);
    CHECK(sent < static_cast<ssize_t>(large.size()));
    CHECK(calls::send(ends.a, "x", 1, MSG_NOSIGNAL) == -1);
    await(reader);
  });
  run([&] {
    Ends ends = socket_pair();
    iovec one{const_cast<char*>(large.data()), large.size()};
    mmsghdr messages[2] = {};
    for (mmsghdr& each : messages) {
      each.msg_hdr.msg_iov = &one;
      each.msg_hdr.msg_iovlen = 1;
    }
    const auto reader = start([&] {
      char part[1000];
      CHECK(calls::read(ends.b, part, sizeof part) > 0);
      ends.b.close();
    });
    CHECK(calls::sendmmsg(ends.a, messages, 2, 0) == 1);  // a part of the first one
    CHECK(messages[0].msg_len < large.size());
    await(reader);
  });
  ::signal(SIGPIPE, previous);
}

TEST_CASE("a connection that is reset in a call which has moved bytes fails the next call") {
  const std::string large(8'000'000, 'x');
  const auto previous = ::signal(SIGPIPE, SIG_DFL);
  run([&] {
    const Listener listener;
    for (const bool writes : {true, false}) {
      const Descriptor ours(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      REQUIRE(calls::connect(ours, listener.address.data(), listener.address.size()) == 0);
      Descriptor theirs(calls::accept(listener.fd, nullptr, nullptr));
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      CHECK(::setsockopt(theirs, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
      CHECK(calls::send(theirs, "abc", 3, 0) == 3);
      const auto closer = start([&] {
        await(asyncio::sleep(5ms));
        theirs.close();
      });
      std::string room(10, '\0');
      const ssize_t moved = writes ? calls::send(ours, large.data(), large.size(), 0)
                                   : calls::recv(ours, room.data(), room.size(), MSG_WAITALL);
      CHECK(moved > 0);
      if (!writes) CHECK(moved == 3);
      CHECK((writes ? calls::send(ours, "x", 1, 0)
                    : calls::recv(ours, room.data(), room.size(), 0)) == -1);
      CHECK(errno == ECONNRESET);
      await(closer);
    }
  });
  ::signal(SIGPIPE, previous);
}

TEST_CASE("shutting a datagram socket down ends the calls that wait for a message") {
  using Receive = std::function<ssize_t(int)>;
  char byte;
  iovec one{&byte, 1};
  msghdr message{};
  message.msg_iov = &one;
  message.msg_iovlen = 1;
  const Receive all[] = {[&](int fd) { return calls::recv(fd, &byte, 1, 0); },
                         [&](int fd) { return calls::recvfrom(fd, &byte, 1, 0, nullptr, nullptr); },
                         [&](int fd) { return calls::recvmsg(fd, &message, 0); },
                         [&](int fd) { return calls::read(fd, &byte, 1); },
                         [&](int fd) { return calls::readv(fd, &one, 1); }};
  run([&] {
    for (const int family : {AF_INET, AF_UNIX})
      for (const Receive& receive : all) {
        const Descriptor fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto receiver = start([&] { CHECK(receive(fd) == 0); });
        await(asyncio::sleep(1ms));
        ::shutdown(fd, SHUT_RDWR);  // fails, but for that
        await(receiver);
      }
  });
}

TEST_CASE("errors are libc's") {
  run([&] {
    Ends ends = socket_pair();
    ends.b.close();
    CHECK(calls::send(ends.a, "x", 1, MSG_NOSIGNAL) == -1);
    CHECK(errno == EPIPE);
    char byte;
    CHECK(calls::recv(ends.a, &byte, 1, 0) == 0);
    const Ends pipes = pipe();
    CHECK(calls::recv(pipes.a, &byte, 1, 0) == -1);
    CHECK(errno == ENOTSOCK);
    const Descriptor unconnected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(calls::recv(unconnected, &byte, 1, 0) == -1);
    CHECK(errno == ENOTCONN);
    for (const int fd : {-1, int(pipes.a)}) {  // without a message, too
      const int wrong = fd < 0 ? EBADF : ENOTSOCK;
      CHECK(calls::sendmmsg(fd, nullptr, 0, 0) == -1);
      CHECK(errno == wrong);
      CHECK(calls::recvmmsg(fd, nullptr, 0, 0, nullptr) == -1);
      CHECK(errno == wrong);
    }
    CHECK(calls::recvmmsg(unconnected, nullptr, 0, 0, nullptr) == 0);
  });
}
