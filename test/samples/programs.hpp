// The programs of the samples, run as their users run them.
#pragma once

#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace support {

inline std::string program(const std::string& name) {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  return std::filesystem::absolute(root != nullptr ? root : ".") / "samples" / name;
}

// False where OpenSSL is missing.
inline bool built(const std::string& name) {
  if (std::filesystem::exists(program(name))) return true;
  MESSAGE("SKIP: not built: ", name);
  return false;
}

struct Result {
  int status = 0;
  std::string out;
  std::string errors;
};

inline Result run(const std::string& name, const std::vector<std::string>& arguments,
                  const std::string& input = "") {
  std::vector<std::string> command{program(name)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto process = fiber::asyncio::await(fiber::asyncio::create_subprocess_exec(
      command, {.stdin_ = fiber::asyncio::subprocess::PIPE,
                .stdout_ = fiber::asyncio::subprocess::PIPE,
                .stderr_ = fiber::asyncio::subprocess::PIPE}));
  auto [out, errors] = fiber::asyncio::await(process.communicate(input));
  return {fiber::asyncio::await(process.wait()), out, errors};
}

}  // namespace support
