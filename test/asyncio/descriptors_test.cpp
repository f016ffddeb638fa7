// Descriptors that are closed, opened again, duplicated or lent without any notice to the loop; and
// the data in them where a read stops short.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <climits>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/passing.hpp"
#include "support/socket_pair.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;

namespace {

using Pair = SocketPair;

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a reader is called for the file that its number stands for now") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto before = std::make_unique<Pair>();
    const int number = before->one;
    bool stale = false;
    loop.add_reader(number, [&] { stale = true; });
    before = nullptr;
    Pair now;
    now.take_number(number);
    const auto readable = loop.create_future<std::string>();
    loop.add_reader(number, [&] {
      if (!readable.done()) readable.set_result(read_now(number));
    });
    send(now.other, "new");
    CHECK(await(readable) == "new");
    loop.remove_reader(number);
    CHECK_FALSE(stale);
  });
}

TEST_CASE("adding a writer takes away the reader of the file that had the number before") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto before = std::make_unique<Pair>();
    const int number = before->one;
    bool stale = false;
    loop.add_reader(number, [&] { stale = true; });
    before = nullptr;
    Pair now;
    now.take_number(number);
    send(now.other, "new");
    const auto writable = loop.create_future();
    loop.add_writer(number, [&] {
      if (!writable.done()) writable.set_result();
    });
    await(writable);
    await(asyncio::sleep(0));
    CHECK(loop.remove_writer(number));
    CHECK_FALSE(loop.remove_reader(number));
    CHECK_FALSE(stale);
  });
}

TEST_CASE("sock_recv waits for the file that the number stands for now") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto before = std::make_unique<Pair>();
    const int number = before->one;
    auto old = create_task([&] { return await(loop.sock_recv(number, 10)); });
    await(asyncio::sleep(0));
    before = nullptr;
    Pair now;
    now.take_number(number);
    auto received = create_task([&] { return await(loop.sock_recv(number, 10)); });
    await(asyncio::sleep(0));
    send(now.other, "new");
    CHECK(await(received) == "new");
    old.cancel();
  });
}

TEST_CASE("a registration that a duplicate keeps alive does not keep the loop busy") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto before = std::make_unique<Pair>();
    const int number = before->one;
    support::Descriptor duplicate(::dup(number));
    loop.add_reader(number, [] {});
    send(before->other, "unread");
    before->one = std::move(duplicate);  // closes the number
    loop.remove_reader(number);
    Pair now;
    now.take_number(number);
    std::string got;
    int calls = 0;
    loop.add_reader(number, [&] {
      ++calls;
      got += read_now(number);
    });
    const std::uint64_t begin = asyncio::testing::iterations(loop);
    await(asyncio::sleep(30ms));
    CHECK(asyncio::testing::iterations(loop) - begin < 20);
    CHECK(calls == 0);  // no event of the former file
    send(now.other, "new");
    while (got.empty()) await(asyncio::sleep(1ms));
    CHECK(got == "new");
    loop.remove_reader(number);
  });
}

TEST_CASE("connections go on when the stale registrations are thrown away") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair pair;
    auto [reader, writer] = await(asyncio::open_connection_from(::dup(pair.one)));
    auto line = create_task([reader = reader] { return await(reader.readline()); });
    auto stale = std::make_unique<Pair>();
    const int number = stale->one;
    loop.add_reader(number, [] {});
    stale->one = support::Descriptor(::dup(number));  // closes the number
    loop.remove_reader(number);
    send(stale->other, "unread");
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(1ms));
    send(pair.other, "line\n");
    CHECK(await(line) == "line\n");
    writer.close();
    await(writer.wait_closed());
  });
}

