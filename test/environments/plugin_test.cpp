// The library as a part of a plugin, in a program whose main does not use the library.
#include <fiber/config.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <dlfcn.h>

#include "support/child_process.hpp"

namespace {

std::string built_directory() {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  return std::string(root != nullptr ? root : ".") + "/test/";
}

std::string host(const std::string& mode) {
  const std::string directory = built_directory();
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

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // the sanitizers have the signal stack
TEST_CASE("two copies of the library are found out where one is used in a fiber of the other") {
  const std::string path = built_directory() + "plugin.so";
  const auto said = [&](bool in_a_fiber) {
    return support::run_forked([&] {
      void* plugin = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (plugin == nullptr) std::puts(::dlerror());
      const auto answer = reinterpret_cast<int (*)()>(::dlsym(plugin, "plugin_answer"));
      fiber::getcurrent();
      if (in_a_fiber)
        fiber::greenlet([&] { std::printf("%d\n", answer()); }).switch_();
      else
        std::printf("%d\n", answer());
      std::fflush(stdout);
      ::_exit(0);
    });
  };
  auto ended = said(false);
  CHECK(ended.out() == "42\n");
  CHECK(ended.errors == "");
  ended = said(true);
  CHECK(ended.out() == "42\n");
  CHECK(ended.errors.starts_with("fiber: two copies of the library are in this process, in "));
  CHECK(ended.errors.find("/plugin.so, and one is used in a fiber of the other") !=
        std::string::npos);
}
#endif
