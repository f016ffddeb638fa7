// Counts the allocations of `new`, and makes them fail. Included by at most one source of a
// program.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace support {

struct Allocations {
  std::size_t count = 0;
  std::size_t bytes = 0;
  std::size_t live = 0;  // bytes that are allocated now
  std::size_t peak = 0;  // the most that were since a test has set this to `live`
  long left = -1;        // until memory runs out; -1: no limit
};
inline Allocations allocations;

// Returns false where a tool replaces the `new` below by its own: Valgrind, ThreadSanitizer.
inline bool allocations_are_counted() {
  const std::size_t before = allocations.count;
  ::operator delete(::operator new(1));
  return allocations.count != before;
}

// Makes memory run out after `enough` allocations, while it lives.
struct Scarce {
  explicit Scarce(long enough) { allocations.left = enough; }
  Scarce(const Scarce&) = delete;
  Scarce& operator=(const Scarce&) = delete;
  ~Scarce() { allocations.left = -1; }
};

}  // namespace support

#if !defined(FIBER_TSAN)  // ThreadSanitizer's own could not be replaced
// Not inlined: GCC would see `new` memory given to `free`.
__attribute__((noinline)) void* operator new(std::size_t size) {
  support::Allocations& all = support::allocations;
  if (all.left == 0) throw std::bad_alloc();
  if (all.left > 0) --all.left;
  ++all.count;
  all.bytes += size;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  all.live += ::malloc_usable_size(memory);
  if (all.peak < all.live) all.peak = all.live;
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  support::allocations.live -= ::malloc_usable_size(memory);
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}
#endif
