#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/log.hpp"
#include "support/streams.hpp"
#include "support/trace.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::echo;
using support::Events;
using support::finish;
using support::make_pair_of_streams;
using support::serve;
using support::thrown_by;
using support::Trace;
using namespace std::chrono_literals;

namespace {

auto connect(const asyncio::Server& server, asyncio::OpenConnectionOptions options = {}) {
  return asyncio::open_connection("127.0.0.1", server.sockets().at(0).port(), std::move(options));
}

}  // namespace

TEST_CASE("the events of a short conversation come in CPython's iterations") {
  Trace say;
  asyncio::run([&] {
    const auto server = await(serve([&](StreamReader& reader, StreamWriter& writer) {
      say("server connected ", asyncio::current_task().get_name());
      say("server got ", await(reader.readline()).size());
      writer.write("pong\n");
      await(writer.drain());
      say("server drained");
      say("server rest ", await(reader.read()));
      writer.close();
      say("server close");
      await(writer.wait_closed());
      say("server closed");
    }));
    say("serving");
    {
      auto [reader, writer] = await(connect(server));
      say("client connected");
      writer.write("ping\n");
      await(writer.drain());
      say("client drained");
      say("client got ", await(reader.read(100)).size());
      writer.write("abc");
      writer.write_eof();
      const std::string end = await(reader.read(100));
      say("client end ", end.size(), " ", reader.at_eof());
      writer.close();
      say("client close");
      await(writer.wait_closed());
      say("client closed");
    }
    finish(server);
    say("all closed");
  });
  std::string events = say.take();
  // The number of the run's first task is not fixed.
  const auto at = events.find("Task-");
  REQUIRE(at != std::string::npos);
  events.erase(at, events.find(' ', at) + 1 - at);
  CHECK(events ==
        "[5] serving | [9] server connected | [9] client connected | [9] client drained | "
        "[11] server got 5 | [11] server drained | [13] client got 5 | [16] server rest abc | "
        "[16] server close | [18] server closed | [19] client end 0 True | [19] client close | "
        "[21] client closed | [21] all closed");
}

TEST_CASE("many connections are served at the same time") {
  asyncio::run([] {
    const auto server = await(serve(echo));
    std::vector<asyncio::Task<bool>> clients;
    for (int i = 0; i < 50; ++i)
      clients.push_back(asyncio::create_task([&server, i] {
        auto [reader, writer] = await(connect(server));
        for (int round = 0; round < 5; ++round) {
          const std::string text = std::to_string(i) + ":" + std::to_string(round) + "\n";
          writer.write(text);
          await(writer.drain());
          if (await(reader.readline()) != text) return false;
        }
        writer.close();
        await(writer.wait_closed());
        return true;
      }));
    for (const bool good : await(asyncio::gather(clients))) CHECK(good);
    finish(server);
  });
}

TEST_CASE("large amounts arrive whole and in order") {
  asyncio::run([] {
    const auto server = await(serve(echo));
    auto [reader, writer] = await(connect(server));
    std::string sent;
    for (int i = 0; sent.size() < 3'000'000; ++i) sent += std::to_string(i) + " ";
    const auto sending = asyncio::create_task([&, writer = writer] {
      for (std::size_t at = 0; at < sent.size(); at += 100'000) {
        writer.write(std::string_view(sent).substr(at, 100'000));
        await(writer.drain());
      }
      writer.write_eof();
    });
    std::string received;
    SUBCASE("by read") { received = await(reader.read()); }
    SUBCASE("by readexactly") {
      received = await(reader.readexactly(static_cast<std::ptrdiff_t>(sent.size())));
    }
    SUBCASE("by readinto") {
      std::vector<char> memory(200'000);
      while (const std::size_t count = await(reader.readinto(memory)))
        received.append(memory.data(), count);
    }
    CHECK((received == sent));
    await(sending);
    writer.close();
    await(writer.wait_closed());
    finish(server);
  });
}

TEST_CASE("write_eof ends one direction; the other goes on") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    CHECK(a.second.can_write_eof());
    a.second.write("last words");
    a.second.write_eof();
    CHECK(thrown_by([&] { a.second.write("more"); }) ==
          "RuntimeError('Cannot call write() after write_eof()')");
    CHECK(await(b.first.read()) == "last words");
    CHECK_FALSE(b.second.is_closing());
    b.second.write("answer");
    CHECK(await(a.first.read(100)) == "answer");
  });
}

TEST_CASE("when the other side closes, reads drain the buffer and then find the end") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    a.second.write("0123456789");
    a.second.close();
    CHECK(a.second.is_closing());
    await(a.second.wait_closed());
    CHECK(await(b.first.read(4)) == "0123");
    CHECK(await(b.first.read(100)) == "456789");
    CHECK(await(b.first.read(100)) == "");
    CHECK(b.first.at_eof());
  });
}

TEST_CASE("closing ends the read of another task on the same connection") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    const auto reading =
        asyncio::create_task([reader = a.first] { return await(reader.read(10)); });
    await(asyncio::sleep(0));
    a.second.close();
    CHECK(await(reading) == "");
    CHECK(a.first.at_eof());
    CHECK(a.second.fileno() == -1);
    CHECK(b.second.fileno() >= 0);
  });
}

