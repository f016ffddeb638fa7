#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using fiber::aiofiles::Path;
using support::Folder;
using support::numbers;

TEST_CASE("a path is taken apart without looking at the disk") {
  const Path path = Path("/srv") / "data" / "log.tar.gz";
  CHECK(path.str() == "/srv/data/log.tar.gz");
  CHECK(path.name() == "log.tar.gz");
  CHECK(path.stem() == "log.tar");
  CHECK(path.suffix() == ".gz");
  CHECK(path.parent() == Path("/srv/data"));
  CHECK(path.with_suffix(".xz").name() == "log.tar.xz");
  CHECK(path.with_name("new") == Path("/srv/data/new"));
  CHECK(path.is_absolute());
  CHECK_FALSE(Path("a").is_absolute());
  CHECK(Path("a") < Path("b"));
  CHECK(repr(path) == "Path('/srv/data/log.tar.gz')");
  std::ostringstream text;
  text << path;
  CHECK(text.str() == path.str());
}

TEST_CASE("a path is taken apart as in pathlib, however it is written") {
  struct Parts {
    std::string given, text, name, stem, suffix, parent;
    bool absolute;
  };
  const Parts all[] = {
      {"", ".", "", "", "", ".", false},
      {".", ".", "", "", "", ".", false},
      {"..", "..", "..", "..", "", ".", false},
      {"/", "/", "", "", "", "/", true},
      {"//", "//", "", "", "", "//", true},
      {"///", "/", "", "", "", "/", true},
      {"///a", "/a", "a", "a", "", "/", true},
      {"//a", "//a", "a", "a", "", "//", true},
      {"//a/b", "//a/b", "b", "b", "", "//a", true},
      {"a", "a", "a", "a", "", ".", false},
      {"a/", "a", "a", "a", "", ".", false},
      {"a//b", "a/b", "b", "b", "", "a", false},
      {"a/b", "a/b", "b", "b", "", "a", false},
      {"a/b/", "a/b", "b", "b", "", "a", false},
      {"a/.", "a", "a", "a", "", ".", false},
      {"a/./b", "a/b", "b", "b", "", "a", false},
      {"a/..", "a/..", "..", "..", "", "a", false},
      {"a/../b", "a/../b", "b", "b", "", "a/..", false},
      {"./a", "a", "a", "a", "", ".", false},
      {"./", ".", "", "", "", ".", false},
      {"../a", "../a", "a", "a", "", "..", false},
      {"../..", "../..", "..", "..", "", "..", false},
      {".bashrc", ".bashrc", ".bashrc", ".bashrc", "", ".", false},
      {"a.b.c", "a.b.c", "a.b.c", "a.b", ".c", ".", false},
      {"a.", "a.", "a.", "a.", "", ".", false},
      {"b.", "b.", "b.", "b.", "", ".", false},
      {".a.b", ".a.b", ".a.b", ".a", ".b", ".", false},
      {"..a", "..a", "..a", ".", ".a", ".", false},
      {"...", "...", "...", "...", "", ".", false},
      {"a..b", "a..b", "a..b", "a.", ".b", ".", false},
      {"a...", "a...", "a...", "a...", "", ".", false},
      {"/.", "/", "", "", "", "/", true},
      {"/..", "/..", "..", "..", "", "/", true},
      {"/./a", "/a", "a", "a", "", "/", true},
      {"/a", "/a", "a", "a", "", "/", true},
      {"/a/", "/a", "a", "a", "", "/", true},
      {"/a/b", "/a/b", "b", "b", "", "/a", true},
      {"/a//b//", "/a/b", "b", "b", "", "/a", true},
      {"/a/.", "/a", "a", "a", "", "/", true},
      {"a/.b", "a/.b", ".b", ".b", "", "a", false},
      {"a/b.", "a/b.", "b.", "b.", "", "a", false},
      {"a/b.c/", "a/b.c", "b.c", "b", ".c", "a", false},
      {"a/b.tar.gz", "a/b.tar.gz", "b.tar.gz", "b.tar", ".gz", "a", false},
      {"/a/b.tar.gz", "/a/b.tar.gz", "b.tar.gz", "b.tar", ".gz", "/a", true},
      {" ", " ", " ", " ", "", ".", false},
      {"a b/c d", "a b/c d", "c d", "c d", "", "a b", false},
      {"-", "-", "-", "-", "", ".", false},
      {"~", "~", "~", "~", "", ".", false},
      {"a\\b", "a\\b", "a\\b", "a\\b", "", ".", false},
      {".a.", ".a.", ".a.", ".a.", "", ".", false},
      {"..b.", "..b.", "..b.", "..b.", "", ".", false},
      {"./.", ".", "", "", "", ".", false},
      {"././a/.", "a", "a", "a", "", ".", false},
      {"/../a", "/../a", "a", "a", "", "/..", true},
      {"//..", "//..", "..", "..", "", "//", true},
      {"a.b/", "a.b", "a.b", "a", ".b", ".", false},
      {"a.b/.", "a.b", "a.b", "a", ".b", ".", false},
      {"x/.hid.txt", "x/.hid.txt", ".hid.txt", ".hid", ".txt", "x", false},
      {"1.2.3/4", "1.2.3/4", "4", "4", "", "1.2.3", false},
      {".../a", ".../a", "a", "a", "", "...", false},
  };
  for (const Parts& parts : all) {
    CAPTURE(parts.given);
    const Path path(parts.given);
    CHECK(path.str() == parts.text);
    CHECK(path.name() == parts.name);
    CHECK(path.stem() == parts.stem);
    CHECK(path.suffix() == parts.suffix);
    CHECK(path.parent().str() == parts.parent);
    CHECK(path.is_absolute() == parts.absolute);
    CHECK(path == Path(parts.text));
    CHECK(path == Path(std::filesystem::path(parts.given)));
  }
  CHECK(Path() == Path("."));
}

