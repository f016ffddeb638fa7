#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <algorithm>
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
