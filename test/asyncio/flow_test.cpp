#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "support/events.hpp"
#include "support/streams.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::Events;
using support::make_pair_of_streams;
using support::thrown_by;

namespace {

using TwoEnds = std::pair<asyncio::StreamPair, asyncio::StreamPair>;

void settle() {
  for (int i = 0; i < 10; ++i) await(asyncio::sleep(0));
}

// Writes until the system and the reader on the other side take no more bytes.
void clog(const asyncio::StreamWriter& writer) {
  for (;;) {
    settle();
    if (writer.transport().get_write_buffer_size() > 100'000) return;
    writer.write(std::string(100'000, 'c'));
  }
}

}  // namespace

TEST_CASE("the marks are CPython's unless they are set") {
  asyncio::run([] {
    const TwoEnds ends = make_pair_of_streams();
    const asyncio::Transport transport = ends.first.second.transport();
    CHECK(transport.get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(16384, 65536));
    transport.set_write_buffer_limits(400);
    CHECK(transport.get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(100, 400));
    transport.set_write_buffer_limits({}, 25);
    CHECK(transport.get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(25, 100));
    transport.set_write_buffer_limits(7, 7);
    CHECK(transport.get_write_buffer_limits() == std::pair<std::size_t, std::size_t>(7, 7));
    CHECK(thrown_by([&] { transport.set_write_buffer_limits(7, 8); }) ==
          "ValueError('high (7) must be >= low (8) must be >= 0')");
  });
}

TEST_CASE("below the mark drain does not suspend") {
  asyncio::run([] {
    const TwoEnds ends = make_pair_of_streams();
    bool others_ran = false;
    const auto other = asyncio::create_task([&] { others_ran = true; });
    ends.first.second.write("small");
    CHECK(ends.first.second.transport().get_write_buffer_size() == 0);
    await(ends.first.second.drain());
    CHECK_FALSE(others_ran);
    await(other);
  });
}

TEST_CASE("above the mark drain waits, and waiting tasks go on in the order in which they came") {
  Events say;
  asyncio::run([&] {
    const TwoEnds ends = make_pair_of_streams();
    const asyncio::StreamWriter& writer = ends.first.second;
    clog(writer);
    std::vector<asyncio::Task<>> drainers;
    for (int i = 1; i <= 3; ++i)
      drainers.push_back(asyncio::create_task([&, i] {
        await(writer.drain());
        say("drained " + std::to_string(i));
        CHECK(writer.transport().get_write_buffer_size() <= 16384);
      }));
    settle();
    say("waiting");
    const auto reading = asyncio::create_task([&] { return await(ends.second.first.read()); });
    for (const auto& drainer : drainers) await(drainer);
    writer.close();
    CHECK(await(reading).size() % 100'000 == 0);
  });
  CHECK(say.take() == "waiting drained 1 drained 2 drained 3");
}

TEST_CASE("a drainer that is cancelled leaves the others waiting") {
  Events say;
  asyncio::run([&] {
    const TwoEnds ends = make_pair_of_streams();
    const asyncio::StreamWriter& writer = ends.first.second;
    clog(writer);
    std::vector<asyncio::Task<>> drainers;
    for (int i = 1; i <= 3; ++i)
      drainers.push_back(asyncio::create_task([&, i] {
        await(writer.drain());
        say(i);
      }));
    settle();
    drainers[1].cancel();
    settle();
    CHECK(drainers[1].cancelled());
    CHECK_FALSE(drainers[0].done());
    const auto reading = asyncio::create_task([&] { await(ends.second.first.read()); });
    await(drainers[0]);
    await(drainers[2]);
    writer.close();
    await(reading);
  });
  CHECK(say.take() == "1 3");
}

TEST_CASE("drainers go on when the connection is closed by this side, and learn of its loss") {
  asyncio::run([] {
    const TwoEnds ends = make_pair_of_streams();
    const asyncio::StreamWriter& writer = ends.first.second;
    clog(writer);
    const auto drainer = asyncio::create_task([&] { await(writer.drain()); });
    settle();
    SUBCASE("aborted") {
      writer.transport().abort();
      CHECK(thrown_by([&] { await(drainer); }) == "");
      CHECK(thrown_by([&] { await(writer.drain()); }) == "ConnectionResetError('Connection lost')");
    }
    SUBCASE("gone") {
      ends.second.second.transport().abort();
      const std::string error = thrown_by([&] { await(drainer); });
      CHECK((error == "BrokenPipeError('[Errno 32] Broken pipe')" ||
             error == "ConnectionResetError('[Errno 104] Connection reset by peer')"));
      CHECK(thrown_by([&] { await(writer.wait_closed()); }) == error);
    }
  });
}

TEST_CASE("a mark that is lowered under what is buffered makes drain wait") {
  asyncio::run([] {
    const TwoEnds ends = make_pair_of_streams();
    const asyncio::StreamWriter& writer = ends.first.second;
    writer.transport().set_write_buffer_limits(100'000'000);
    clog(writer);
    await(writer.drain());
    writer.transport().set_write_buffer_limits(0);
    const auto drainer = asyncio::create_task([&] { await(writer.drain()); });
    settle();
    CHECK_FALSE(drainer.done());
    const auto reading = asyncio::create_task([&] { await(ends.second.first.read()); });
    await(drainer);
    CHECK(writer.transport().get_write_buffer_size() == 0);
    writer.close();
    await(reading);
  });
}

TEST_CASE("a side that does not read stops the other side, and later gets everything") {
  asyncio::run([] {
    constexpr std::size_t kLimit = 1000;
    const TwoEnds ends = make_pair_of_streams(kLimit);
    const asyncio::StreamWriter& writer = ends.first.second;
    clog(writer);
    const std::size_t left = writer.transport().get_write_buffer_size();
    for (int i = 0; i < 50; ++i) await(asyncio::sleep(0));
    CHECK(writer.transport().get_write_buffer_size() == left);
    writer.write("end\n");
    writer.close();
    std::string all;
    SUBCASE("in small pieces") {
      for (;;) {
        const std::string piece = await(ends.second.first.read(700));
        if (piece.empty()) break;
        all += piece;
      }
    }
    SUBCASE("in one piece, larger than the limit") { all = await(ends.second.first.read()); }
    CHECK(all.size() % 100'000 == 4);
    CHECK(all.ends_with("cend\n"));
  });
}
