// The waits of the loop's sock_ functions: their places, which they share with readers and writers,
// and registrations that outlive them.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/testing.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/platform.hpp"
#include "support/socket_pair.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::create_task;
using asyncio::get_running_loop;
using Pair = SocketPair;

namespace {

constexpr int kRounds = 20;

// Receives once after a wait, so that the loop knows the descriptor.
void make_known(const Pair& pair) {
  const auto loop = get_running_loop();
  auto received = create_task([&] { return await(loop.sock_recv(pair.one, 100)); });
  await(asyncio::sleep(0));
  send(pair.other, "known");
  CHECK(await(received) == "known");
}

// Fills the buffer of one direction.
void fill(int fd) {
  const std::string much(100'000, 'm');
  while (::send(fd, much.data(), much.size(), MSG_DONTWAIT) > 0) {
  }
}

// Sends `text`, or nothing, again and again, and returns how often the loop has turned meanwhile.
std::uint64_t turns_while_sending(const std::string& text, int fd) {
  const auto loop = get_running_loop();
  const std::uint64_t begin = asyncio::testing::iterations(loop);
  for (int i = 0; i < kRounds; ++i) {
    if (!text.empty()) send(fd, text);
    await(asyncio::sleep(2ms));
  }
  return asyncio::testing::iterations(loop) - begin;
}

void drain(int fd) {
  while (!read_now(fd).empty()) {
  }
}

}  // namespace

TEST_CASE("a wait is for the file of its number, also if an earlier wait knew another one") {
  for (const bool busy : {false, true}) {
    CAPTURE(busy);
    asyncio::run([&] {
      const auto loop = get_running_loop();
      auto before = std::make_unique<Pair>();
      make_known(*before);
      const int number = before->one;
      before = nullptr;
      Pair now;
      now.take_number(number);
      auto received = create_task([&] { return await(loop.sock_recv(number, 100)); });
      await(asyncio::sleep(0));
      send(now.other, "new");
      // With other tasks that are always ready the loop never sleeps.
      for (int i = 0; busy && i < 200; ++i) await(asyncio::sleep(0));
      if (busy) CHECK(received.done());
      CHECK(await(received) == "new");
    });
  }
}

TEST_CASE("a wait in the other direction does not bring a former file's wait to the new one") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto before = std::make_unique<Pair>();
    const int number = before->one;
    auto stale = create_task([&] { return await(loop.sock_recv(number, 100)); });
    await(asyncio::sleep(0));
    before = nullptr;
    Pair now;
    now.take_number(number);
    fill(number);
    auto sent = create_task(loop.sock_sendall(number, "sent"));
    await(asyncio::sleep(1ms));
    send(now.other, "for nobody");
    drain(now.other);
    await(sent);
    await(asyncio::sleep(1ms));
    CHECK_FALSE(stale.done());
    CHECK(read_now(number) == "for nobody");
    stale.cancel();
  });
}

TEST_CASE("both directions of a socket wait at once, over and over") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair pair;
    for (int round = 0; round < 5; ++round) {
      fill(pair.one);
      auto received = create_task([&] { return await(loop.sock_recv(pair.one, 100)); });
      auto sent = create_task(loop.sock_sendall(pair.one, "sent"));
      await(asyncio::sleep(0));
      if (round % 2 == 0) {
        send(pair.other, "data");
        CHECK(await(received) == "data");
        CHECK_FALSE(sent.done());
        drain(pair.other);
        await(sent);
      } else {
        drain(pair.other);
        await(sent);
        CHECK_FALSE(received.done());
        send(pair.other, "data");
        CHECK(await(received) == "data");
      }
      drain(pair.other);
    }
  });
}

TEST_CASE("data for which no task waits does not keep the loop busy") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair pair;
    make_known(pair);
    const std::uint64_t usual = turns_while_sending("", pair.other);
    CHECK(turns_while_sending("data", pair.other) < usual + kRounds / 2);
    CHECK(await(loop.sock_recv(pair.one, 1000)).size() == 4 * kRounds);
    make_known(pair);
    // The end of the connection is reported for as long as it lasts.
    ::shutdown(pair.other, SHUT_RDWR);
    const std::uint64_t end = asyncio::testing::iterations(loop);
    await(asyncio::sleep(20ms));
    CHECK(asyncio::testing::iterations(loop) - end < 10);
    CHECK(await(loop.sock_recv(pair.one, 100)) == "");
  });
}

TEST_CASE("a duplicate of a closed socket does not keep the loop busy") {
  asyncio::run([] {
    Pair pair;
    make_known(pair);
    const int number = pair.one;
    pair.one = support::Descriptor(::dup(number));  // closes the number
    const std::uint64_t usual = turns_while_sending("", pair.other);
    CHECK(turns_while_sending("data", pair.other) < usual + kRounds / 2);
    Pair now;
    now.take_number(number);
    make_known(now);
  });
}

TEST_CASE("a loop in which only finished waits are left has nothing to wait for") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair pair;
    make_known(pair);
    CHECK(loop.object().selector().empty());
    auto received = create_task([&] { return await(loop.sock_recv(pair.one, 100)); });
    await(asyncio::sleep(0));
    CHECK_FALSE(loop.object().selector().empty());
    received.cancel();
    await(asyncio::sleep(0));
    CHECK(loop.object().selector().empty());
  });
}

