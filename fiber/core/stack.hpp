// Stacks: address space that is reserved in slabs, guarded, reused last-in first-out per thread.
//
// Invariants
//  1. A stack belongs to the pool of one thread, from the slab it is cut from to its last use.
//  2. The lowest page is a guard: touching it is a fault, never somebody else's memory.
//  3. Only the pages a fiber touched are committed; a stack that was used deeply gives the pages
//     below its top back before it has been idle `kTrimInterval` times. (It is not idle between two
//     fibers of which the one goes on where the other has ended.)
//  4. Taking a stack may throw MemoryError; giving one back never fails.
//  5. Of a stack that is bare no page is committed: all that is known of it is its address.
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
inline constexpr std::size_t kMaxStackSize = std::size_t{1} << 40;
inline constexpr std::uint32_t kTrimInterval = 512;
inline constexpr std::size_t kFirstSlabStacks = 4;

FIBER_API std::size_t page_size() noexcept;

// How many stacks a pool has, for tests and reports.
struct StackCensus {
  std::size_t in_use = 0;
  std::size_t idle = 0;            // warm: with memory
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

  // Gives the memory of idle stacks back to the system, and the address space of slabs of which no
  // stack is in use.
  void trim() noexcept;
  // Stacks that are released while this many are idle give their memory back at once.
  void max_idle(std::size_t count) noexcept;
  std::size_t max_idle() const noexcept { return max_idle_; }
  StackCensus census() const noexcept;

  // Of fibers made on this thread that ask for no size of their own.
  std::size_t default_size() const noexcept { return default_size_; }
  void default_size(std::size_t size) noexcept { default_size_ = size; }

 private:
  struct Slab {
    std::byte* address;
    std::size_t bytes;
    long split_mappings = 0;       // that guards took, where they take any
  };
  struct SizeClass {
    std::size_t size = 0;
    std::vector<Stack*> idle = {};  // has room for all that were made
    std::byte* next = nullptr;     // first stack of the newest slab that was never handed out
    std::byte* guarded = nullptr;  // from `next` to here the guards are installed
    std::byte* end = nullptr;
    std::size_t slab_stacks = kFirstSlabStacks;  // of the next slab
    std::uint32_t made = 0;
    std::size_t in_use = 0;
    std::vector<std::byte*> bare = {};  // lowest addresses; has room as well
    std::vector<Slab> slabs = {};       // the newest one last
  };

  SizeClass& size_class(std::size_t size);
  [[gnu::noinline]] SizeClass& new_size_class(std::size_t size);
  Stack* carve(SizeClass& sizes);
  void new_slab(SizeClass& sizes);
  static void install_next_guards(SizeClass& sizes);
  Stack* take_idle(SizeClass& sizes) noexcept;
  static void strip(SizeClass& sizes, Stack* stack) noexcept;
  static void unmap_bare(SizeClass& sizes) noexcept;
  static void give_back(Stack* stack, std::size_t keep) noexcept;

  std::vector<SizeClass> classes_;
  std::size_t max_idle_ = SIZE_MAX;
  std::size_t idle_ = 0;
  std::size_t default_size_ = kDefaultStackSize;
};

// Bytes below the top that were ever touched since the memory was last given back (page-exact).
FIBER_API std::size_t stack_used(const Stack* stack) noexcept;

}  // namespace fiber::core