TEST_CASE("paths are joined, renamed and ordered as in pathlib") {
  struct Call {
    std::string path, argument, result;
  };
  for (const Call& call : std::vector<Call>{
           {"a", "", "a"},
           {"", "a", "a"},
           {"", "", "."},
           {"a", ".", "a"},
           {"a", "..", "a/.."},
           {"a", "/b", "/b"},
           {"a", "//b", "//b"},
           {"a", "///b", "/b"},
           {"/", "a", "/a"},
           {"//", "a", "//a"},
           {"//", ".", "//"},
           {"/", "", "/"},
           {"a/", "b/", "a/b"},
           {"a", "b/../c", "a/b/../c"},
           {".", "./b", "b"},
       }) {
    CAPTURE(call.path);
    CAPTURE(call.argument);
    CHECK((Path(call.path) / call.argument).str() == call.result);
  }
  // A "!" begins the text of a ValueError.
  const auto outcome = [](auto call) {
    try {
      return call().str();
    } catch (const fiber::ValueError& error) {
      return "!" + std::string(error.what());
    }
  };
  for (const Call& call : std::vector<Call>{
           {"a", "b", "b"},
           {"/a/b", "c.d", "/a/c.d"},
           {"a/", "b", "b"},
           {"..", "b", "b"},
           {"a", "b/", "!Invalid name 'b/'"},
           {"a", "/b", "!Invalid name '/b'"},
           {"a", "b/c", "!Invalid name 'b/c'"},
           {"a", "", "!Invalid name ''"},
           {"a", ".", "!Invalid name '.'"},
           {"a", "..", ".."},
           {"", "b", "!Path('.') has an empty name"},
           {"/", "b", "!Path('/') has an empty name"},
           {".", "b", "!Path('.') has an empty name"},
           {"//a", "b", "//b"},
       }) {
    CAPTURE(call.path);
    CHECK(outcome([&] { return Path(call.path).with_name(call.argument); }) == call.result);
  }
  for (const Call& call : std::vector<Call>{
           {"a", ".x", "a.x"},
           {"a.b", ".x", "a.x"},
           {"a.b", "", "a"},
           {"a.b.c", ".x", "a.b.x"},
           {"a.", ".x", "a..x"},
           {".a", ".x", ".a.x"},
           {"..", ".x", "...x"},
           {"a.b/", ".x", "a.x"},
           {"/a.b/c", ".x", "/a.b/c.x"},
           {"a", "x", "!Invalid suffix 'x'"},
           {"a", ".", "!Invalid suffix '.'"},
           {"a", ".x/y", "!Invalid suffix '.x/y'"},
           {"a", "/", "!Invalid suffix '/'"},
           {"a", "..", "a.."},
           {"a", ".x.y", "a.x.y"},
           {"", ".x", "!Path('.') has an empty name"},
           {"/", ".x", "!Path('/') has an empty name"},
           {"..a", ".x", "..x"},
           {"..a", "", "!Invalid name '.'"},
       }) {
    CAPTURE(call.path);
    CHECK(outcome([&] { return Path(call.path).with_suffix(call.argument); }) == call.result);
  }
  const std::vector<Path> ordered = {"/a", "..",  "A",   "a",  "a/b", "a/b/c",
                                     "a!", "a!b", "a.b", "aa", "b",   "\xc3\xa9"};
  std::vector<Path> sorted(ordered.rbegin(), ordered.rend());
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == ordered);
  CHECK(Path("/a") != Path("//a"));
}

