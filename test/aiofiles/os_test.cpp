#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace asyncio = fiber::asyncio;
namespace os = fiber::aiofiles::os;
using asyncio::await;
using support::Folder;
using support::thrown_by;

TEST_CASE("stat() gives the fields of the system call") {
  const Folder folder;
  const std::string path = folder.make("old", "12345");
  REQUIRE(::symlink("old", (folder / "link").c_str()) == 0);
  asyncio::run([&] {
    struct stat expected {};
    REQUIRE(::stat(path.c_str(), &expected) == 0);
    const struct stat found = await(os::stat(path));
    CHECK(found.st_dev == expected.st_dev);
    CHECK(found.st_ino == expected.st_ino);
    CHECK(found.st_mode == expected.st_mode);
    CHECK(found.st_nlink == expected.st_nlink);
    CHECK(found.st_uid == expected.st_uid);
    CHECK(found.st_gid == expected.st_gid);
    CHECK(found.st_size == 5);
    CHECK(found.st_blocks == expected.st_blocks);
    CHECK(found.st_mtim.tv_sec == expected.st_mtim.tv_sec);
    CHECK(found.st_mtim.tv_nsec == expected.st_mtim.tv_nsec);
    CHECK(await(os::stat(folder / "link")).st_ino == found.st_ino);
    CHECK(S_ISLNK(await(os::lstat(folder / "link")).st_mode));
    CHECK(thrown_by([&] { await(os::stat("/nowhere")); }) ==
          "FileNotFoundError(\"[Errno 2] No such file or directory: '/nowhere'\")");
    CHECK(thrown_by([&] { await(os::stat(std::string("a\0b", 3))); }) ==
          "ValueError('embedded null byte')");
  });
}

TEST_CASE("files and directories are made, renamed and removed") {
  const Folder folder;
  asyncio::run([&] {
    folder.make("a", "A");
    folder.make("b", "B");
    await(os::rename(folder / "a", folder / "b"));
    CHECK(folder.content("b") == "A");
    CHECK_FALSE(await(os::path::exists(folder / "a")));
    CHECK(thrown_by([&] { await(os::replace(folder / "a", folder / "c")); }) ==
          "FileNotFoundError(\"[Errno 2] No such file or directory: '" + (folder / "a") + "' -> '" +
              (folder / "c") + "'\")");

    await(os::mkdir(folder / "d", 0700));
    CHECK((await(os::stat(folder / "d")).st_mode & 0777) == 0700);
    CHECK_THROWS_AS(await(os::mkdir(folder / "d")), fiber::FileExistsError);
    CHECK_THROWS_AS(await(os::unlink(folder / "d")), fiber::OSError);
    CHECK_THROWS_AS(await(os::rmdir(folder / "b")), fiber::NotADirectoryError);
    await(os::makedirs(folder / "d/e/f/"));
    CHECK(await(os::path::isdir(folder / "d/e/f")));
    CHECK_THROWS_AS(await(os::makedirs(folder / "d/e/f")), fiber::FileExistsError);
    await(os::makedirs(folder / "d/e/f", {.exist_ok = true}));
    await(os::makedirs(folder / "d/e/f/g/."));
    CHECK_THROWS_AS(await(os::makedirs(folder / "d/e/f/g/.")), fiber::FileExistsError);
    await(os::rmdir(folder / "d/e/f/g"));
    CHECK_THROWS_AS(await(os::makedirs(folder / "b", {.exist_ok = true})), fiber::FileExistsError);
    CHECK(thrown_by([&] { await(os::rmdir(folder / "d")); }) ==
          "OSError(\"[Errno 39] Directory not empty: '" + (folder / "d") + "'\")");
    await(os::rmdir(folder / "d/e/f"));
    await(os::remove(folder / "b"));
    CHECK_THROWS_AS(await(os::unlink(folder / "b")), fiber::FileNotFoundError);
  });
}

TEST_CASE("makedirs below a link to nothing tells what is not there") {
  const Folder folder;
  asyncio::run([&] {
    await(os::symlink("nowhere", folder / "link"));
    for (const bool exist_ok : {false, true}) {
      for (const std::string below : {"link/x", "link/x/y"})
        CHECK(thrown_by([&] { await(os::makedirs(folder / below, {.exist_ok = exist_ok})); }) ==
              "FileNotFoundError(\"[Errno 2] No such file or directory: '" + (folder / "link/x") +
                  "'\")");
      CHECK(thrown_by([&] { await(os::makedirs(folder / "link", {.exist_ok = exist_ok})); }) ==
            "FileExistsError(\"[Errno 17] File exists: '" + (folder / "link") + "'\")");
      CHECK_NOTHROW(await(os::makedirs(folder / "link/.", {.exist_ok = exist_ok})));
    }
    await(os::unlink(folder / "link"));
  });
}

