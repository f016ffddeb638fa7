// Stacks: address space that is reserved in slabs, guarded, reused last-in first-out per thread.
//
// Invariants
//  1. A stack belongs to the pool of one thread, from the slab it is cut from to its last use.
//  2. Below each stack lies its guard: touching it is a fault, never somebody else's memory. It is
//     wider than the frames of most code; what a frame wider still touches may be another stack.
//  3. Only the pages a fiber touched are committed; a stack that was used deeply gives the pages
//     below its top back before it has been idle `kTrimInterval` times. (It is not idle between two
//     fibers of which the one goes on where the other has ended.)
//  4. Taking a stack may throw MemoryError; giving one back never fails.
//  5. Of a stack that is bare no page is committed: all that is known of it is its address.
#pragma once

#include <fiber/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fiber::core {

inline constexpr std::size_t kDefaultStackSize = 256 * 1024;
inline constexpr std::size_t kMinStackSize = 16 * 1024;
inline constexpr std::size_t kMaxStackSize = std::size_t{1} << 40;
// Frames with a buffer of 64 KiB are a little larger than that.
inline constexpr std::size_t kDefaultGuardSize = 68 * 1024;
inline constexpr std::size_t kMaxGuardSize = std::size_t{1} << 37;
inline constexpr std::uint32_t kTrimInterval = 512;
inline constexpr std::size_t kFirstSlabStacks = 4;

// How large a stack and the guard below it are to be, in one word. Sizes are rounded up: that of a
// stack to a power of two, that of a guard to 4 KiB and, when it is made, to whole pages.
class StackShape {
 public:
  constexpr StackShape() noexcept : StackShape(kDefaultStackSize, kDefaultGuardSize) {}
  constexpr StackShape(std::size_t size, std::size_t guard) noexcept
      : code_(size_code(size) | guard_code(guard) << kSizeBits) {}

  constexpr std::size_t size() const noexcept { return std::size_t{1} << (code_ & kSizeMask); }
  constexpr std::size_t guard() const noexcept { return (code_ >> kSizeBits) * kGuardUnit; }
  // The same but for what is not 0.
  constexpr StackShape with(std::size_t size, std::size_t guard) const noexcept {
    return {size != 0 ? size : this->size(), guard != 0 ? guard : this->guard()};
  }
  // False if more was asked for than there can be.
  constexpr bool possible() const noexcept {
    return (code_ & kSizeMask) <= size_code(kMaxStackSize) && guard() <= kMaxGuardSize;
  }
  // True if what wants `other` can do with a stack of this shape.
  constexpr bool fits(StackShape other) const noexcept {
    return code_ == other.code_ || ((code_ & kSizeMask) >= (other.code_ & kSizeMask) &&
                                    code_ >> kSizeBits >= other.code_ >> kSizeBits);
  }
  friend constexpr bool operator==(StackShape, StackShape) noexcept = default;

 private:
  static constexpr std::uint32_t kSizeBits = 6, kSizeMask = (1U << kSizeBits) - 1;
  static constexpr std::size_t kGuardUnit = 4096;
  static constexpr std::uint32_t size_code(std::size_t size) noexcept {
    if (size < kMinStackSize) size = kMinStackSize;
    const auto width = static_cast<std::uint32_t>(std::bit_width(size - 1));
    return width < kSizeMask ? width : kSizeMask;
  }
  static constexpr std::uint32_t guard_code(std::size_t guard) noexcept {
    constexpr std::size_t kMost = kMaxGuardSize / kGuardUnit + 1;
    const std::size_t units = guard == 0 ? 1 : (guard - 1) / kGuardUnit + 1;
    return static_cast<std::uint32_t>(units < kMost ? units : kMost);
  }
  std::uint32_t code_;
};

// Sits at the top of its stack, in the page that every use touches first.
struct Stack {
  std::byte* base = nullptr;     // the lowest address that may be used: the guard lies below
  std::size_t size = 0;          // bytes from base to the end, this object included
  std::uint32_t guard = 0;       // bytes below base, in pages of 4 KiB
  std::uint32_t size_class = 0;  // of its pool
  StackShape shape;
  std::uint32_t uses = 0;
  std::uint32_t valgrind_id = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's, while the stack is switched out
  void* tsan_fiber = nullptr;  // ThreadSanitizer's