TEST_CASE("whole files are read and written") {
  const Folder folder;
  asyncio::run([&] {
    const Path path = Path(folder.path()) / "file";
    const std::string much = numbers(3'000'000);
    CHECK(await(path.write_bytes(much)) == much.size());
    CHECK(await(path.read_bytes()) == much);
    CHECK(await(path.write_text("short")) == 5);
    CHECK(await(path.read_text()) == "short");
    await(path.write_atomic("other"));
    CHECK(await(path.read_text()) == "other");
    CHECK_THROWS_AS(await((path / "x").read_text()), fiber::NotADirectoryError);
    CHECK_THROWS_AS(await(path.with_name("none").read_text()), fiber::FileNotFoundError);
    const auto file = await(path.open("a"));
    await(file.write("!"));
    await(file.close());
    CHECK(await(path.read_text()) == "other!");
  });
}

TEST_CASE("a path asks the file system") {
  const Folder folder;
  asyncio::run([&] {
    const Path root(folder.path());
    await((root / "a" / "b").mkdir({.parents = true}));
    await((root / "a").mkdir({.exist_ok = true}));
    CHECK_THROWS_AS(await((root / "a").mkdir()), fiber::FileExistsError);
    CHECK_THROWS_AS(await((root / "x" / "y").mkdir()), fiber::FileNotFoundError);
    await((root / "f").touch());
    await((root / "f").touch());
    CHECK_THROWS_AS(await((root / "f").touch({.exist_ok = false})), fiber::FileExistsError);
    CHECK_THROWS_AS(await((root / "f").mkdir({.exist_ok = true})), fiber::FileExistsError);
    CHECK(await((root / "f").is_file()));
    CHECK(await((root / "a").is_dir()));
    CHECK(await((root / "f").stat()).st_size == 0);
    await((root / "l").symlink_to("f"));
    CHECK(await((root / "l").is_symlink()));
    CHECK(await((root / "l").readlink()) == Path("f"));
    await((root / "h").hardlink_to(root / "f"));
    CHECK(await((root / "h").samefile(root / "f")));
    std::vector<Path> entries = await(root.iterdir());
    std::sort(entries.begin(), entries.end());
    CHECK(entries == std::vector<Path>{root / "a", root / "f", root / "h", root / "l"});
    CHECK(await((root / "h").rename(root / "i")) == root / "i");
    CHECK(await((root / "i").replace(root / "f")) == root / "f");
    await((root / "none").unlink({.missing_ok = true}));
    CHECK_THROWS_AS(await((root / "none").unlink()), fiber::FileNotFoundError);
    await((root / "f").unlink());
    CHECK_FALSE(await((root / "f").exists()));
    await((root / "a" / "b").rmdir());
    CHECK_FALSE(await((root / "a" / "b").exists()));
  });
}
