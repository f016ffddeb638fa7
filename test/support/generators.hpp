// Generators in tests.
#pragma once

#include <fiber/generator.hpp>

#include <utility>
#include <vector>

namespace support {

// Returns the items that are left. Python: list(generator).
template <class T>
std::vector<T> list(const fiber::Generator<T>& generator) {
  std::vector<T> items;
  for (T item : generator) items.push_back(std::move(item));
  return items;
}

// Yields from, from + 1, ..., to - 1. Python: iter(range(from, to)).
inline fiber::Generator<int> count(int from, int to) {
  return [=](auto& self) {
    for (int i = from; i < to; ++i) self.yield(i);
  };
}

}  // namespace support
