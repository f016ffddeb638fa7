#include "monkey/support.hpp"

#include <pty.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>

#include <cerrno>
#include <string>
#include <vector>

using namespace monkey_test;

TEST_CASE("read on a socket lets another task run, which writes what it waits for") {
  Events say;
  run([&] {
    auto [a, b] = socket_pair();
    const int to = b;
    const auto writer = start([&say, to] {
      say("writes");
      CHECK(calls::write(to, "hello", 5) == 5);
    });
    char buffer[16] = "";
    say("reads");
    errno = 0;
    CHECK(calls::read(a, buffer, sizeof buffer) == 5);
    CHECK(errno == 0);
    say(buffer);
    await(writer);
    CHECK((::fcntl(a, F_GETFL) & O_NONBLOCK) == 0);
  });
  CHECK(say.take() == "reads writes hello");
}

TEST_CASE("read and readv on a pipe wait for data, and see its end") {
  Events say;
  run([&] {
    Ends ends = pipe();
    const auto writer = start([&] {
      CHECK(calls::write(ends.b, "abc", 3) == 3);
      await(asyncio::sleep(1ms));
      CHECK(calls::write(ends.b, "defgh", 5) == 5);
      await(asyncio::sleep(1ms));
      ends.b.close();
    });
    char one[4] = "", two[8] = "";
    CHECK(calls::read(ends.a, one, 3) == 3);
    say(one);
    iovec vectors[] = {{one, 2}, {two, 7}};
    CHECK(calls::readv(ends.a, vectors, 2) == 5);
    say(std::string(one, 2) + "+" + two);
    CHECK(calls::read(ends.a, one, 3) == 0);
    say("end");
    await(writer);
  });
  CHECK(say.take() == "abc de+fgh end");
}

