// Programs with fibers on top of other allocators, preloaded.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
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

// Runs this program's other tests, in a process with the allocator preloaded.
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
      FAIL_CHECK("not built: ", std::string(program));
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

const char* const kJemalloc = "libjemalloc.so.2";
const char* const kMimalloc = "libmimalloc.so.2.0";

}  // namespace

TEST_CASE("jemalloc") {
  if (found(kJemalloc).empty() && found(kMimalloc).empty()) {
    std::cout << "SKIP: libjemalloc2 or libmimalloc2.0 is missing" << std::endl;
    std::_Exit(77);
  }
  run_with(kJemalloc);
}

TEST_CASE("mimalloc") { run_with(kMimalloc); }
