// Files: on threads of the executor, and by io_uring where the kernel has it.
#include "files.hpp"
#include "harness.hpp"

#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::content_of;
using faults::folder;
using faults::require;

namespace {

// Writes and reads files. Files that a run with a fault has left do no harm.
void use_files() {
  const std::string name = folder() / "file";
  const std::string much = support::numbers(20'000);
  asyncio::with(await(aiofiles::open(name, "w+", {.buffering = 1000})), [&](aiofiles::File& file) {
    await(file.write("first\n"));
    await(file.write(much));
    await(file.fsync());
    await(file.seek(0));
    require(await(file.readline()) == "first\n", "a line");
    require(await(file.read()) == much, "the rest");
    await(file.truncate(3));
  });
  require(await(aiofiles::os::path::getsize(name)) == 3, "a size");
  await(aiofiles::os::atomic_write(folder() / "other", "whole"));
  require(await(aiofiles::Path(folder() / "other").read_text()) == "whole", "a text");
  await(aiofiles::os::rename(folder() / "other", folder() / "another"));
  await(aiofiles::os::makedirs(folder() / "a/b", {.exist_ok = true}));
  await(aiofiles::os::listdir(folder().path()));
  await(aiofiles::os::unlink(folder() / "another"));
}

// Calls of several tasks, one of which is taken back.
void use_one_file_together() {
  const std::string name = folder() / "together";
  const auto file = await(aiofiles::open(name, "w", {.buffering = 0}));
  asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
    for (int i = 0; i < 3; ++i) (void)group.create_task([&] { await(file.write("abc")); });
  });
  auto cancelled = asyncio::create_task([file] { await(file.write("abc")); });
  await(asyncio::sleep(0));
  cancelled.cancel();
  try {
    await(cancelled);
  } catch (const asyncio::CancelledError&) {
  }
  await(file.close());
  require(await(aiofiles::os::path::getsize(name)) == 12, "all that was written");
}

bool is_known(const std::string& name) {
  return name == "file" || name == "together" || name == "other" || name == "another" ||
         name == "a";
}

// Checks that failed calls have left no file under an unknown name, and none that is half written.
// Waits first: a thread may still work on a file, if its loop had no memory to wait for it.
void check_folder() {
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    names = await(aiofiles::os::listdir(folder().path()));
    if (std::all_of(names.begin(), names.end(), is_known)) break;
    await(asyncio::sleep(1ms));
  }
  for (const std::string& name : names) {
    require(is_known(name), "a file that nobody has asked for");
    require(!name.ends_with("other") || content_of(name) == "whole", "half of a text");
  }
}

void run() {
  asyncio::run([] {
    check_folder();
    use_files();
    use_one_file_together();
  });
}

void prepare_threads() {
  ::setenv("FIBER_AIOFILES", "executor", 1);
  run();
}

// Without a ring, or where one fails, threads do the work.
void prepare_ring() {
  ::setenv("FIBER_AIOFILES", "auto", 1);
  run();
}

}  // namespace

FAULTS_SCENARIO(aiofiles_ring, prepare_ring) { run(); }

FAULTS_SCENARIO(aiofiles_threads, prepare_threads) { run(); }
