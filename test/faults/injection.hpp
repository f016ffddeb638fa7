// Lets one allocation, or one system call, of this process fail: see injection.cpp for which.
#pragma once

#include <atomic>
#include <cstdint>

namespace faults {

enum class Kind : std::uint8_t {
  none,
  allocation,  // the one with that number
  burst,       // that one and those after it
  call,        // the system call with that number, with one of its errors
};

struct Fault {
  Kind kind = Kind::none;
  long number = 0;  // from 0
  int variant = 0;  // which of the call's errors
};

inline constexpr long kBurst = 40;
inline constexpr long kMostCalls = 4096;
inline constexpr int kMostFrames = 64;

// Written by a child process, read by its parent.
struct Record {
  std::atomic<long> allocations{0};
  std::atomic<long> calls{0};
  std::uint8_t errors[kMostCalls] = {};  // how many ways each of the calls can fail
  char failed[64] = {};                  // the name of what failed, "" if nothing did
  void* frames[kMostFrames] = {};        // where that was, innermost first
  int frame_count = 0;
};

// Counts, and fails what was asked for, between these two.
void begin(const Fault& fault, Record& record) noexcept;
void end() noexcept;

// Blocks of memory that were allocated and not freed.
long live_blocks() noexcept;
// False where a tool has its own malloc in place of this one.
bool in_use() noexcept;

}  // namespace faults
