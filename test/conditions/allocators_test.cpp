// Programs with fibers on top of other allocators, preloaded.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "support/child_process.hpp"

namespace fs = std::filesystem;

namespace {

std::string found(const std::string& library) {
  for (const char* directory :
       {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/aarch64-linux-gnu"})
    if (fs::path path = fs::path(directory) / library; fs::exists(path)) return path;
  return "";
}

// Its own tests, in a process of their own.
void run_with(const std::string& allocator) {
  const std::string library = found(allocator);
  if (library.empty()) {
    MESSAGE("not installed, so not tested: ", allocator);
    return;
  }
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  for (const char* program : {"greenlet-kill_test", "generator-lifetime_test", "asyncio-flow_test",
                              "concurrent-thread_test"}) {
    const std::string path = std::string(root != nullptr ? root : ".") + "/test/" + program;
    if (!fs::exists(path)) {
      MESSAGE("not built, so not tested: ", std::string(program));
      continue;
    }
    const support::ChildResult result = support::run_child(
        {.program = "/usr/bin/env", .arguments = {"LD_PRELOAD=" + library, path}});
    CAPTURE(path);
    CAPTURE(result.out());
    CAPTURE(result.errors);
    CHECK(result.status == 0);
  }
}

}  // namespace

TEST_CASE("jemalloc") { run_with("libjemalloc.so.2"); }

TEST_CASE("mimalloc") { run_with("libmimalloc.so.2.0"); }
