#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace aiofiles = fiber::aiofiles;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::Folder;

namespace {

using Lines = std::vector<std::string>;

const Lines kLines{"first\n", "\n", std::string(1000, 'x') + "\n", "with \r\n", "last"};

std::string joined() {
  std::string text;
  for (const std::string& line : kLines) text += line;
  return text;
}

}  // namespace

TEST_CASE("readline gives a line with its end, whatever is read at a time") {
  const Folder folder;
  folder.make("old", joined());
  asyncio::run([&] {
    for (const std::size_t buffering : {0UL, 1UL, 6UL, 100UL, 65'536UL}) {
      CAPTURE(buffering);
      const auto file = await(aiofiles::open(folder / "old", "r", {.buffering = buffering}));
      Lines lines;
      for (std::string line; !(line = await(file.readline())).empty();) lines.push_back(line);
      CHECK(lines == kLines);
      CHECK(await(file.readline()).empty());
      await(file.close());
    }
  });
}

TEST_CASE("a limit cuts a line, and the next call goes on with it") {
  const Folder folder;
  folder.make("old", "12345\n6\n");
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "old"));
    CHECK(await(file.readline(2)) == "12");
    CHECK(await(file.readline(0)).empty());
    CHECK(await(file.readline(4)) == "345\n");
    CHECK(await(file.tell()) == 6);
    CHECK(await(file.readline(100)) == "6\n");
    CHECK(await(file.readline(100)).empty());
    await(file.close());
  });
}

TEST_CASE("a file is a range of lines") {
  const Folder folder;
  folder.make("old", joined());
  folder.make("empty", "");
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "old"));
    CHECK(await(file.readline()) == kLines[0]);
    Lines lines{kLines[0]};
    for (const std::string& line : file) {
      lines.push_back(line);
      await(asyncio::sleep(0));
    }
    CHECK(lines == kLines);
    await(file.seek(0));
    CHECK(await(file.readlines()) == kLines);
    CHECK(await(file.readlines()).empty());
    await(file.close());
    const auto empty = await(aiofiles::open(folder / "empty"));
    for (const std::string& line : empty) FAIL(line);
    await(empty.close());
  });
}

TEST_CASE("lines that are read are written again") {
  const Folder folder;
  folder.make("old", joined());
  asyncio::run([&] {
    asyncio::with(await(aiofiles::open(folder / "old")), [&](aiofiles::File& from) {
      asyncio::with(await(aiofiles::open(folder / "new", "w")), [&](aiofiles::File& to) {
        for (std::string& line : from) await(to.write(std::move(line)));
      });
    });
  });
  CHECK(folder.content("new") == joined());
}