TEST_CASE("write of more than there is room for sends it all, on sockets and pipes") {
  run([&] {
    for (const bool socket : {true, false}) {
      Ends ends = socket ? socket_pair() : pipe();
      const int reader_end = socket ? ends.a : ends.a;
      const std::string much(3'000'000, 'm');
      std::size_t got = 0;
      const auto reader = start([&, reader_end] {
        std::vector<char> buffer(50'000);
        while (got < 2 * much.size()) {
          const ssize_t count = calls::read(reader_end, buffer.data(), buffer.size());
          REQUIRE(count > 0);
          got += static_cast<std::size_t>(count);
        }
      });
      CHECK(calls::write(ends.b, much.data(), much.size()) == static_cast<ssize_t>(much.size()));
      std::vector<iovec> vectors;
      for (std::size_t at = 0; at < much.size(); at += 30'000)
        vectors.push_back({const_cast<char*>(much.data()) + at, 30'000});
      CHECK(calls::writev(ends.b, vectors.data(), static_cast<int>(vectors.size())) ==
            static_cast<ssize_t>(much.size()));
      await(reader);
      CHECK(got == 2 * much.size());
    }
  });
}

TEST_CASE("writev of parts keeps their order") {
  run([&] {
    const Ends ends = socket_pair();
    std::string expected, got;
    std::vector<std::string> parts;
    for (int i = 0; i < 900; ++i)
      parts.push_back(
          std::string(static_cast<std::size_t>(i % 7) * 997, static_cast<char>('a' + i % 26)));
    for (const auto& part : parts) expected += part;
    const auto reader = start([&] {
      char buffer[10'007];
      while (got.size() < expected.size()) {
        const ssize_t count = calls::read(ends.a, buffer, sizeof buffer);
        REQUIRE(count > 0);
        got.append(buffer, static_cast<std::size_t>(count));
      }
    });
    std::vector<iovec> vectors;
    for (auto& part : parts) vectors.push_back({part.data(), part.size()});
    CHECK(calls::writev(ends.b, vectors.data(), static_cast<int>(vectors.size())) ==
          static_cast<ssize_t>(expected.size()));
    await(reader);
    CHECK(got == expected);
  });
}

TEST_CASE("a descriptor that the user made non-blocking gives EAGAIN") {
  run([&] {
    const Ends sockets = socket_pair(SOCK_STREAM | SOCK_NONBLOCK);
    const Ends pipes = pipe();
    ::fcntl(pipes.a, F_SETFL, O_NONBLOCK);
    const Descriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    char buffer[8];
    for (const int fd : {int(sockets.a), int(pipes.a), int(event)}) {
      errno = 0;
      CHECK(calls::read(fd, buffer, sizeof buffer) == -1);
      CHECK(errno == EAGAIN);
    }
    const std::string much(5'000'000, 'x');
    const ssize_t sent = calls::write(sockets.a, much.data(), much.size());
    CHECK(sent > 0);
    CHECK(sent < static_cast<ssize_t>(much.size()));
    CHECK(calls::write(sockets.a, much.data(), much.size()) == -1);
    CHECK(errno == EAGAIN);
  });
}

TEST_CASE("eventfd_read waits for an eventfd_write") {
  Events say;
  run([&] {
    const Descriptor event(::eventfd(0, EFD_CLOEXEC));
    const auto writer = start([&] {
      say("writes");
      CHECK(calls::eventfd_write(event, 7) == 0);
    });
    eventfd_t value = 0;
    CHECK(calls::eventfd_read(event, &value) == 0);
    say(std::uint64_t{value});
    await(writer);
  });
  CHECK(say.take() == "writes 7");
}

TEST_CASE("eventfd, timerfd and terminals, which have no way to try, are asked first") {
  Events say;
  run([&] {
    const Descriptor event(::eventfd(0, EFD_CLOEXEC));
    const Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 2'000'000}};
    REQUIRE(::timerfd_settime(timer, 0, &soon, nullptr) == 0);
    const auto other = start([&] {
      say("other");
      const std::uint64_t three = 3;
      CHECK(calls::write(event, &three, sizeof three) == sizeof three);
    });
    std::uint64_t count = 0;
    CHECK(calls::read(event, &count, sizeof count) == sizeof count);
    say(count);
    CHECK(calls::read(timer, &count, sizeof count) == sizeof count);
    say("timer");
    await(other);

    const Descriptor master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(::grantpt(master) == 0);
    REQUIRE(::unlockpt(master) == 0);
    const Descriptor terminal(::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
    const auto typist = start([&] { CHECK(calls::write(master, "line\n", 5) == 5); });
    char line[16] = "";
    CHECK(calls::read(terminal, line, sizeof line - 1) == 5);
    CHECK(std::string(line) == "line\n");
    await(typist);
  });
  CHECK(say.take() == "other 3 timer");
}

TEST_CASE("terminals that are read by character, with a time or without") {
  run([] {
    int ends[2];
    REQUIRE(::openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr) == 0);
    const Descriptor ours(ends[0]), theirs(ends[1]);
    const auto set = [&](cc_t least, cc_t tenths) {
      termios settings{};
      CHECK(::tcgetattr(theirs, &settings) == 0);
      settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      settings.c_cc[VMIN] = least;
      settings.c_cc[VTIME] = tenths;
      CHECK(::tcsetattr(theirs, TCSANOW, &settings) == 0);
    };
    char bytes[10];
    set(0, 0);
    CHECK(calls::read(theirs, bytes, 10) == 0);
    set(0, 1);
    Events say;
    const auto other = start([&] { say("other"); });
    CHECK(calls::read(theirs, bytes, 10) == 0);
    say("time");
    await(other);
    CHECK(say.take() == "other time");
    CHECK(::write(ours, "ab", 2) == 2);
    CHECK(calls::read(theirs, bytes, 10) == 2);
    set(3, 0);
    const auto writer = start([&] {
      CHECK(::write(ours, "a", 1) == 1);
      await(asyncio::sleep(1ms));
      CHECK(::write(ours, "bc", 2) == 2);
    });
    CHECK(calls::read(theirs, bytes, 10) == 3);
    await(writer);
  });
}

TEST_CASE("files are read and written as ever, whole") {
  run([&] {
    char name[] = "/tmp/fiber-monkey-XXXXXX";
    const Descriptor file(::mkstemp(name));
    ::unlink(name);
    std::string data(1'000'000, 'f');
    CHECK(calls::write(file, data.data(), data.size()) == 1'000'000);
    ::lseek(file, 0, SEEK_SET);
    CHECK(calls::read(file, data.data(), data.size()) == 1'000'000);
    CHECK(calls::read(file, data.data(), data.size()) == 0);
    const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    CHECK(calls::write(null, data.data(), data.size()) == 1'000'000);
    CHECK(calls::read(null, data.data(), data.size()) == 0);
    CHECK(calls::read(-1, data.data(), 1) == -1);
    CHECK(errno == EBADF);
    CHECK(calls::read(file, nullptr, 0) == 0);
  });
}

TEST_CASE("several tasks read from the same descriptor, and one writes to it meanwhile") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto reader = [&](const char* name) {
      return start([&, name] {
        char byte = 0;
        CHECK(calls::read(ends.a, &byte, 1) == 1);
        say(std::string(name) + byte);
      });
    };
    const auto first = reader("1:"), second = reader("2:"), third = reader("3:");
    std::size_t sent = 0;
    const std::string much(2'000'000, 'w');
    const auto writer = start(
        [&] { sent = static_cast<std::size_t>(calls::write(ends.a, much.data(), much.size())); });
    await(asyncio::sleep(1ms));
    CHECK(calls::write(ends.b, "abc", 3) == 3);
    await(asyncio::gather(first, second, third));
    std::vector<char> buffer(100'000);
    std::size_t got = 0;
    while (got < much.size())
      got += static_cast<std::size_t>(calls::read(ends.b, buffer.data(), buffer.size()));
    await(writer);
    CHECK(sent == much.size());
  });
  CHECK(say.take() == "1:a 2:b 3:c");
}

TEST_CASE("close by another task fails tasks that wait with EBADF") {
  Events say;
  run([&] {
    Ends ends = socket_pair();
    const int fd = ends.a;
    const auto reader = [&] {
      char byte;
      say(calls::read(fd, &byte, 1) == -1 && errno == EBADF ? "EBADF" : "?");
    };
    const auto one = start(reader);
    const auto two = start(reader);
    await(asyncio::sleep(1ms));
    CHECK(ends.a.close() == 0);
    // No task waits for another descriptor with this number.
    Ends others = socket_pair();
    CHECK(calls::write(others.b, "x", 1) == 1);
    await(asyncio::gather(one, two));
    char byte = 0;
    CHECK(calls::read(others.a, &byte, 1) == 1);
  });
  CHECK(say.take() == "EBADF EBADF");
}

TEST_CASE("dup2 onto a descriptor fails tasks that wait for it; they go on with a new one") {
  run([&] {
    Ends ends = socket_pair();
    const Ends others = socket_pair();
    const int fd = ends.a;
    int error = 0;
    const auto waiting = start([&] {
      char byte;
      if (calls::read(fd, &byte, 1) < 0) error = errno;
    });
    await(asyncio::sleep(1ms));
    CHECK(calls::dup2(others.a, fd) == fd);
    await(waiting);
    CHECK(error == EBADF);
    const auto again = start([&] {
      char byte = 0;
      CHECK(calls::read(fd, &byte, 1) == 1);
    });
    await(asyncio::sleep(1ms));
    CHECK(calls::write(others.b, "x", 1) == 1);
    await(again);
  });
}

TEST_CASE("a descriptor that was closed behind our back and opened anew can be waited for") {
  run([&] {
    for (int round = 0; round < 3; ++round) {
      int ends[2];
      REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
      const auto reader = start([&] {
        char byte = 0;
        CHECK(calls::read(ends[0], &byte, 1) == 1);
      });
      await(asyncio::sleep(1ms));
      CHECK(calls::write(ends[1], "x", 1) == 1);
      await(reader);
      // fclose closes inside libc, without an import.
      std::fclose(::fdopen(ends[0], "r"));
      std::fclose(::fdopen(ends[1], "w"));
    }
  });
}

TEST_CASE(
    "one that waits for a descriptor that is gone does not take the next one's waiters along") {
  run([&] {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const int fd = ends[0];
    const auto lost = start([&] {
      char byte;
      return calls::read(fd, &byte, 1);
    });
    await(asyncio::sleep(1ms));
    std::fclose(::fdopen(ends[0], "r"));
    ::close(ends[1]);
    const Ends others = pipe();
    REQUIRE(others.a == fd);
    const auto reader = start([&] {
      char byte = 0;
      CHECK(calls::read(others.a, &byte, 1) == 1);
    });
    await(asyncio::sleep(1ms));
    CHECK(calls::write(others.b, "x", 1) == 1);
    CHECK(calls::write(others.b, "x", 1) == 1);
    await(reader);
    // The task has read from another descriptor with its number, as a thread would.
    CHECK(await(lost) == 1);
  });
}

TEST_CASE("a cancelled read fails with ECANCELED, and its task hears of it at its next await") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto reader = start([&] {
      char byte;
      say(calls::read(ends.a, &byte, 1) == -1 && errno == ECANCELED ? "ECANCELED" : "?");
      // A second try fails, too.
      say(calls::read(ends.a, &byte, 1) == -1 && errno == ECANCELED ? "ECANCELED" : "?");
      // Calls that do not wait still work: a library can send its last message.
      say(calls::write(ends.a, "bye", 3));
      try {
        await(asyncio::sleep(0));
        say("not told");
      } catch (const asyncio::CancelledError& error) {
        say(error.what());
        throw;
      }
    });
    await(asyncio::sleep(1ms));
    reader.cancel("enough");
    try {
      await(reader);
    } catch (const asyncio::CancelledError&) {
      say("cancelled");
    }
    CHECK(reader.cancelled());
  });
  CHECK(say.take() == "ECANCELED ECANCELED 3 enough cancelled");
}