TEST_CASE("links, modes and lengths") {
  const Folder folder;
  folder.make("a", "12345");
  const std::string far(300, 'x');
  asyncio::run([&] {
    await(os::symlink("a", folder / "soft"));
    await(os::symlink(far, folder / "far"));
    await(os::link(folder / "a", folder / "hard"));
    CHECK(await(os::readlink(folder / "soft")) == "a");
    CHECK(await(os::readlink(folder / "far")) == far);
    CHECK(thrown_by([&] { await(os::readlink(folder / "a")); }) ==
          "OSError(\"[Errno 22] Invalid argument: '" + (folder / "a") + "'\")");
    CHECK_THROWS_AS(await(os::link(folder / "none", folder / "x")), fiber::FileNotFoundError);
    CHECK(await(os::path::samefile(folder / "soft", folder / "hard")));
    CHECK(await(os::path::islink(folder / "soft")));
    CHECK(await(os::path::islink(folder / "far")));
    CHECK_FALSE(await(os::path::exists(folder / "far")));
    CHECK(await(os::path::isfile(folder / "soft")));
    CHECK_FALSE(await(os::path::isdir(folder / "soft")));
    await(os::truncate(folder / "hard", 2));
    CHECK(await(os::path::getsize(folder / "a")) == 2);
    await(os::chmod(folder / "a", 0640));
    CHECK((await(os::stat(folder / "a")).st_mode & 0777) == 0640);
    CHECK(await(os::access(folder / "a", R_OK)));
    CHECK_FALSE(await(os::access(folder / "none", F_OK)));
  });
}

TEST_CASE("scandir tells the kind of each entry") {
  const Folder folder;
  folder.make("file", "x");
  asyncio::run([&] {
    await(os::mkdir(folder / "dir"));
    await(os::symlink("file", folder / "to-file"));
    await(os::symlink("dir", folder / "to-dir"));
    await(os::symlink("none", folder / "to-none"));
    std::vector<std::string> seen;
    for (const os::DirEntry& entry : await(os::scandir(folder.path()))) {
      CHECK(entry.path() == folder / entry.name());
      CHECK(entry.inode() == await(os::lstat(entry.path())).st_ino);
      seen.push_back(entry.name() + (entry.is_file() ? " file" : "") +
                     (entry.is_dir() ? " dir" : "") + (entry.is_symlink() ? " link" : ""));
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen == std::vector<std::string>{"dir dir", "file file", "to-dir dir link",
                                           "to-file file link", "to-none link"});
    std::vector<std::string> names = await(os::listdir(folder.path()));
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"dir", "file", "to-dir", "to-file", "to-none"});
    CHECK_THROWS_AS(await(os::scandir(folder / "file")), fiber::NotADirectoryError);
    CHECK_THROWS_AS(await(os::listdir(folder / "none")), fiber::FileNotFoundError);
  });
}

TEST_CASE("atomic_write replaces a file in one step, and leaves nothing beside it") {
  const Folder folder;
  asyncio::run([&] {
    const std::string path = folder / "settings";
    await(os::atomic_write(path, "one", {.permissions = 0600}));
    CHECK(folder.content("settings") == "one");
    CHECK((await(os::stat(path)).st_mode & 0777) == 0600);
    await(os::chmod(path, 0644));
    await(os::atomic_write(path, "two", {.durable = false}));
    CHECK(folder.content("settings") == "two");
    CHECK((await(os::stat(path)).st_mode & 0777) == 0644);

    // A reader that has the old file open goes on reading it.
    const auto reader = await(fiber::aiofiles::open(path));
    await(os::atomic_write(path, "three"));
    CHECK(await(reader.read()) == "two");
    await(reader.close());

    await(os::mkdir(folder / "dir"));
    CHECK_THROWS_AS(await(os::atomic_write(folder / "dir", "x")), fiber::IsADirectoryError);
    CHECK_THROWS_AS(await(os::atomic_write(folder / "none/x", "x")), fiber::FileNotFoundError);
    const auto writing = asyncio::create_task([&] { await(os::atomic_write(path, "four")); });
    await(asyncio::sleep(0));
    writing.cancel();
    CHECK_THROWS_AS(await(writing), asyncio::CancelledError);
  });
  // The cancelled write may have come to any point when the loop has ended.
  const std::string left = folder.content("settings");
  CHECK((left == "three" || left == "four"));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"dir", "settings"});
}
