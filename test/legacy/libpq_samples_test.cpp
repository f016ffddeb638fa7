// The four programs of the README's "Embedding in legacy code", as their users run them.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "legacy/postgres.hpp"
#include "support/child_process.hpp"

using namespace legacy_test;

namespace {

struct Program {
  std::string name;
  std::string before;  // the ten shops
  std::string after;
};

std::string shops() {
  std::string text;
  for (int shop = 1; shop <= 10; ++shop)
    text += "shop " + std::to_string(shop) + ": " + std::to_string(shop * (shop + 1) / 2) + "\n";
  return text;
}

}  // namespace

TEST_CASE("a blocking program becomes concurrent in three steps") {
  const Postgres server;
  const std::vector<Program> programs{
      {"libpq_blocking", "", "one after another: yes\n"},
      {"libpq_in_a_loop", "", "one after another: yes\nothers ran meanwhile: yes\n"},
      {"libpq_together", "", "one after another: no\n"},
      {"libpq_bounded", "shop 0: no answer\n", "one after another: no\n"},
  };
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  for (const Program& program : programs) {
    CAPTURE(program.name);
    const std::string path = std::string(root != nullptr ? root : ".") + "/samples/" + program.name;
    if (!std::filesystem::exists(path)) {
      MESSAGE("not built, so not tested: ", program.name);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    const auto result =
        support::run_children({{.program = path, .arguments = {server.address()}}}, 1).at(0);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("legacy: %s: 10 queries of 0.2 s each: %.3f s in all\n", program.name.c_str(),
                took.count());
    CHECK(result.out() == program.before + shops() + program.after);
    CHECK(result.errors == "");
    CHECK(result.status == 0);
  }
}