TEST_CASE("what was written before close arrives, however much it is") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    const std::string much(2'000'000, 'm');
    a.second.write(much);
    a.second.close();
    CHECK(a.second.transport().get_write_buffer_size() > 0);
    CHECK(await(b.first.read()).size() == much.size());
    await(a.second.wait_closed());
  });
}

TEST_CASE("the last writer that is dropped closes the connection, after sending") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    const std::string much(1'000'000, 'm');
    {
      const StreamWriter copy = a.second;
      { const auto last = std::exchange(a, b); }
      copy.write(much);
    }
    CHECK(await(b.first.read()).size() == much.size());
  });
}

TEST_CASE("a reset connection is an error for tasks that read, drain or wait for its end") {
  asyncio::run([] {
    asyncio::Future<> reset = asyncio::get_running_loop().create_future();
    const auto server = await(serve([&](StreamReader&, StreamWriter& writer) {
      const linger now{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(writer.fileno(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      writer.close();
      await(writer.wait_closed());
      reset.set_result();
    }));
    auto [reader, writer] = await(connect(server));
    await(reset);
    const std::string error = "ConnectionResetError('[Errno 104] Connection reset by peer')";
    CHECK(thrown_by([&] { await(reader.read(10)); }) == error);
    CHECK(thrown_by([&] { await(writer.drain()); }) == error);
    CHECK(thrown_by([&] { await(writer.wait_closed()); }) == error);
    CHECK(fiber::repr(reader.exception()) == error);
    CHECK(writer.is_closing());
    finish(server);
  });
}

TEST_CASE("writing to a lost connection does nothing; drain throws") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    a.second.close();
    await(a.second.wait_closed());
    a.second.write("into the void");
    CHECK(thrown_by([&] { await(a.second.drain()); }) == "ConnectionResetError('Connection lost')");
  });
}

TEST_CASE("abort drops what was not sent yet") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    const std::string much(4'000'000, 'm');
    a.second.write(much);
    a.second.transport().abort();
    await(a.second.wait_closed());
    CHECK(await(b.first.read()).size() < much.size());
  });
}

TEST_CASE("a port without a listener gives ConnectionRefusedError, which names the address") {
  asyncio::run([] {
    const auto server = await(serve(echo));
    const int port = server.sockets()[0].port();
    finish(server);
    CHECK(thrown_by([&] { await(asyncio::open_connection("127.0.0.1", port)); }) ==
          "ConnectionRefusedError(\"[Errno 111] Connection refused: Connect call failed "
          "('127.0.0.1', " +
              std::to_string(port) + ")\")");
  });
}

TEST_CASE("a name that cannot be resolved is a gaierror") {
  asyncio::run([] {
    try {
      await(asyncio::open_connection("no.such.host.invalid", 80));
      FAIL("no error");
    } catch (const asyncio::gaierror& error) {
      CHECK(error.error_number() < 0);
      CHECK(std::string(error.what()).find("no.such.host.invalid") != std::string::npos);
    }
    CHECK_THROWS_AS(await(asyncio::open_connection("127.0.0.1", 70000)), asyncio::gaierror);
  });
}

TEST_CASE("a connection tells its two addresses, and may come from a given one") {
  asyncio::run([] {
    asyncio::SocketAddress seen;
    const auto server = await(serve([&](StreamReader&, StreamWriter& writer) {
      seen = writer.peername();
      CHECK(writer.sockname().host() == "127.0.0.1");
    }));
    auto [reader, writer] =
        await(connect(server, {.local_addr = std::pair(std::string("127.0.0.1"), 0)}));
    CHECK(await(reader.read()) == "");
    CHECK(seen == writer.sockname());
    CHECK(writer.peername() == server.sockets()[0].getsockname());
    CHECK(fiber::asyncio::repr(writer.peername()) ==
          "('127.0.0.1', " + std::to_string(server.sockets()[0].port()) + ")");
    finish(server);
  });
}

