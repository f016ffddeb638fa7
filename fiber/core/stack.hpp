// Stacks: address space that is reserved in slabs, guarded, reused last-in first-out per thread.
//
// Invariants
//  1. A stack belongs to the pool of one thread, from the slab it is cut from to its last use.
//  2. The lowest page is a guard: touching it is a fault, never somebody else's memory.
//  3. Only the pages a fiber touched are committed; a stack that was used deeply gives the pages
//     below its top back before it has been reused `kTrimInterval` times.
//  4. Taking a stack may throw MemoryError; giving one back never fails.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fiber::core {

// Sits at the top of its stack, in the page that every use touches first.
struct Stack {
  std::byte* base = nullptr;       // lowest address: the guard page
  std::size_t size = 0;            // bytes from base to the top, guard included
  std::uint32_t uses = 0;
  std::uint32_t valgrind_id = 0;
  void* fake_stack = nullptr;      // AddressSanitizer's, while the stack is switched out
  void* tsan_fiber = nullptr;      // ThreadSanitizer's

  // Where frames start; they grow down from here.
  std::byte* top() noexcept { return reinterpret_cast<std::byte*>(this); }
  bool guards(const void* address) const noexcept;
};

inline constexpr std::size_t kDefaultStackSize = 256 * 1024;
inline constexpr std::size_t kMinStackSize = 16 * 1024;
inline constexpr std::uint32_t kTrimInterval = 512;

FIBER_API std::size_t page_size() noexcept;

// How many stacks a pool has, for tests and reports.
struct StackCensus {
  std::size_t in_use = 0;
  std::size_t idle = 0;
  std::size_t slabs = 0;
  std::size_t reserved_bytes = 0;
};

// Knobs for tests: what the kernel and the machine are pretended to offer. Process-wide.
struct StackLimits {
  bool guard_install = true;       // MADV_GUARD_INSTALL may be used (Linux 6.13)
  long map_budget = -1;            // mappings that mprotect guards may split off; -1: ask the kernel
  long fail_after = -1;            // that many more slabs may be mapped; -1: no limit
};
FIBER_API StackLimits& stack_limits() noexcept;

// The stacks of one thread. Not thread-safe.
class FIBER_API StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();

  // A stack of at least `size` bytes (rounded up to a power of two, kMinStackSize at least).
  // Throws MemoryError naming the limit that was met.
  Stack* allocate(std::size_t size);
  void release(Stack* stack) noexcept;

  // Gives the memory of idle stacks back to the system; their address space is kept.
  void trim() noexcept;
  // Idle stacks beyond this many bytes of address space give their memory back when released.
  void set_idle_limit(std::size_t bytes) noexcept { idle_limit_ = bytes; }
  StackCensus census() const noexcept;

 private:
  struct SizeClass {
    std::size_t size = 0;
    std::vector<Stack*> idle;      // has room for all that were made
    std::byte* next = nullptr;     // first stack of the newest slab that was never handed out
    std::byte* guarded = nullptr;  // from `next` to here the guards are installed
    std::byte* end = nullptr;
    std::size_t slab_stacks = 4;
    std::uint32_t made = 0;
    std::size_t in_use = 0;
  };
  struct Slab {
    void* address;
    std::size_t bytes;
  };

  SizeClass& size_class(std::size_t size);
  Stack* carve(SizeClass& sizes);
  void new_slab(SizeClass& sizes);
  void give_back(Stack* stack, std::size_t keep) noexcept;

  std::vector<SizeClass> classes_;
  std::vector<Slab> slabs_;
  std::size_t idle_limit_ = SIZE_MAX;
  std::size_t idle_bytes_ = 0;
  long split_mappings_ = 0;        // that guards took, where they take any
};

// Bytes below the top that were ever touched since the memory was last given back (page-exact).
FIBER_API std::size_t stack_used(const Stack* stack) noexcept;

}  // namespace fiber::core
