// The four programs of the README's "Embedding in legacy code".
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "unmodified_libraries/postgres.hpp"
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

std::string source(const std::string& path) {
  const char* root = std::getenv("FIBER_SOURCE_ROOT");
  return text_of(std::string(root != nullptr ? root : ".") + "/" + path);
}

// Returns a line without white space and without its comment.
std::string squeezed(const std::string& line) {
  std::string rest;
  for (const char c : line.substr(0, line.find("//")))
    if (c != ' ' && c != '\n') rest += c;
  return rest;
}

}  // namespace

TEST_CASE("what the README shows of the three steps is in the programs") {
  std::string programs;
  for (const char* name : {"blocking", "in_a_loop", "together", "bounded"}) {
    std::istringstream file(source(std::string("samples/legacy/libpq_") + name + ".cpp"));
    for (std::string line; std::getline(file, line);) programs += squeezed(line);
  }
  const std::string readme = source("README.md");
  const auto begin = readme.find("## Embedding in legacy code");
  REQUIRE(begin != std::string::npos);
  const auto end = readme.find("[fiber/monkey/README.md]", begin);
  REQUIRE(end != std::string::npos);
  std::istringstream section(readme.substr(begin, end - begin));
  bool is_code = false;
  int lines = 0;
  for (std::string line; std::getline(section, line);) {
    if (line.starts_with("```")) {
      is_code = line == "```cpp";
    } else if (is_code && line.find("...") == std::string::npos && !squeezed(line).empty()) {
      INFO(line);
      CHECK(programs.find(squeezed(line)) != std::string::npos);
      ++lines;
    }
  }
  CHECK(lines > 10);
}

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
