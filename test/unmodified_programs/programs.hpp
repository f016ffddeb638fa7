// Runs programs as Debian builds them twice: alone, and by fiber-run. The outcomes must be equal.
#pragma once

#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <string>
#include <vector>

#include "support/child_process.hpp"
#include "unmodified_libraries/servers.hpp"

namespace unmodified {

using support::ChildResult;

inline std::string built(const std::string& name) {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  return std::string(root != nullptr ? root : "build") + "/" + name;
}
inline std::string fiber_run() { return built("fiber/tool/fiber-run"); }

// Returns the path of the system's program, "" if there is none: a script may be in front of it in
// PATH.
inline std::string find(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/local/bin/"})
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  return {};
}

// Whether all programs exist. If one is missing, prints a line that test/run shows.
inline bool has(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (find(name).empty()) {
      std::cout << "SKIP: " << name << " is missing" << std::endl;
      return false;
    }
  return true;
}

struct Options {
  std::string input = {};
  bool children = false;  // fiber-run --children
  double timeout = 120;
};

// Runs a program in an empty directory, whose path is equal for all runs.
class Place {
 public:
  enum class How { plain, by_fiber_run };
  ChildResult run(const std::vector<std::string>& command, How how, const Options& options) const {
    const std::string input = directory_ / "input";
    std::ofstream(input) << options.input;
    std::vector<std::string> all{"-c", "exec \"$@\" <'" + input + "'", "sh"};
    if (how == How::by_fiber_run) all.push_back(fiber_run());
    if (how == How::by_fiber_run && options.children) all.emplace_back("--children");
    all.push_back(find(command.at(0)));
    all.insert(all.end(), command.begin() + 1, command.end());
    std::filesystem::remove_all(here());
    std::filesystem::create_directory(here());
    return support::run_child(
        {.program = "/bin/sh", .arguments = all, .directory = here(), .timeout = options.timeout});
  }
  // Returns the contents of a file, "" if there is none.
  std::string file(const std::string& name) const {
    return legacy_test::text_of(here() + "/" + name);
  }

 private:
  std::string here() const { return directory_ / "here"; }
  legacy_test::TemporaryDirectory directory_;
};

// Returns OpenSSL's errors without the number of the thread, which is an address.
inline std::string without_threads(const std::string& errors) {
  return std::regex_replace(errors, std::regex("[0-9A-F]{16}:error:"), "error:");
}

// Runs the command alone, where it must end with `status`, and by fiber-run, and compares the
// outcomes, the output and the `files` that the command leaves. Returns the output.
inline std::string same(const std::vector<std::string>& command, int status = 0,
                        const Options& options = {}, const std::vector<std::string>& files = {}) {
  std::string text;
  for (const std::string& word : command) text += word + " ";
  CAPTURE(text);
  CAPTURE(options.children);
  const Place place;
  const auto contents = [&] {
    std::vector<std::string> all;
    for (const std::string& name : files) all.push_back(place.file(name));
    return all;
  };
  const ChildResult expected = place.run(command, Place::How::plain, options);
  const std::vector<std::string> expected_files = contents();
  for (const std::string& file : expected_files) CHECK(file != "");
  const ChildResult result = place.run(command, Place::How::by_fiber_run, options);
  CHECK(expected.status == status);
  CHECK_MESSAGE(result.status == status, result.errors);
  CHECK(result.out() == expected.out());
  CHECK(without_threads(result.errors) == without_threads(expected.errors));
  CHECK((contents() == expected_files));
  return expected.out();
}

// Like same(), for a script, by `interpreter -c` or the like.
inline std::string same_script(const std::vector<std::string>& interpreter,
                               const std::string& script, int status = 0,
                               const Options& options = {}) {
  std::vector<std::string> command = interpreter;
  command.push_back(script);
  return same(command, status, options);
}

}  // namespace unmodified
