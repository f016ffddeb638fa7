#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::Folder;
using support::thrown_by;

namespace {

void shout(StreamReader& reader, StreamWriter& writer) {
  for (std::string line : reader) {
    for (char& c : line) c = static_cast<char>(std::toupper(c));
    writer.write(line);
  }
}

}  // namespace

TEST_CASE("streams over a Unix socket") {
  const Folder folder;
  asyncio::run([&] {
    const std::string path = folder / "socket";
    const auto server = await(asyncio::start_unix_server(shout, path));
    CHECK(server.sockets()[0].getsockname().path() == path);
    CHECK(server.sockets()[0].port() == 0);
    auto [reader, writer] = await(asyncio::open_unix_connection(path));
    CHECK(asyncio::repr(writer.peername()) == "'" + path + "'");
    CHECK(writer.sockname().path().empty());
    writer.write("over here\n");
    CHECK(await(reader.readline()) == "OVER HERE\n");
    writer.write_eof();
    CHECK(await(reader.read()) == "");
  });
}

TEST_CASE("the file of the socket goes with the server, unless it is not wanted or not ours") {
  const Folder folder;
  const std::string path = folder / "socket";
  asyncio::run([&] {
    auto server = await(asyncio::start_unix_server(shout, path));
    CHECK(std::filesystem::is_socket(path));
    server.close();
    CHECK_FALSE(std::filesystem::exists(path));

    server = await(asyncio::start_unix_server(shout, path, {.cleanup_socket = false}));
    server.close();
    CHECK(std::filesystem::is_socket(path));

    // The file is left by the server before, and replaced by the next.
    const auto first = await(asyncio::start_unix_server(shout, path));
    const auto second = await(asyncio::start_unix_server(shout, path));
    first.close();
    CHECK(std::filesystem::is_socket(path));
    second.close();
    CHECK_FALSE(std::filesystem::exists(path));
  });
}

TEST_CASE("names in the abstract namespace need no file") {
  asyncio::run([] {
    const std::string name = std::string(1, '\0') + "fiber-test-" + std::to_string(::getpid());
    const auto server = await(asyncio::start_unix_server(shout, name));
    auto [reader, writer] = await(asyncio::open_unix_connection(name));
    CHECK(writer.peername().path() == name);
    writer.write("a\n");
    CHECK(await(reader.readline()) == "A\n");
  });
}

TEST_CASE("without a path the system chooses a name, and there is none to connect to") {
  asyncio::run([] {
    CHECK(thrown_by([] {
            await(asyncio::open_unix_connection(""));
          }).find("[Errno 22] Invalid argument") != std::string::npos);
    const auto server = await(asyncio::start_unix_server(shout, ""));
    const auto other = await(asyncio::start_unix_server(shout, ""));
    const std::string name = server.sockets().at(0).getsockname().path();
    CHECK(name.size() > 1);
    CHECK(name.starts_with('\0'));
    const auto [reader, writer] = await(asyncio::open_unix_connection(name));
    writer.write("hello\n");
    CHECK(await(reader.readline()) == "HELLO\n");
    writer.close();
    server.close();
    other.close();
    CHECK(fiber::asyncio::SocketAddress::from_path("").path().empty());
  });
}

TEST_CASE("errors of Unix sockets are Python's") {
  const Folder folder;
  asyncio::run([&] {
    CHECK_THROWS_AS(await(asyncio::open_unix_connection(folder / "nothing")),
                    fiber::FileNotFoundError);
    CHECK_THROWS_AS(await(asyncio::start_unix_server(shout, folder / "no/such/directory")),
                    fiber::FileNotFoundError);
    CHECK(thrown_by([] { await(asyncio::open_unix_connection(std::string(200, 'x'))); }) ==
          "OSError('AF_UNIX path too long')");
    const std::string path = folder / "stale";
    {
      const auto server = await(asyncio::start_unix_server(shout, path, {.cleanup_socket = false}));
      server.close();
    }
    CHECK_THROWS_AS(await(asyncio::open_unix_connection(path)), fiber::ConnectionRefusedError);
  });
}

TEST_CASE("a full backlog makes clients wait, not fail") {
  const Folder folder;
  asyncio::run([&] {
    const std::string path = folder / "socket";
    const auto server =
        await(asyncio::start_unix_server(shout, path, {.backlog = 1, .start_serving = false}));
    REQUIRE(::listen(server.sockets()[0].fileno(), 1) == 0);
    std::vector<asyncio::Task<std::string>> clients;
    for (int i = 0; i < 10; ++i)
      clients.push_back(asyncio::create_task([&] {
        auto [reader, writer] = await(asyncio::open_unix_connection(path));
        writer.write("x\n");
        return await(reader.readline());
      }));
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    await(server.start_serving());
    for (const auto& client : clients) CHECK(await(client) == "X\n");
  });
}