TEST_CASE("a time limit of asyncio ends a patched call") {
  run([&] {
    const Ends ends = socket_pair();
    CHECK_THROWS_AS(await(asyncio::wait_for(
                        [&] {
                          char byte;
                          CHECK(calls::read(ends.a, &byte, 1) == -1);
                          CHECK(errno == ECANCELED);
                          await(asyncio::sleep(0));
                        },
                        5ms)),
                    const fiber::TimeoutError&);
  });
}

TEST_CASE("outside of tasks, and in other threads, a patched call blocks as ever") {
  const Patch patch;
  const Ends ends = socket_pair();
  CHECK(calls::write(ends.b, "x", 1) == 1);
  char byte = 0;
  CHECK(calls::read(ends.a, &byte, 1) == 1);
  asyncio::run([&] {
    const auto waiting = asyncio::create_task(asyncio::to_thread([&] {
      char other = 0;
      CHECK(calls::read(ends.a, &other, 1) == 1);
      return other;
    }));
    await(asyncio::sleep(2ms));
    CHECK(calls::write(ends.b, "y", 1) == 1);
    CHECK(await(waiting) == 'y');
  });
}

TEST_CASE("a task that is unwound with its loop gets ECANCELED from the call it waits in") {
  int error = 0;
  {
    const Patch patch;
    const Ends ends = socket_pair();
    const auto loop = asyncio::new_event_loop();
    const auto task = loop.create_task([&] {
      char byte;
      if (calls::read(ends.a, &byte, 1) < 0) error = errno;
    });
    loop.run_until_complete([] { await(asyncio::sleep(1ms)); });
    loop.set_exception_handler([](const auto&, const auto&) {});
    loop.close();
  }
  CHECK(error == ECANCELED);
}

