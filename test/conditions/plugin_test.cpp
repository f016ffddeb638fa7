// The library as a part of a plugin, in a program whose main knows nothing of it.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "support/child_process.hpp"

namespace {

std::string host(const std::string& mode) {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string directory = std::string(root != nullptr ? root : ".") + "/test/";
  const support::ChildResult result = support::run_child(
      {.program = directory + "plugin_host", .arguments = {directory + "plugin.so", mode}});
  return result.out() + result.errors + "status " + std::to_string(result.status);
}

}  // namespace

TEST_CASE("a plugin is loaded, used and let go by the main thread") {
  CHECK(host("main") == "answer 42\nanswer 42\nanswer 42\nstatus 0");
}

TEST_CASE("when the threads that used it have ended the plugin is unloaded, and loaded again") {
  CHECK(host("threads") == "wrong answers 0, loaded still 0\nstatus 0");
}

TEST_CASE("once it is unloaded the program's own fault handler is back") {
  CHECK(host("faults") == "wrong answers 0, loaded still 0\nthe program's own handler\nstatus 0");
}
