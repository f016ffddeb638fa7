#include "monkey/support.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

using namespace monkey_test;

namespace {

Descriptor file_with(const std::string& text) {
  char name[] = "/tmp/fiber-monkey-XXXXXX";
  Descriptor file(::mkostemp(name, O_CLOEXEC));
  ::unlink(name);
  REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::lseek(file, 0, SEEK_SET);
  return file;
}

std::string read_all(int fd) {
  std::string all;
  std::vector<char> buffer(50'000);
  for (ssize_t count; (count = calls::read(fd, buffer.data(), buffer.size())) > 0;)
    all.append(buffer.data(), static_cast<std::size_t>(count));
  return all;
}

std::string pattern(std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * i / 7 % 26);
  return text;
}

}  // namespace

TEST_CASE("sendfile sends more than there is room for, to sockets and pipes") {
  const std::string text = pattern(2'000'000);
  run([&] {
    const Descriptor file = file_with(text);
    for (const bool is_pipe : {false, true}) {
      CAPTURE(is_pipe);
      Ends ends = is_pipe ? pipe() : socket_pair();
      const auto reader = start([&] { return read_all(ends.a); });
      off_t at = 5;
      errno = 0;
      CHECK(calls::sendfile(ends.b, file, &at, 1'000'000) == 1'000'000);
      CHECK(at == 1'000'005);
      CHECK(::lseek(file, 0, SEEK_CUR) == 0);
      CHECK(calls::sendfile(ends.b, file, &at, 5'000'000) == 999'995);  // to the file's end
      CHECK(calls::sendfile(ends.b, file, &at, 1) == 0);
      CHECK(calls::sendfile(ends.b, file, nullptr, 10) == 10);
      CHECK(::lseek(file, 0, SEEK_CUR) == 10);
      CHECK(errno == 0);
      ::lseek(file, 0, SEEK_SET);
      CHECK((::fcntl(ends.b, F_GETFL) & O_NONBLOCK) == 0);
      ends.b.close();
      CHECK(await(reader) == text.substr(5) + text.substr(0, 10));
    }
  });
}

TEST_CASE("sendfile does what the kernel's does with files, bad descriptors and O_NONBLOCK") {
  const std::string text = pattern(1'000'000);
  run([&] {
    const Descriptor file = file_with(text), copy = file_with("");
    CHECK(calls::sendfile(copy, file, nullptr, 100) == 100);
    CHECK(calls::sendfile(-1, file, nullptr, 100) == -1);
    CHECK(errno == EBADF);
    Ends ends = socket_pair();
    CHECK(calls::sendfile(ends.b, -1, nullptr, 100) == -1);
    CHECK(errno == EBADF);
    ::fcntl(ends.b, F_SETFL, O_NONBLOCK);
    off_t at = 0;
    const ssize_t some = calls::sendfile(ends.b, file, &at, text.size());
    CHECK(some > 0);
    CHECK(at == some);
    while (calls::sendfile(ends.b, file, &at, text.size()) > 0) {
    }
    CHECK(errno == EAGAIN);
    ::fcntl(ends.b, F_SETFL, 0);

    // The bytes sent before the end are reported first.
    const auto task = start([&] {
      off_t from = 0;
      calls::sendfile(ends.b, file, &from, text.size());
      CHECK(calls::sendfile(ends.b, file, &from, text.size()) == -1);
      CHECK(errno == ECANCELED);
    });
    await(asyncio::sleep(2ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
    ends.a.close();
    std::signal(SIGPIPE, SIG_IGN);
    CHECK(calls::sendfile(ends.b, file, &at, 100) == -1);
    CHECK(errno == EPIPE);
    std::signal(SIGPIPE, SIG_DFL);
  });
}

TEST_CASE("splice moves all from a socket through a pipe to a slow socket") {
  const std::string text = pattern(1'000'000);
  run([&] {
    Ends in = socket_pair(), middle = pipe(), out = socket_pair();
    const auto writer = start([&] {
      CHECK(calls::write(in.b, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
      in.b.close();
    });
    const auto filler = start([&] {
      while (calls::splice(in.a, middle.b, 1 << 20, 0) > 0) {
      }
      middle.b.close();
    });
    const auto emptier = start([&] {
      std::size_t total = 0;
      errno = 0;
      for (ssize_t count; (count = calls::splice(middle.a, out.b, 1 << 20, SPLICE_F_MOVE)) > 0;)
        total += static_cast<std::size_t>(count);
      CHECK(errno == 0);
      CHECK(total == text.size());
      out.b.close();
    });
    await(asyncio::sleep(5ms));  // everything is full by now
    CHECK(!emptier.done());
    CHECK(read_all(out.a) == text);
    await(asyncio::gather(writer, filler, emptier));
  });
}

TEST_CASE("a connection that ends while splice waits: the bytes that went, then the error") {
  const auto previous = ::signal(SIGPIPE, SIG_DFL);  // would end the program
  run([&] {
    Ends source = pipe(), sink = socket_pair();
    const int size = ::fcntl(source.b, F_SETPIPE_SZ, 1 << 20);
    REQUIRE(size >= 65'536);
    const std::string text(static_cast<std::size_t>(size), 's');
    REQUIRE(::write(source.b, text.data(), text.size()) == size);
    const int little = 4096;
    CHECK(::setsockopt(sink.b, SOL_SOCKET, SO_SNDBUF, &little, sizeof little) == 0);
    const auto reader = start([&] {
      char part[100];
      CHECK(calls::read(sink.a, part, sizeof part) > 0);
      sink.a.close();
    });
    const ssize_t moved = calls::splice(source.a, sink.b, text.size(), 0);
    CHECK(moved > 0);
    CHECK(moved < size);
    CHECK(calls::send(sink.b, "x", 1, MSG_NOSIGNAL) == -1);
    await(reader);
  });
  ::signal(SIGPIPE, previous);
}

TEST_CASE("splice and tee wait between pipes; with SPLICE_F_NONBLOCK they do not") {
  Events say;
  run([&] {
    Ends first = pipe(), second = pipe(), third = pipe();
    CHECK(calls::splice(first.a, second.b, 10, SPLICE_F_NONBLOCK) == -1);
    CHECK(errno == EAGAIN);
    const auto writer = start([&] {
      say("writes");
      CHECK(calls::write(first.b, "hello", 5) == 5);
    });
    CHECK(calls::tee(first.a, third.b, 10, 0) == 5);
    CHECK(calls::splice(first.a, second.b, 10, 0) == 5);
    say("moved");
    await(writer);
    char text[8] = "";
    CHECK(calls::read(third.a, text, 8) == 5);
    say(text);
    CHECK(calls::read(second.a, text, 8) == 5);
    say(text);
    first.b.close();
    CHECK(calls::splice(first.a, second.b, 10, 0) == 0);
    CHECK(calls::splice(first.a, -1, 10, 0) == -1);
    CHECK(errno == EBADF);
  });
  CHECK(say.take() == "writes moved hello hello");
}

TEST_CASE("splice to a pipe that is full waits, until cancelled") {
  run([] {
    Ends from = pipe(), to = pipe();
    ::fcntl(to.b, F_SETFL, O_NONBLOCK);
    while (calls::write(to.b, "0123456789", 10) > 0) {
    }
    ::fcntl(to.b, F_SETFL, 0);
    CHECK(calls::write(from.b, "x", 1) == 1);
    int error = 0;
    const auto task = start([&] {
      if (calls::splice(from.a, to.b, 1, 0) == -1) error = errno;
    });
    await(asyncio::sleep(2ms));
    CHECK(!task.done());
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(error == ECANCELED);
    char byte = 0;
    CHECK(calls::read(from.a, &byte, 1) == 1);  // nothing was lost
  });
}

TEST_CASE("vmsplice waits for room, and for data") {
  const std::string text = pattern(200'000);
  run([&] {
    Ends ends = pipe();
    const auto writer = start([&] {
      std::size_t done = 0;
      while (done < text.size()) {
        const iovec rest{const_cast<char*>(text.data() + done), text.size() - done};
        const ssize_t count = calls::vmsplice(ends.b, &rest, 1, 0);
        REQUIRE(count > 0);
        done += static_cast<std::size_t>(count);
      }
      ends.b.close();
    });
    std::string all;
    std::vector<char> buffer(10'000);
    const iovec room{buffer.data(), buffer.size()};
    for (ssize_t count; (count = calls::vmsplice(ends.a, &room, 1, 0)) > 0;)
      all.append(buffer.data(), static_cast<std::size_t>(count));
    CHECK(all == text);
    await(writer);
  });
}

TEST_CASE("splice without a pipe fails at once") {
  run([&] {
    const Ends one = socket_pair(), two = socket_pair();
    CHECK(calls::splice(one.a, two.a, 100, 0) == -1);
    CHECK(errno == EINVAL);
  });
}

TEST_CASE("sendfile and splice refuse at once the calls that the kernel refuses at once") {
  run([&] {
    const Descriptor file = file_with("hello");
    const Ends ends = pipe(), sockets = socket_pair();
    const Descriptor event(::eventfd(0, EFD_CLOEXEC));
    const Descriptor null(::open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC));
    const Descriptor path(::open("/", O_PATH | O_CLOEXEC));
    const auto error_of = [](ssize_t result) { return result == -1 ? errno : 0; };
    for (const off_t begin : {off_t{0}, off_t{5}}) {
      CAPTURE(begin);
      const auto sent = [&](int to, int from) {
        off_t at = begin;
        return error_of(calls::sendfile(to, from, &at, 10));
      };
      CHECK(sent(ends.a, file) == EBADF);
      CHECK(sent(path, file) == EBADF);
      CHECK(sent(sockets.a, ends.b) == EBADF);
      CHECK(sent(null, file) == EINVAL);
      CHECK(sent(event, file) == (begin == 0 ? EINVAL : 0));
    }
    const auto spliced = [&](int from, int to, unsigned flags = 0) {
      return error_of(calls::splice(from, to, 10, flags));
    };
    CHECK(spliced(sockets.a, ends.a) == EBADF);
    CHECK(spliced(ends.b, sockets.a) == EBADF);
    CHECK(spliced(path, ends.b) == EBADF);
    CHECK(spliced(event, ends.b) == EINVAL);
    CHECK(spliced(ends.a, event) == EINVAL);
    CHECK(spliced(ends.a, null) == EINVAL);
    CHECK(spliced(sockets.a, ends.b, 0x100) == EINVAL);
    CHECK(error_of(calls::tee(ends.b, ends.b, 10, 0)) == EBADF);
  });
}
