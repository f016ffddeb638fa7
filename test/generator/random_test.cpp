// Random programs of generators: the library, a model of the rules and CPython agree on each event.
// FIBER_MODEL_STEPS sets the number of statements, FIBER_MODEL_SEED the first seed; a failure
// prints the smallest program that still fails. With FIBER_MODEL_PRINT=N, N programs are printed
// instead, for conformance/generator/oracle.py.
#include <doctest/doctest.h>

#include "conformance/generator/language.hpp"
#include "conformance/generator/machine.hpp"
#include "conformance/generator/model.hpp"
#include "conformance/generator/random_program.hpp"
#include "conformance/generator/shrink.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "support/settings.hpp"

using namespace generator_programs;
using support::number_from;

namespace {

using Events = std::vector<std::string>;

std::string first_difference(const Events& expected, const Events& seen) {
  const auto [a, b] = std::mismatch(expected.begin(), expected.end(), seen.begin(), seen.end());
  const auto line = [](const Events& events, Events::const_iterator at) {
    return at == events.end() ? std::string("nothing more") : *at;
  };
  return "expected: " + line(expected, a) + "\nseen:     " + line(seen, b) + "\n";
}

// Returns the events of a program run here, and its leftovers.
Events run(const Program& program) {
  const auto stacks = [] { return fiber::core::thread_state().pool.census().in_use; };
  const std::size_t before = stacks();
  Events events = Machine::run(program);
  if (stacks() != before)
    events.push_back(std::to_string(stacks() - before) + " generators are left");
  return events;
}

// Returns whether library and model differ. A program with a generator that cannot be unwound any
// more is not run here.
bool differs(const Program& program) {
  const Model model = Model::run(program);
  return !model.stubborn && run(program) != model.events;
}

// Returns the stored traces, or the file that FIBER_MODEL_TRACES names.
std::vector<std::filesystem::path> trace_files() {
  if (const char* one = std::getenv("FIBER_MODEL_TRACES")) return {one};
  const char* root = std::getenv("FIBER_SOURCE_ROOT");
  std::vector<std::filesystem::path> files;
  if (root == nullptr) return files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(root) /
                                                               "test/conformance/generator/corpus"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// Returns the first few programs whose events differ from CPython's.
std::string differences(const std::filesystem::path& path, bool model, long& programs) {
  std::ifstream in(path);
  Reader reader(in);
  std::ostringstream found;
  long count = 0;
  for (Program program; reader.read(program); ++programs) {
    const Events expected = reader.read_trace();
    const Events seen = model ? Model::run(program).events : run(program);
    if (seen != expected && ++count <= 3) found << program << first_difference(expected, seen);
  }
  if (count > 0) found << count << " programs of " << path << " differ\n";
  return found.str();
}

}  // namespace

TEST_CASE("the model does what CPython did") {
  long programs = 0;
  for (const auto& path : trace_files()) CHECK(differences(path, true, programs) == "");
  CHECK(programs > 0);
}

TEST_CASE("generators do what CPython's did") {
  long programs = 0;
  for (const auto& path : trace_files()) CHECK(differences(path, false, programs) == "");
  CHECK(programs > 0);
}

TEST_CASE("random programs do what the model says") {
  const long wanted = number_from("FIBER_MODEL_STEPS", 30'000);
  auto seed = static_cast<unsigned>(number_from("FIBER_MODEL_SEED", 1));
  long printing = number_from("FIBER_MODEL_PRINT", 0);
  long programs = 0;
  long stubborn = 0;
  for (long steps = 0; steps < wanted || printing > 0; ++seed) {
    const Program program = RandomProgram::make(seed);
    const Model model = Model::run(program);
    if (model.stubborn) {
      ++stubborn;
      continue;
    }
    if (printing > 0) {
      std::cout << program;
      if (--printing == 0) return;
      continue;
    }
    steps += model.steps;
    ++programs;
    const Events seen = run(program);
    if (seen == model.events) continue;
    const Program smallest = Shrink::shrink(program, differs);
    std::ostringstream text;
    text << smallest << first_difference(Model::run(smallest).events, run(smallest));
    FAIL_CHECK("seed " << seed << ":\n" << text.str());
    break;
  }
  MESSAGE(programs << " programs, " << stubborn << " left out");
}
