#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/folder.hpp"
#include "support/platform.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using asyncio::await;
using namespace std::chrono_literals;
using support::numbers;
using support::thrown_by;

namespace {

// A file without a name.
class File {
 public:
  explicit File(const std::string& content) : file_(std::tmpfile()) {
    REQUIRE(file_ != nullptr);
    REQUIRE(std::fwrite(content.data(), 1, content.size(), file_) == content.size());
    REQUIRE(std::fflush(file_) == 0);
    REQUIRE(::lseek(fileno(), 0, SEEK_SET) == 0);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { std::fclose(file_); }
  int fileno() const { return ::fileno(file_); }
  long tell() const { return ::lseek(fileno(), 0, SEEK_CUR); }

 private:
  std::FILE* file_;
};

struct Ends {
  Ends() {
    auto both = sockets::socketpair();
    first = std::move(both.first);
    second = std::move(both.second);
    first.setblocking(false);
    second.setblocking(false);
  }
  sockets::socket first;
  sockets::socket second;
};

std::string receive(const sockets::socket& sock, std::size_t size) {
  const auto loop = asyncio::get_running_loop();
  std::string all;
  while (all.size() < size) {
    const std::string more = await(loop.sock_recv(sock, 1 << 16));
    if (more.empty()) break;
    all += more;
  }
  return all;
}

}  // namespace

TEST_CASE("sock_sendfile: the whole file, a part of it, and its position afterwards") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const std::string content = numbers(1'000'000);
    const File file(content);
    const Ends ends;
    const auto receiving =
        asyncio::create_task([&] { return receive(ends.second, content.size()); });
    CHECK(await(loop.sock_sendfile(ends.first, file)) == content.size());
    CHECK(await(receiving) == content);
    CHECK(file.tell() == 1'000'000);
    CHECK(await(loop.sock_sendfile(ends.first, file, {.offset = 10, .count = 20})) == 20);
    CHECK(await(loop.sock_recv(ends.second, 100)) == content.substr(10, 20));
    CHECK(file.tell() == 30);
    CHECK(await(loop.sock_sendfile(ends.first, file, {.offset = 2'000'000})) == 0);
    const File empty("");
    CHECK(await(loop.sock_sendfile(ends.first, empty)) == 0);
  });
}

TEST_CASE("sock_sendfile falls back where the kernel cannot, unless it may not") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    support::Pipe pipe;
    REQUIRE(::write(pipe.writes, "piped", 5) == 5);
    pipe.writes.close();
    const Ends ends;
    CHECK_THROWS_AS(
        await(loop.sock_sendfile(ends.first, pipe.reads, {.count = 5, .fallback = false})),
        asyncio::SendfileNotAvailableError);
    CHECK(await(loop.sock_sendfile(ends.first, pipe.reads, {.count = 5})) == 5);
    CHECK(await(loop.sock_recv(ends.second, 100)) == "piped");
  });
}

TEST_CASE("sock_sendfile: bad arguments, and a peer that is gone") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file("content");
    Ends ends;
    CHECK(thrown_by([&] { await(loop.sock_sendfile(ends.first, file, {.count = 0})); }) ==
          "ValueError('count must be a positive integer (got 0)')");
    CHECK(thrown_by([&] { await(loop.sock_sendfile(ends.first, file, {.offset = -1})); }) ==
          "ValueError('offset must be a non-negative integer (got -1)')");
    CHECK(thrown_by([&] {
            await(loop.sock_sendfile(sockets::socket(AF_INET, SOCK_DGRAM), file));
          }) == "ValueError('only SOCK_STREAM type sockets are supported')");
    ends.second.close();
    CHECK_THROWS_AS(await(loop.sock_sendfile(ends.first, file)), fiber::BrokenPipeError);
    CHECK(file.tell() == 0);
  });
}

TEST_CASE("sock_sendfile insists in debug mode on a socket that does not block") {
  asyncio::run(
      [] {
        const auto loop = asyncio::get_running_loop();
        const File file("content");
        const Ends ends;
        ends.first.setblocking(true);
        CHECK(thrown_by([&] { await(loop.sock_sendfile(ends.first, file)); }) ==
              "ValueError('the socket must be non-blocking')");
        ends.first.setblocking(false);
        CHECK(await(loop.sock_sendfile(ends.first, file)) == 7);
      },
      {.debug = true});
}