TEST_CASE("a task that is cancelled before its turn takes no data, though its event has come") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    for (const std::uint64_t seed : {0, 1, 2, 3}) {
      CAPTURE(seed);
      asyncio::testing::set_shuffle(loop, seed);
      Pair pair;
      make_known(pair);
      auto received = create_task([&] { return await(loop.sock_recv(pair.one, 100)); });
      await(asyncio::sleep(0));
      await(asyncio::sleep(0));
      send(pair.other, "data");
      received.cancel();
      CHECK(thrown_by([&] { await(received); }) == "CancelledError()");
      await(asyncio::sleep(0));
      CHECK(read_now(pair.one) == "data");
    }
    asyncio::testing::set_shuffle(loop, 0);
  });
}

TEST_CASE("a second sock_recv takes the place of the first; so does a reader") {
  Events say;
  asyncio::run([&] {
    const auto loop = get_running_loop();
    Pair pair;
    make_known(pair);
    const auto receive = [&](const char* who) {
      auto task = create_task([&, who] {
        try {
          say(who + (": " + await(loop.sock_recv(pair.one, 100))));
        } catch (const asyncio::CancelledError&) {
          say(who + std::string(": cancelled"));
          throw;
        }
      });
      await(asyncio::sleep(0));
      return task;
    };
    auto first = receive("first");
    auto second = receive("second");
    send(pair.other, "one");
    await(second);
    auto third = receive("third");
    loop.add_reader(pair.one, [&] { say("reader: " + read_now(pair.one)); });
    send(pair.other, "two");
    await(asyncio::sleep(1ms));
    auto fourth = receive("fourth");
    CHECK(loop.remove_reader(pair.one));
    CHECK_FALSE(loop.remove_reader(pair.one));
    send(pair.other, "three");
    await(asyncio::sleep(1ms));
    for (const auto* task : {&first, &third, &fourth}) CHECK(task->cancel());
    await(asyncio::sleep(0));
    CHECK(read_now(pair.one) == "three");
  });
  CHECK(say.take() ==
        "second: one reader: two first: cancelled third: cancelled fourth: cancelled");
}

TEST_CASE("a reader and a sock_sendall share a descriptor") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    Pair pair;
    std::string got;
    loop.add_reader(pair.one, [&] { got += read_now(pair.one); });
    for (int round = 0; round < 3; ++round) {
      fill(pair.one);
      auto sent = create_task(loop.sock_sendall(pair.one, "sent"));
      await(asyncio::sleep(0));
      send(pair.other, "data ");
      await(asyncio::sleep(1ms));
      CHECK_FALSE(sent.done());
      drain(pair.other);
      await(sent);
      drain(pair.other);
    }
    CHECK(got == "data data data ");
    CHECK(loop.remove_reader(pair.one));
    make_known(pair);
  });
}

TEST_CASE("close() of a socket object wakes the tasks that wait for it") {
  asyncio::run([] {
    const auto loop = get_running_loop();
    auto [one, other] = fiber::socket::socketpair();
    one.setblocking(false);
    const int number = one.fileno();
    auto received = create_task([&] { return await(loop.sock_recv(number, 100)); });
    await(asyncio::sleep(0));
    // Its event has come as well; by its turn the number stands for another file.
    other.send("old");
    one.close();
    Pair now;
    now.take_number(number);
    send(now.other, "new");
    CHECK(thrown_by([&] { await(received); }) == "OSError('[Errno 9] Bad file descriptor')");
    CHECK(await(loop.sock_recv(number, 100)) == "new");
  });
}

TEST_CASE("under a foreign main loop, too, a wait is for the file that its number stands for") {
  if (support::lacks_loop_descriptor()) return;
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  pollfd entry{loop.fileno(), POLLIN, 0};
  std::string got;
  auto before = std::make_unique<Pair>();
  Pair now;
  const int number = before->one;
  auto task = loop.create_task([&] {
    make_known(*before);
    before = nullptr;
    now.take_number(number);
    got = await(loop.sock_recv(number, 100));
  });
  bool sent = false;
  while (!task.done()) {
    const int ready = ::poll(&entry, 1, sent ? 60'000 : 0);
    if (ready == 0 && sent) break;
    loop.run_ready();
    if (ready == 0 && now.one == number) {
      send(now.other, "new");
      sent = true;
    }
  }
  CHECK(got == "new");
  task.cancel();
  while (!task.done()) loop.run_ready();
  loop.close();
}

TEST_CASE("a wait that was woken learns of a close before its task goes on") {
  asyncio::run([] {
    const Pair pair;
    asyncio::detail::LoopObject& loop = get_running_loop().object();
    const auto waiting = create_task([&] {
      asyncio::detail::Waiter waiter(loop);
      asyncio::detail::DescriptorWait wait{
          .fd = pair.one, .events = fiber::platform::Events::in, .waiter = &waiter};
      CHECK(loop.selector().wait(wait) == 0);
      waiter.wait();
      const int error = wait.error;
      loop.selector().leave(wait);
      return error;
    });
    await(asyncio::sleep(0));
    send(pair.other, "x");
    await(asyncio::sleep(0));
    // This task's turn comes before the other's, in the iteration that has seen the event.
    CHECK_FALSE(waiting.done());
    CHECK(loop.selector().must_know_of_closing(pair.one));
    loop.selector().closing(pair.one);
    CHECK(await(waiting) == EBADF);
    CHECK_FALSE(loop.selector().must_know_of_closing(pair.one));
  });
}