TEST_CASE(
    "a connection whose descriptor somebody has closed does not keep its number from others") {
  asyncio::run([] {
    Pair before;
    const int number = ::dup(before.one);
    auto [reader, writer] = await(asyncio::open_connection_from(number));
    auto reads = create_task([reader = reader] { return await(reader.read(1)); });
    await(asyncio::sleep(0));
    ::close(number);
    Pair now;
    now.take_number(number);
    auto [new_reader, new_writer] = await(asyncio::open_connection_from(::dup(number)));
    auto [same_reader, same_writer] = await(asyncio::open_connection_from(number));
    now.one.release();
    CHECK(thrown_by([&] { await(reads); }) == "OSError('[Errno 9] Bad file descriptor')");
    writer.close();
    CHECK(thrown_by([&] { await(writer.wait_closed()); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
    CHECK(is_open(number));
    same_writer.close();
    await(same_writer.wait_closed());
    new_writer.close();
    await(new_writer.wait_closed());
  });
}

TEST_CASE("a number that is no open descriptor is refused") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    CHECK(thrown_by([&] { loop.add_reader(INT_MAX, [] {}); }) ==
          "OSError('[Errno 9] Bad file descriptor: cannot watch descriptor 2147483647')");
    CHECK(thrown_by([&] { loop.add_writer(-1, [] {}); }) ==
          "ValueError('Invalid file descriptor: -1')");
    CHECK_FALSE(loop.remove_reader(INT_MAX));
    CHECK_FALSE(loop.remove_writer(-1));
    CHECK(thrown_by([&] { await(loop.sock_recv(INT_MAX, 1)); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
    CHECK(thrown_by([&] { await(asyncio::open_connection_from(INT_MAX)); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
  });
}

TEST_CASE("a descriptor that is not taken over stays open and the caller's") {
  asyncio::run([] {
    Pair pair;
    static_cast<void>(asyncio::open_connection_from(pair.one));
    CHECK(is_open(pair.one));
    auto [reader, writer] = await(asyncio::open_connection_from(::dup(pair.one)));
    const int taken = writer.fileno();
    const std::string used =
        "RuntimeError('File descriptor " + std::to_string(taken) + " is used by a transport')";
    CHECK(thrown_by([&] { await(asyncio::open_connection_from(taken)); }) == used);
    const auto serve = [](auto&, auto&) {};
    CHECK(thrown_by([&] { await(asyncio::start_server_from(serve, taken)); }) == used);
    send(pair.other, "x");
    CHECK(await(reader.read(1)) == "x");
    // A connected socket cannot listen.
    CHECK(thrown_by([&] {
            await(asyncio::start_server_from(serve, pair.one));
          }).starts_with("OSError('[Errno 22]"));
    CHECK(is_open(pair.one));
    Pair datagrams(SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK(thrown_by([&] {
            await(asyncio::open_connection_from(datagrams.one));
          }).starts_with("ValueError('A Stream Socket was expected"));
    CHECK(is_open(datagrams.one));
  });
}

TEST_CASE("the file of a Unix socket that was handed over goes with the server that is told so") {
  asyncio::run([] {
    const std::string path = "descriptors_test." + std::to_string(::getpid()) + ".sock";
    const auto address = asyncio::SocketAddress::from_path(path);
    struct stat found {};
    const auto bound = [&] {
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      CHECK(::bind(fd, address.data(), address.size()) == 0);
      return fd;
    };
    const auto serve = [](auto&, auto&) {};
    await(asyncio::start_server_from(serve, bound())).close();
    CHECK(::stat(path.c_str(), &found) == 0);
    ::unlink(path.c_str());
    await(asyncio::start_unix_server_from(serve, bound(), {.cleanup_socket = false})).close();
    CHECK(::stat(path.c_str(), &found) == 0);
    ::unlink(path.c_str());
    await(asyncio::start_unix_server_from(serve, bound())).close();
    CHECK(::stat(path.c_str(), &found) != 0);
  });
}

TEST_CASE("a server with no backlog accepts one connection after the other") {
  asyncio::run([] {
    auto server = await(asyncio::start_server(
        [](auto& reader, auto& writer) {
          writer.write(await(reader.readline()));
          writer.close();
        },
        "127.0.0.1", 0, {.backlog = 0}));
    for (int i = 0; i < 2; ++i) {
      auto [reader, writer] =
          await(asyncio::open_connection("127.0.0.1", server.sockets().at(0).port()));
      writer.write("echo\n");
      CHECK(await(reader.readline()) == "echo\n");
      writer.close();
    }
    server.close();
  });
}

// --- reads that stop short ----------------------------------------------------------------------

TEST_CASE("data behind a descriptor that is passed along is read") {
  asyncio::run([] {
    Pair pair;
    support::Passing part(const_cast<char*>("12345"), 5);
    part.pass(STDIN_FILENO);
    CHECK(::sendmsg(pair.other, &part.message, 0) == 5);
    send(pair.other, "67890");
    auto [reader, writer] = await(asyncio::open_connection_from(::dup(pair.one)));
    CHECK(await(reader.readexactly(10)) == "1234567890");
    writer.close();
  });
}

TEST_CASE("data behind urgent data is read") {
  asyncio::run([] {
    const auto lines = get_running_loop().create_future<std::string>();
    auto server = await(asyncio::start_server(
        [&](auto& reader, auto& writer) {
          lines.set_result(await(reader.readline()));
          writer.close();
        },
        "127.0.0.1", 0));
    const asyncio::SocketAddress address = server.sockets().at(0).getsockname();
    const int peer = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(::connect(peer, address.data(), address.size()) == 0);
    send(peer, "GET ", MSG_MORE);
    send(peer, "!", MSG_OOB | MSG_MORE);
    send(peer, "/ HTTP/1.0\n");
    CHECK(await(lines) == "GET / HTTP/1.0\n");
    ::close(peer);
    server.close();
  });
}

TEST_CASE("an object that a reader holds may watch other descriptors in its destructor") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair watched;
    int next = 200;
    // Each end of a pair takes a larger number than the one before: the selector's table grows
    // meanwhile.
    const auto holds = [&] {
      return std::shared_ptr<Pair>(new Pair, [&](Pair* pair) {
        pair->take_number(next);
        next *= 2;
        loop.add_reader(pair->one, [] {});
        loop.remove_reader(pair->one);
        delete pair;
      });
    };
    loop.add_reader(watched.one, [held = holds()] {});
    CHECK(loop.remove_reader(watched.one));
    CHECK(next == 400);
    loop.add_reader(watched.one, [held = holds()] {});
    loop.add_reader(watched.one, [] {});  // in its place
    CHECK(next == 800);
    CHECK(loop.remove_reader(watched.one));
    // A file that epoll refuses: the handle is dropped with the error.
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    REQUIRE(file >= 0);
    CHECK_THROWS_AS(loop.add_reader(file, [held = holds()] {}), fiber::PermissionError);
    CHECK(next == 1600);
    ::close(file);
  });
}

TEST_CASE("of one descriptor the reader is called before the writer") {
  Pair ends;
  send(ends.other, "x");
  Trace trace;
  run([&] {
    const auto loop = get_running_loop();
    loop.add_writer(ends.one, [&, loop] {
      trace("writer");
      loop.remove_writer(ends.one);
    });
    loop.add_reader(ends.one, [&, loop] {
      trace("reader");
      loop.remove_reader(ends.one);
    });
    turns(2);
  });
  CHECK(trace.take() == "[2] reader | [2] writer");
}