TEST_CASE("the address of the other side is the one that was reached") {
  asyncio::run([] {
    const auto server = await(asyncio::start_server([](auto&, auto&) {}, "0.0.0.0", 0));
    const int port = server.sockets().at(0).port();
    const auto [reader, writer] = await(asyncio::open_connection("0.0.0.0", port));
    CHECK(fiber::asyncio::repr(writer.peername()) == "('127.0.0.1', " + std::to_string(port) + ")");
    writer.close();
    await(writer.wait_closed());
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("a connect that is cancelled leaves nothing behind") {
  asyncio::run([] {
    const auto server = await(serve(echo));
    const auto task = asyncio::create_task([&] { await(connect(server)); });
    SUBCASE("before it begins") {}
    SUBCASE("while it connects") { await(asyncio::sleep(0)); }
    SUBCASE("when it is connected") {
      for (int i = 0; i < 3; ++i) await(asyncio::sleep(0));
    }
    task.cancel();
    CHECK(thrown_by([&] { await(task); }) == "CancelledError()");
    finish(server);
  });
}

TEST_CASE("writelines sends the pieces one after the other") {
  asyncio::run([] {
    auto [a, b] = make_pair_of_streams();
    a.second.writelines(std::vector<std::string>{"one ", "two ", "three"});
    a.second.writelines({" four", std::string(" five")});
    a.second.transport().writelines({" six", " seven"});
    a.second.close();
    CHECK(await(b.first.read()) == "one two three four five six seven");
  });
}

TEST_CASE("streams of a loop that is closed are closed, whoever holds them") {
  std::vector<asyncio::StreamPair> kept;
  asyncio::run([&] {
    auto [a, b] = make_pair_of_streams();
    a.second.write(std::string(1'000'000, 'x'));
    kept = {a, b};
  });
  CHECK(kept[0].second.is_closing());
  CHECK(kept[0].second.fileno() == -1);
  kept[0].second.write("nothing happens");
  kept[0].second.close();
}

TEST_CASE("tasks that wait in streams are cancelled with their loop") {
  Events events;
  asyncio::run([&] {
    auto [a, b] = make_pair_of_streams();
    const auto note = [&](const std::string& what) {
      return [&events, what](const asyncio::Future<>& task) {
        events(what + (task.cancelled() ? " cancelled" : " done"));
      };
    };
    asyncio::create_task([reader = a.first] {
      await(reader.read(1));
    }).add_done_callback(note("read"));
    asyncio::create_task([writer = a.second] {  // no task reads the data
      writer.write(std::string(5'000'000, 'x'));
      await(writer.drain());
    })
        .add_done_callback(note("drain"));
    await(asyncio::sleep(0));
    await(asyncio::sleep(0));
  });
  CHECK(events.take() == "read cancelled drain cancelled");
}

TEST_CASE("a connected descriptor must be a stream socket") {
  asyncio::run([] {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(thrown_by([&] { await(asyncio::open_connection_from(fd)); }) ==
          "ValueError('A Stream Socket was expected, got descriptor " + std::to_string(fd) + "')");
    ::close(fd);  // the descriptor is still the caller's
  });
}

TEST_CASE("writes to a lost connection do nothing; from the fifth on they are warned of") {
  support::Log log;
  asyncio::run([&] {
    auto [a, b] = make_pair_of_streams();
    a.second.transport().abort();
    await(a.second.wait_closed());
    for (int i = 0; i < 4; ++i) a.second.write("x");
    CHECK(log.take() == "");
    a.second.write("x");
    a.second.write("x");
    const std::string warning = "WARNING socket.send() raised exception.";
    CHECK(log.take() == warning + " | " + warning);
  });
}

TEST_CASE("bytes for a reader that is cancelled before it goes on are the next reader's") {
  asyncio::run([] {
    std::string buffer(3, '.');
    const auto in_place = [&](StreamReader& reader) {
      return std::to_string(await(reader.readinto(buffer)));
    };
    const auto some = [](StreamReader& reader) { return await(reader.read(3)); };
    const auto try_both = [&](const auto& first_read) {
      const StreamReader reader;
      const auto first = asyncio::create_task([&] {
        StreamReader its = reader;
        return first_read(its);
      });
      await(asyncio::sleep(0));
      reader.feed_data("AAABBB");
      CHECK_FALSE(reader.at_eof());
      first.cancel();
      CHECK(await(reader.readexactly(3)) == "AAA");
      CHECK(thrown_by([&] { await(first); }) == "CancelledError()");
      CHECK(await(reader.read(9)) == "BBB");
    };
    try_both(some);
    try_both(in_place);

    // The bytes of a connection go directly to the memory of the task that waits.
    const auto [one, other] = make_pair_of_streams();
    StreamReader reader = one.first;
    const auto first = asyncio::create_task([&] { return in_place(reader); });
    await(asyncio::sleep(0));
    StreamWriter(other.second).write("CCCDDD");
    while (buffer != "CCC") await(asyncio::sleep(0));
    const bool cancelled = first.cancel();
    CHECK(await(reader.readexactly(3)) == (cancelled ? "CCC" : "DDD"));
    StreamWriter(one.second).close();
    StreamWriter(other.second).close();
  });
}

TEST_CASE("a woken reader takes all data that has come by its turn, as Python's does") {
  asyncio::run([] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { return await(reader.read(5)); });
    await(asyncio::sleep(0));
    reader.feed_data("AA");
    reader.feed_data("BBCC");
    reader.feed_eof();
    CHECK_FALSE(reader.at_eof());
    CHECK(await(task) == "AABBC");
    CHECK(await(reader.read()) == "C");
    CHECK(reader.at_eof());
  });
}

TEST_CASE("a reader whose bytes another one took first goes on waiting") {
  asyncio::run([] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { return await(reader.read(5)); });
    await(asyncio::sleep(0));
    reader.feed_data("AA");
    CHECK(await(reader.read(5)) == "AA");
    await(asyncio::sleep(0));
    CHECK_FALSE(task.done());
    reader.feed_data("BB");
    CHECK(await(task) == "BB");
  });
}
