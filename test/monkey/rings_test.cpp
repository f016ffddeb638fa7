// Calls on files in a program that uses aiofiles: io_uring carries them out, where there is one.
#include <fiber/aiofiles.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "monkey/files.hpp"
#include "support/child_process.hpp"

using namespace monkey_test;

namespace {

void on_each_backend(void (*body)()) {
  const char* given = std::getenv("FIBER_AIOFILES");
  const std::string before = given != nullptr ? given : "";
  for (const char* wanted : {"auto", "executor"}) {
    ::setenv("FIBER_AIOFILES", wanted, 1);
    const std::string backend = asyncio::run([] { return fiber::aiofiles::backend(); });
    CAPTURE(backend);
    MESSAGE("calls are carried out by ", backend);
    body();
  }
  if (given != nullptr)
    ::setenv("FIBER_AIOFILES", before.c_str(), 1);
  else
    ::unsetenv("FIBER_AIOFILES");
}

}  // namespace

TEST_CASE("reading gives what is there, from memory and from the disk") {
  on_each_backend(read_in_every_way);
}

TEST_CASE("fsync and fdatasync") {
  on_each_backend([] {
    // A ring may be done at once.
    const std::string events = sync_while_others_run();
    CHECK(std::count(events.begin(), events.end(), ' ') == 3);
  });
}

TEST_CASE("a cancelled call waits to its end, and its task is cancelled afterwards") {
  on_each_backend(cancel_what_is_under_way);
}

TEST_CASE("calls go on when a task closes all descriptors") {
  const support::ChildResult child = support::run_child({.body = [] {
    run([] {
      const fiber::aiofiles::Path path("/proc/self/stat");
      await(path.read_text());
      calls::closefrom(3);
      const std::string text = await(fiber::aiofiles::Path("/proc/self/comm").read_text());
      std::_Exit(text.empty() ? 1 : 0);
    });
  }});
  CHECK(child.errors == "");
  CHECK(child.status == 0);
}
