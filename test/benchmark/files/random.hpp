// The common part of the rows of files: arguments FILE BYTES READS AT_A_TIME, and offsets.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace files {

struct Arguments {
  const char* path;
  std::size_t bytes;
  long reads;
  int at_a_time;
};

inline Arguments arguments(int argc, char** argv) {
  if (argc != 5) std::exit(2);
  return {argv[1], static_cast<std::size_t>(std::atol(argv[2])), std::atol(argv[3]),
          std::atoi(argv[4])};
}

// Multiples of the size of a read, within the file.
class Offsets {
 public:
  Offsets(const Arguments& its, int seed) : bytes_(its.bytes), random_(seed + 1) {
    struct stat about {};
    if (::stat(its.path, &about) == 0) blocks_ = static_cast<std::size_t>(about.st_size) / bytes_;
  }
  std::int64_t next() { return static_cast<std::int64_t>(random_() % blocks_ * bytes_); }

 private:
  std::size_t bytes_;
  std::size_t blocks_ = 1;
  std::minstd_rand random_;
};

// Prints the nanoseconds per read of `work()`.
template <class Work>
void measure(const Arguments& its, Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  std::printf("%.1f\n", took.count() / static_cast<double>(its.reads));
}

}  // namespace files