  // Where frames start; they grow down from here.
  std::byte* top() noexcept { return reinterpret_cast<std::byte*>(this); }
  std::size_t guard_size() const noexcept { return std::size_t{guard} * 4096; }
  bool guards(const void* address) const noexcept;
};

// The machine's, unless a test says otherwise. Everything about stacks is made of it.
FIBER_API std::size_t page_size() noexcept;

// How many stacks a pool has, for tests and reports.
struct StackCensus {
  std::size_t in_use = 0;
  std::size_t idle = 0;  // warm: with memory
  std::size_t slabs = 0;
  std::size_t reserved_bytes = 0;
};

// Knobs for tests: what the kernel and the machine are pretended to offer. Process-wide.
struct StackLimits {
  bool guard_install = true;  // MADV_GUARD_INSTALL may be used (Linux 6.13)
  int refuse_advice = 0;      // it fails with this errno, as in a sandbox; 0: it does not
  std::size_t page_size = 0;  // a multiple of the machine's; 0: that. Set before the first stack
  long map_budget = -1;       // mappings that mprotect guards may split off; -1: ask the kernel
  long fail_after = -1;       // that many more slabs may be mapped; -1: no limit
};
FIBER_API StackLimits& stack_limits() noexcept;

// The stacks of one thread. Not thread-safe.
class FIBER_API StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();

  // A stack of that shape; of a page at least. Throws MemoryError naming the limit that was met.
  Stack* allocate(StackShape shape);
  Stack* allocate(std::size_t size) { return allocate(StackShape(size, default_shape_.guard())); }
  void release(Stack* stack) noexcept;

  // Gives the memory of idle stacks back to the system, and the address space of slabs of which no
  // stack is in use.
  void trim() noexcept;
  // Stacks that are released while this many are idle give their memory back at once.
  void max_idle(std::size_t count) noexcept;
  std::size_t max_idle() const noexcept { return max_idle_; }
  StackCensus census() const noexcept;

  // Of fibers made on this thread that ask for no sizes of their own.
  StackShape default_shape() const noexcept { return default_shape_; }
  void default_shape(StackShape shape) noexcept { default_shape_ = shape; }

 private:
  struct Slab {
    std::byte* address;
    std::size_t bytes;
    long split_mappings = 0;  // that guards took, where they take any
  };
  struct SizeClass {
    StackShape shape;
    std::size_t size = 0;           // of a stack, in whole pages
    std::size_t guard = 0;          // and of its guard
    std::size_t stride = 0;         // of both
    std::vector<Stack*> idle = {};  // has room for all that were made
    std::byte* next = nullptr;      // first stack of the newest slab that was never handed out
    std::byte* guarded = nullptr;   // from `next` to here the guards are installed
    std::byte* end = nullptr;
    std::size_t slab_stacks = kFirstSlabStacks;  // of the next slab
    std::uint32_t made = 0;
    std::size_t in_use = 0;
    std::vector<std::byte*> bare = {};  // lowest addresses of guards; has room as well
    std::vector<Slab> slabs = {};       // the newest one last
  };

  SizeClass& size_class(StackShape shape);
  [[gnu::noinline]] SizeClass& new_size_class(StackShape shape);
  Stack* carve(SizeClass& sizes);
  void new_slab(SizeClass& sizes);
  static void install_next_guards(SizeClass& sizes);
  Stack* take_idle(SizeClass& sizes) noexcept;
  static void strip(SizeClass& sizes, Stack* stack) noexcept;
  static void unmap_bare(SizeClass& sizes) noexcept;
  static void give_back(Stack* stack) noexcept;

  std::vector<SizeClass> classes_;
  std::size_t max_idle_ = SIZE_MAX;
  std::size_t idle_ = 0;
  StackShape default_shape_;
};

// Bytes below the top that were ever touched since the memory was last given back (page-exact).
FIBER_API std::size_t stack_used(const Stack* stack) noexcept;

}  // namespace fiber::core
