// How many objects there are.
#pragma once

namespace support {

// Is counted while it lives.
struct Counted {
  explicit Counted(int* its_count) : count(its_count) { ++*count; }
  Counted(const Counted& from) : count(from.count) { ++*count; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*count; }
  int* count;
};

}  // namespace support