TEST_CASE("a descriptor that has a reader and a writer of the loop's can be waited for besides") {
  Events say;
  run([&] {
    const auto loop = asyncio::get_running_loop();
    const Ends ends = socket_pair();
    int reads = 0;
    loop.add_reader(ends.a, [&] { ++reads; });
    const auto reader = start([&] {
      char byte = 0;
      CHECK(calls::read(ends.a, &byte, 1) == 1);
      say("read");
    });
    await(asyncio::sleep(1ms));
    CHECK(reads == 0);
    CHECK(calls::write(ends.b, "x", 1) == 1);
    await(reader);
    CHECK(reads > 0);
    CHECK(loop.remove_reader(ends.a));
    const auto again = start([&] {
      char byte = 0;
      CHECK(calls::read(ends.a, &byte, 1) == 1);
      say("again");
    });
    await(asyncio::sleep(1ms));
    bool writable = false;
    loop.add_writer(ends.a, [&] {
      writable = true;
      loop.remove_writer(ends.a);
    });
    await(asyncio::sleep(1ms));
    CHECK(writable);
    CHECK(calls::write(ends.b, "x", 1) == 1);
    await(again);
  });
  CHECK(say.take() == "read again");
}

TEST_CASE("a descriptor of a transport can be waited for") {
  run([&] {
    Ends ends = socket_pair();
    const int fd = ::fcntl(ends.a, F_DUPFD_CLOEXEC, 0);
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    const auto [reader, writer] = await(asyncio::open_connection_from(fd));
    const auto poller = start([&] {
      pollfd one{.fd = fd, .events = POLLRDHUP, .revents = 0};
      CHECK(calls::poll(&one, 1, -1) == 1);
    });
    await(asyncio::sleep(1ms));
    CHECK(calls::write(ends.b, "line\n", 5) == 5);
    CHECK(await(reader.readline()) == "line\n");
    CHECK(!poller.done());
    ends.b.close();
    await(poller);
    writer.close();
    await(writer.wait_closed());
  });
}