TEST_CASE("sock_sendfile that is cancelled leaves the socket and the file usable") {
  if (support::lacks_native_sendfile()) return;  // CPython's fallback counts whole blocks alone
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file(numbers(10'000'000));
    const Ends ends;
    const auto sending = asyncio::create_task(loop.sock_sendfile(ends.first, file));
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    CHECK_FALSE(sending.done());
    sending.cancel();
    CHECK(thrown_by([&] { await(sending); }) == "CancelledError()");
    const long sent = file.tell();
    CHECK(sent > 0);
    CHECK(receive(ends.second, static_cast<std::size_t>(sent)).size() ==
          static_cast<std::size_t>(sent));
    await(loop.sock_sendall(ends.first, "next"));
    CHECK(await(loop.sock_recv(ends.second, 100)) == "next");
  });
}

TEST_CASE("sendfile through a transport: after what was written, and nothing may be written then") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const std::string content = numbers(3'000'000);
    const File file(content);
    Ends ends;
    const auto transport =
        await(loop.create_connection([] { return std::make_shared<asyncio::Protocol>(); },
                                     std::move(ends.first)))
            .first;
    const std::string before(1'000'000, 'b');
    transport.write(before);
    const auto sending = asyncio::create_task(loop.sendfile(transport, file, {.offset = 7}));
    await(asyncio::sleep(0));
    CHECK(thrown_by([&] { transport.write("x"); }) ==
          "RuntimeError('unable to write; sendfile is in progress')");
    CHECK_FALSE(transport.is_reading());
    CHECK(receive(ends.second, before.size() + content.size() - 7) == before + content.substr(7));
    CHECK(await(sending) == content.size() - 7);
    CHECK(transport.is_reading());
    transport.write("after");
    CHECK(await(loop.sock_recv(ends.second, 100)) == "after");
    transport.abort();
    CHECK(thrown_by([&] { await(loop.sendfile(transport, file)); }) ==
          "RuntimeError('Transport is closing')");
  });
}

TEST_CASE(
    "sendfile of a file that the socket takes at once, and of one that ends before the count") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file("content");
    Ends ends;
    const auto transport =
        await(loop.create_connection([] { return std::make_shared<asyncio::Protocol>(); },
                                     std::move(ends.first)))
            .first;
    const auto sent = [&](const asyncio::SendfileOptions& options) {
      return await(asyncio::wait_for(loop.sendfile(transport, file, options), 60s));
    };
    CHECK(sent({}) == 7);
    CHECK(sent({.offset = 3, .count = 100}) == 4);
    CHECK(sent({.offset = 3, .count = 2}) == 2);
    CHECK(sent({.offset = 100, .count = 2}) == 0);
    CHECK(receive(ends.second, 13) == "contenttentte");
    transport.abort();
  });
}

TEST_CASE("sendfile to a connection that is lost meanwhile") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file(numbers(10'000'000));
    Ends ends;
    const auto transport =
        await(loop.create_connection([] { return std::make_shared<asyncio::Protocol>(); },
                                     std::move(ends.first)))
            .first;
    transport.write(std::string(5'000'000, 'b'));
    const auto sending = asyncio::create_task(loop.sendfile(transport, file));
    await(asyncio::sleep(0));
    transport.abort();
    CHECK(thrown_by([&] { await(sending); }) == "ConnectionError('Connection is closed by peer')");
  });
}

TEST_CASE("sendfile of a stream whose connection is lost before the buffered bytes are sent") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file("content");
    Ends ends;
    auto [reader, writer] = await(asyncio::open_connection(std::move(ends.first)));
    writer.write(std::string(5'000'000, 'b'));
    const auto sending = asyncio::create_task(
        [&, transport = writer.transport()] { return await(loop.sendfile(transport, file)); });
    await(asyncio::sleep(0));
    writer.transport().abort();
    await(asyncio::wait({sending}, {.timeout = 60s}));
    REQUIRE(sending.done());
    CHECK(thrown_by([&] { await(sending); }) == "ConnectionError('Connection is closed by peer')");
  });
}

TEST_CASE("sendfile does not go on under the number of a socket that is closed") {
  if (support::lacks_native_sendfile()) return;
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const File file(std::string(50'000'000, 'n'));
    const File other("");
    Ends ends;
    auto [reader, writer] = await(asyncio::open_connection(std::move(ends.first)));
    const auto receiving = asyncio::create_task([&] { return receive(ends.second, 50'000'000); });
    const auto sending = asyncio::create_task(
        [&, transport = writer.transport()] { return await(loop.sendfile(transport, file)); });
    for (int i = 0; i < 6; ++i) await(asyncio::sleep(0));
    const int number = writer.fileno();
    writer.transport().abort();
    while (writer.fileno() >= 0) await(asyncio::sleep(0));
    REQUIRE(::dup2(other.fileno(), number) == number);
    CHECK(thrown_by([&] { await(sending); }) == "ConnectionError('Connection is closed by peer')");
    CHECK(::lseek(number, 0, SEEK_END) == 0);
    ::close(number);
    await(receiving);
  });
}
