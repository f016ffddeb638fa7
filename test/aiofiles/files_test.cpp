#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace aiofiles = fiber::aiofiles;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::Folder;
using support::numbers;
using support::thrown_by;

TEST_CASE("written data is in the file when it is closed") {
  const Folder folder;
  asyncio::run([&] {
    const aiofiles::File file = await(aiofiles::open(folder / "new", "w"));
    CHECK(await(file.write("one ")) == 4);
    CHECK(await(file.write("two")) == 3);
    CHECK(await(file.tell()) == 7);
    CHECK(folder.content("new").empty());
    await(file.flush());
    CHECK(folder.content("new") == "one two");
    await(file.writelines({" three", " four"}));
    await(file.close());
    await(file.close());
    CHECK(file.closed());
    CHECK(folder.content("new") == "one two three four");
  });
}

TEST_CASE("with() closes the file, though its block throws") {
  const Folder folder;
  asyncio::run([&] {
    aiofiles::File kept;
    const std::string thrown = thrown_by([&] {
      asyncio::with(await(aiofiles::open(folder / "new", "w")), [&](aiofiles::File& file) {
        kept = file;
        await(file.write("half"));
        throw fiber::ValueError("enough");
      });
    });
    CHECK(thrown == "ValueError('enough')");
    CHECK(kept.closed());
    CHECK(folder.content("new") == "half");
  });
}

TEST_CASE("the last reference writes what was kept back, and closes") {
  const Folder folder;
  asyncio::run([&] {
    {
      const aiofiles::File file = await(aiofiles::open(folder / "new", "w"));
      const aiofiles::File copy = file;
      CHECK(copy == file);
      await(copy.write("kept back"));
    }
    CHECK(folder.content("new") == "kept back");
    await(await(aiofiles::open(folder / "new", "a")).write(", and more"));
    CHECK(folder.content("new") == "kept back, and more");
  });
}

