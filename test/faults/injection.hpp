// Makes one allocation, or one system call, of this process fail; injection.cpp says which calls.
#pragma once

#include <atomic>
#include <cstdint>

namespace faults {

enum class Kind : std::uint8_t {
  none,
  allocation,  // the one with this number
  burst,       // this one and those after it
  call,        // the system call with this number, with one of its errors
};

struct Fault {
  Kind kind = Kind::none;
  long number = 0;  // from 0
  int variant = 0;  // the index of the call's error
};

inline constexpr long kBurst = 40;
inline constexpr long kMostCalls = 4096;
inline constexpr int kMostFrames = 64;

// Written by a child process, read by its parent.
struct Record {
  std::atomic<long> allocations{0};
  std::atomic<long> calls{0};
  std::uint8_t errors[kMostCalls] = {};  // the number of ways in which each call can fail
  char failed[64] = {};                  // the name of the failed call, "" if none failed
  void* frames[kMostFrames] = {};        // the place of that, innermost first
  int frame_count = 0;
};

// Count, and make the requested call fail, between these two.
void begin(const Fault& fault, Record& record) noexcept;
void end() noexcept;

// Blocks of memory that were allocated and not freed.
long live_blocks() noexcept;
// Returns false where a tool has its own malloc in place of this one.
bool in_use() noexcept;

}  // namespace faults
