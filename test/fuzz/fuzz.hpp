// Helpers of the targets. A target is a function that libFuzzer calls with bytes of its
// choice; driver.cpp calls it with the files of a corpus, and with variations of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fuzz {

/// Ends the program unless `holds`, like a report of a sanitizer.
inline void require(bool holds, const char* text) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", text);
  std::abort();
}

/// Ends the program unless two ways of feeding the bytes had equal results.
inline void require_same(const std::string& one, const std::string& other, const char* text) {
  if (one == other) return;
  std::fprintf(stderr, "fuzz: %s\n--- one\n%s\n--- other\n%s\n", text, one.c_str(), other.c_str());
  std::abort();
}

/// Small random numbers that depend only on the seed.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t below(std::uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % limit;
  }

 private:
  std::uint64_t state_;
};

/// How bytes arrive.
enum class Arrival { whole, bytes, pieces };
inline constexpr Arrival arrivals[] = {Arrival::whole, Arrival::bytes, Arrival::pieces};

inline std::vector<std::string_view> split(std::string_view data, Arrival arrival) {
  std::vector<std::string_view> parts;
  Numbers numbers(data.size() + 7);
  while (!data.empty()) {
    std::size_t size = data.size();
    if (arrival == Arrival::bytes) size = 1;
    if (arrival == Arrival::pieces) size = std::min<std::size_t>(size, 1 + numbers.below(40));
    parts.push_back(data.substr(0, size));
    data.remove_prefix(size);
  }
  return parts;
}

inline std::vector<std::string_view> lines_of(std::string_view data) {
  std::vector<std::string_view> lines;
  while (!data.empty()) {
    const std::size_t end = std::min(data.find('\n'), data.size());
    lines.push_back(data.substr(0, end));
    data.remove_prefix(std::min(end + 1, data.size()));
  }
  return lines;
}

/// Whether the text has no character that ends a line of a head.
inline bool is_one_line(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

}  // namespace fuzz

/// The entry point that libFuzzer calls.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// A target: `void name(std::string_view)`.
#define FUZZ_TARGET(name)                                                             \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    name(std::string_view(reinterpret_cast<const char*>(data), size));                \
    return 0;                                                                         \
  }