TEST_CASE("read gives so many bytes, and the rest without a number") {
  const Folder folder;
  const std::string text = numbers(300'000);
  folder.make("old", text);
  asyncio::run([&] {
    for (const std::size_t buffering : {0UL, 7UL, 4096UL, 1UL << 20U}) {
      CAPTURE(buffering);
      const aiofiles::File file =
          await(aiofiles::open(folder / "old", "rb", {.buffering = buffering}));
      CHECK(await(file.read(0)).empty());
      CHECK(await(file.read(5)) == text.substr(0, 5));
      CHECK(await(file.tell()) == 5);
      CHECK(await(file.read(100'000)) == text.substr(5, 100'000));
      const std::string some = await(file.read1(10));
      CHECK(!some.empty());
      CHECK(some == text.substr(100'005, some.size()));
      std::array<char, 50> place{};
      CHECK(await(file.readinto(place)) == 50);
      CHECK(std::string(place.data(), 50) == text.substr(100'005 + some.size(), 50));
      CHECK(await(file.read()) == text.substr(100'055 + some.size()));
      CHECK(await(file.read()).empty());
      CHECK(await(file.read(10)).empty());
      CHECK(await(file.read1()).empty());
      CHECK(await(file.tell()) == 300'000);
      await(file.close());
    }
  });
}

TEST_CASE("files of the system that have no size are read to their end") {
  asyncio::run([&] {
    const std::string text = await(aiofiles::Path("/proc/self/status").read_text());
    CHECK(text.starts_with("Name:"));
    CHECK(text.ends_with("\n"));
  });
}

TEST_CASE("seek and tell go by what the program has read and written") {
  const Folder folder;
  folder.make("old", "0123456789");
  asyncio::run([&] {
    const aiofiles::File file = await(aiofiles::open(folder / "old", "r+"));
    CHECK(await(file.read(3)) == "012");
    CHECK(await(file.seek(2, SEEK_CUR)) == 5);
    CHECK(await(file.read(1)) == "5");
    CHECK(await(file.seek(1)) == 1);
    CHECK(await(file.write("AB")) == 2);
    CHECK(await(file.tell()) == 3);
    CHECK(await(file.read(2)) == "34");
    CHECK(await(file.seek(-2, SEEK_END)) == 8);
    CHECK(await(file.read()) == "89");
    CHECK(await(file.write("end")) == 3);
    CHECK(await(file.seek(20)) == 20);
    CHECK(await(file.read()).empty());
    CHECK(await(file.write("!")) == 1);
    CHECK(thrown_by([&] { await(file.seek(-1)); }) ==
          "OSError(\"[Errno 22] Invalid argument: '" + folder.path() + "/old'\")");
    CHECK(thrown_by([&] { await(file.seek(0, 9)); }) ==
          "ValueError('invalid whence (9, should be 0, 1 or 2)')");
    CHECK_THROWS_AS(await(file.seek(std::numeric_limits<std::int64_t>::max(), SEEK_CUR)),
                    fiber::OSError);
    CHECK(await(file.tell()) == 21);
    await(file.close());
    CHECK(folder.content("old") == std::string("0AB3456789end\0\0\0\0\0\0\0!", 21));
  });
}

TEST_CASE("truncate cuts where it is told, or at the position, which stays") {
  const Folder folder;
  folder.make("old", "0123456789");
  asyncio::run([&] {
    const aiofiles::File file = await(aiofiles::open(folder / "old", "r+"));
    CHECK(await(file.read(4)) == "0123");
    CHECK(await(file.truncate()) == 4);
    CHECK(await(file.read()).empty());
    CHECK(await(file.truncate(6)) == 6);
    CHECK(await(file.tell()) == 4);
    CHECK(await(file.read()) == std::string(2, '\0'));
    await(file.write("x"));
    CHECK(await(file.truncate(2)) == 2);
    await(file.fsync());
    await(file.close());
    CHECK(folder.content("old") == "01");
  });
}

TEST_CASE("truncate behind appended data cuts nothing, wherever the position was") {
  const Folder folder;
  folder.make("old", "0123456789");
  asyncio::run([&] {
    const aiofiles::File file = await(aiofiles::open(folder / "old", "a+"));
    await(file.seek(0));
    await(file.write("abc"));
    CHECK(await(file.truncate()) == 13);
    CHECK(await(file.tell()) == 13);
    await(file.close());
    CHECK(folder.content("old") == "0123456789abc");
  });
}

TEST_CASE("modes open as Python's do") {
  const Folder folder;
  folder.make("old", "old\n");
  asyncio::run([&] {
    const auto append = await(aiofiles::open(folder / "old", "a+"));
    CHECK(await(append.tell()) == 4);
    await(append.write("more\n"));
    CHECK(await(append.tell()) == 9);
    await(append.seek(0));
    CHECK(await(append.read()) == "old\nmore\n");
    await(append.seek(2));
    await(append.write("end\n"));
    await(append.flush());
    CHECK(await(append.tell()) == 13);
    CHECK(folder.content("old") == "old\nmore\nend\n");
    await(append.close());

    const auto made = await(aiofiles::open(folder / "new", "x"));
    CHECK(made.writable());
    CHECK_FALSE(made.readable());
    CHECK(made.seekable());
    CHECK_FALSE(made.isatty());
    CHECK(made.name() == folder / "new");
    CHECK(made.mode() == "x");
    CHECK(repr(made) == "<aiofiles.File name='" + (folder / "new") + "' mode='x'>");
    await(made.close());
    CHECK_THROWS_AS(await(aiofiles::open(folder / "new", "x")), fiber::FileExistsError);

    await(await(aiofiles::open(folder / "old", "w+")).close());
    CHECK(folder.content("old").empty());

    const auto hidden = await(aiofiles::open(folder / "hidden", "w", {.permissions = 0600}));
    struct stat found {};
    CHECK(::fstat(hidden.fileno(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    CHECK((::fcntl(hidden.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
    await(hidden.close());
  });
}

TEST_CASE("a wrong mode is refused, and so is a wrong path") {
  const Folder folder;
  asyncio::run([&] {
    const auto opened = [&](const std::string& path, const std::string& mode) {
      return thrown_by([&] { await(aiofiles::open(path, mode)); });
    };
    CHECK(opened(folder / "x", "q") == "ValueError(\"invalid mode: 'q'\")");
    CHECK(opened(folder / "x", "rr") == "ValueError(\"invalid mode: 'rr'\")");
    CHECK(opened(folder / "x", "rw") ==
          "ValueError('must have exactly one of create/read/write/append mode')");
    CHECK(opened(folder / "x", "") ==
          "ValueError('must have exactly one of create/read/write/append mode')");
    CHECK(opened(folder / "x", "rbt") == "ValueError(\"can't have text and binary mode at once\")");
    CHECK(opened(std::string("a\0b", 3), "r") == "ValueError('embedded null byte')");
    CHECK(opened("/nowhere/x", "r") ==
          "FileNotFoundError(\"[Errno 2] No such file or directory: '/nowhere/x'\")");
    CHECK(opened("/proc", "r") == "IsADirectoryError(\"[Errno 21] Is a directory: '/proc'\")");
    CHECK(opened("/proc", "w") == "IsADirectoryError(\"[Errno 21] Is a directory: '/proc'\")");
    CHECK(opened("/proc/self/status/x", "r") ==
          "NotADirectoryError(\"[Errno 20] Not a directory: '/proc/self/status/x'\")");
    CHECK(opened("/dev/full", "r").empty());
  });
}

TEST_CASE("a file allows the operations of its mode, and none once it is closed") {
  const Folder folder;
  folder.make("old", "text");
  asyncio::run([&] {
    const auto reader = await(aiofiles::open(folder / "old"));
    CHECK(thrown_by([&] { await(reader.write("x")); }) == "UnsupportedOperation('not writable')");
    CHECK(thrown_by([&] { await(reader.truncate()); }) ==
          "UnsupportedOperation('File not open for writing')");
    const auto writer = await(aiofiles::open(folder / "new", "w"));
    CHECK(thrown_by([&] { await(writer.read()); }) == "UnsupportedOperation('not readable')");
    CHECK(thrown_by([&] { await(writer.readline()); }) == "UnsupportedOperation('not readable')");
    await(reader.close());
    await(writer.close());
    const std::string closed = "ValueError('I/O operation on closed file.')";
    CHECK(thrown_by([&] { await(reader.read()); }) == closed);
    CHECK(thrown_by([&] { await(reader.tell()); }) == closed);
    CHECK(thrown_by([&] { await(writer.write("x")); }) == closed);
    CHECK(thrown_by([&] { await(writer.flush()); }) == closed);
    CHECK(thrown_by([&] { (void)writer.fileno(); }) == closed);
    CHECK(thrown_by([&] { (void)reader.readable(); }) == closed);
    CHECK(thrown_by([&] { await(aiofiles::File().read()); }) ==
          "ValueError('this file handle is null or was moved from')");
  });
}

TEST_CASE("on a full disk both write() and close() fail") {
  asyncio::run([&] {
    const std::string full = "OSError(\"[Errno 28] No space left on device: '/dev/full'\")";
    const auto file = await(aiofiles::open("/dev/full", "w"));
    CHECK(thrown_by([&] { await(file.write("x")); }) == full);
    CHECK(thrown_by([&] { await(file.close()); }) == full);
    CHECK(file.closed());
  });
}

TEST_CASE("calls of several tasks come one after the other") {
  const Folder folder;
  folder.make("old", numbers(200'000));
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "old", "r", {.buffering = 0}));
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(asyncio::create_task([&] { return await(file.read(10'000)); }));
    std::string all;
    for (const std::string& part : await(asyncio::gather(tasks))) all += part;
    CHECK(all == numbers(200'000));
    await(file.close());
  });
}

TEST_CASE("writelines of several tasks are not mixed") {
  const Folder folder;
  const auto lines = [](char letter) {
    return std::vector<std::string>(3, std::string(400, letter));
  };
  asyncio::run([&] {
    for (const std::size_t buffering : {0, 1000}) {
      const auto file = await(aiofiles::open(folder / "new", "w", {.buffering = buffering}));
      std::vector<asyncio::Task<>> tasks;
      for (const char letter : {'a', 'b', 'c'})
        tasks.push_back(
            asyncio::create_task([&, letter] { await(file.writelines(lines(letter))); }));
      await(asyncio::gather(tasks));
      await(file.close());
      CHECK(folder.content("new") ==
            std::string(1200, 'a') + std::string(1200, 'b') + std::string(1200, 'c'));
      CHECK(thrown_by([&] { await(file.writelines({})); }) ==
            "ValueError('I/O operation on closed file.')");
    }
  });
}

TEST_CASE("other tasks run while a file is read, even if all of it is in memory") {
  const Folder folder;
  folder.make("old", numbers(10'000));
  asyncio::run([&] {
    bool ticked = false;
    const auto other = asyncio::create_task([&] { ticked = true; });
    const auto file = await(aiofiles::open(folder / "old"));
    CHECK(ticked);
    for (int i = 0; i < 10; ++i) {
      ticked = false;
      asyncio::get_running_loop().call_soon([&] { ticked = true; });
      await(file.seek(0));
      await(file.read());
      CHECK(ticked);
    }
    await(file.close());
    await(other);
  });
}

TEST_CASE("outside of a task nothing is opened") {
  CHECK(thrown_by([] { await(aiofiles::open("/proc/self/status")); }).find("RuntimeError") == 0);
}

TEST_CASE("pipes are read and written as data comes, and have no position") {
  const Folder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  asyncio::run([&] {
    const auto opening =
        asyncio::create_task([&] { return await(aiofiles::open(folder / "pipe")); });
    const auto writer = await(aiofiles::open(folder / "pipe", "w"));
    const auto reader = await(opening);
    CHECK_FALSE(reader.seekable());
    CHECK(thrown_by([&] { await(reader.tell()); }) ==
          "OSError(\"[Errno 29] Illegal seek: '" + (folder / "pipe") + "'\")");
    CHECK_THROWS_AS(
        await(asyncio::wait_for([&] { await(reader.read(1)); }, std::chrono::milliseconds(1))),
        asyncio::TimeoutError);
    const std::string much = numbers(300'000);  // more than a pipe holds
    const auto sending = asyncio::create_task([&] {
      await(writer.write("line\nrest"));
      await(writer.write(much));
      await(writer.close());
    });
    CHECK(await(reader.readline()) == "line\n");
    CHECK(await(reader.read(4)) == "rest");
    CHECK(await(reader.read()) == much);
    await(sending);
    await(reader.close());
  });
}

TEST_CASE("read(n) takes memory for what there is, not for n") {
  const Folder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const std::string text = numbers(300'000);
  folder.make("file", text);
  constexpr std::ptrdiff_t much = std::ptrdiff_t{1} << 28;
  constexpr std::size_t little = std::size_t{1} << 21;
  asyncio::run([&] {
    const auto sending = asyncio::create_task([&] {
      const auto writer = await(aiofiles::open(folder / "pipe", "w"));
      await(writer.write(text));
      await(writer.close());
    });
    for (const char* name : {"pipe", "file", "/proc/self/status"}) {
      CAPTURE(name);
      const auto reader = await(aiofiles::open(*name == '/' ? name : folder / name));
      const std::string first = await(reader.read(5));
      const std::string rest = await(reader.read(much));
      CHECK(first.size() == 5);
      CHECK((*name == '/' || first + rest == text));
      CHECK(!rest.empty());
      CHECK(rest.capacity() < little);
      CHECK(await(reader.read(much)).empty());
      await(reader.close());
    }
    await(sending);
  });
}

TEST_CASE("writing to a pipe that nobody reads is an error, and no signal") {
  const Folder folder;
  const std::string path = folder / "pipe";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  asyncio::run([&] {
    const aiofiles::File file = await(aiofiles::open(path, "w"));
    await(file.write("read by nobody"));
    ::close(reader);
    CHECK_THROWS_AS(await(file.write("more")), fiber::BrokenPipeError);
    CHECK_THROWS_AS(await(file.close()), fiber::BrokenPipeError);
    CHECK(file.closed());
  });
}
