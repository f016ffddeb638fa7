// Stacks: address space that is reserved in slabs, guarded, reused last-in first-out per thread.
//
// Invariants
//  1. A stack belongs to the pool of one thread, from the slab it is cut from to its last use.
//  2. Below each stack lies its guard: touching it is a fault, never another stack's memory. The
//     guard is wider than the frames of most code; a wider frame may touch another stack.
//  3. Only the pages that a fiber touched are committed; a stack that was used deeply gives the
//     pages below its top back before it has been idle `kTrimInterval` times. (A stack is not idle
//     between two fibers when one goes on where the other has ended.)
//  4. Taking a stack may throw MemoryError; giving one back never fails.
//  5. A bare stack has no page committed: all that is known of it is its address.
#pragma once

#include <fiber/config.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fiber::core {

inline constexpr std::size_t kDefaultStackSize = 256 * 1024;
inline constexpr std::size_t kMinStackSize = 16 * 1024;
inline constexpr std::size_t kMaxStackSize = std::size_t{1} << 40;
// A little more than a frame with a buffer of 64 KiB.
inline constexpr std::size_t kDefaultGuardSize = 68 * 1024;
inline constexpr std::size_t kMaxGuardSize = std::size_t{1} << 37;
inline constexpr std::uint32_t kTrimInterval = 512;
inline constexpr std::size_t kFirstSlabStacks = 4;

// The sizes of a stack and of the guard below, in one word. Sizes are rounded up: that of a stack
// to a power of two, that of a guard to 4 KiB and, when it is made, to whole pages.
class StackShape {
 public:
  constexpr StackShape() noexcept : StackShape(kDefaultStackSize, kDefaultGuardSize) {}
  constexpr StackShape(std::size_t size, std::size_t guard) noexcept
      : code_(size_code(size) | guard_code(guard) << kSizeBits) {}

  constexpr std::size_t size() const noexcept { return std::size_t{1} << (code_ & kSizeMask); }
  constexpr std::size_t guard() const noexcept { return (code_ >> kSizeBits) * kGuardUnit; }
  // Returns this shape with the sizes that are not 0 in place of its own.
  constexpr StackShape with(std::size_t size, std::size_t guard) const noexcept {
    return {size != 0 ? size : this->size(), guard != 0 ? guard : this->guard()};
  }
  // Returns false if the shape asks for more than there can be.
  constexpr bool possible() const noexcept {
    return (code_ & kSizeMask) <= size_code(kMaxStackSize) && guard() <= kMaxGuardSize;
  }
  // Returns whether code that wants the shape `other` can run on a stack of this shape.
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

// The number of objects of each kind that are being destroyed on a stack, one inside of the other:
// see trashcan.hpp. A kind's place is the kTrashSlot beside its trashcan.
using Nesting = std::array<std::uint8_t, 8>;

// The record of a stack, at its top, in the page that every use touches first.
struct Stack {
  std::byte* base = nullptr;     // the lowest address that may be used: the guard lies below
  std::size_t size = 0;          // bytes from base to the end, this object included
  std::uint32_t guard = 0;       // bytes below base, in pages of 4 KiB
  std::uint32_t size_class = 0;  // of its pool
  StackShape shape;
  Nesting nesting{};
  std::uint32_t uses = 0;
  std::uint32_t valgrind_id = 0;
  bool awaits_thread = false;  // its fiber will lend itself a thread, see own_thread.hpp
  void* fake_stack = nullptr;  // for AddressSanitizer, while the stack is switched out
#if defined(FIBER_ASAN)
  const void* left_at = nullptr;  // the frame that has switched
#endif
  void* tsan_fiber = nullptr;  // for ThreadSanitizer

  // Returns the address where frames start; they grow down from here.
  std::byte* top() noexcept { return reinterpret_cast<std::byte*>(this); }
  std::size_t guard_size() const noexcept { return std::size_t{guard} * 4096; }
  bool guards(const void* address) const noexcept;
};

// Returns the machine's page size, unless a test pretends another. All sizes of stacks use it.
FIBER_API std::size_t page_size() noexcept;

// How many stacks a pool has, for tests and reports.
struct StackCensus {
  std::size_t in_use = 0;
  std::size_t idle = 0;  // warm: with memory
  std::size_t slabs = 0;
  std::size_t reserved_bytes = 0;
};

// Knobs for tests: pretended properties of the kernel and of the machine. Process-wide.
struct StackLimits {
  bool guard_install = true;  // MADV_GUARD_INSTALL may be used (Linux 6.13)
  int refuse_advice = 0;      // the advice fails with this errno, as in a sandbox; 0: it works
  std::size_t page_size = 0;  // a multiple of the machine's, or 0; set before the first stack
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

  // Returns a stack of that shape, at least a page. Throws MemoryError naming the limit that was
  // met.
  Stack* allocate(StackShape shape);
  Stack* allocate(std::size_t size) { return allocate(StackShape(size, default_shape_.guard())); }
  void release(Stack* stack) noexcept;

  // Gives the memory of idle stacks back to the system, and the address space of slabs none of
  // whose stacks is in use.
  void trim() noexcept;
  // Stacks that are released while this many are idle give their memory back at once.
  void max_idle(std::size_t count) noexcept;
  std::size_t max_idle() const noexcept { return max_idle_; }
  StackCensus census() const noexcept;

  // The shape for fibers made on this thread that ask for no sizes of their own.
  StackShape default_shape() const noexcept { return default_shape_; }
  void default_shape(StackShape shape) noexcept { default_shape_ = shape; }

 private:
  struct Slab {
    std::byte* address;
    std::size_t bytes;
    long split_mappings = 0;  // mappings that its guards took
  };
  struct SizeClass {
    StackShape shape;
    std::size_t size = 0;           // of a stack, in whole pages
    std::size_t guard = 0;          // of a guard
    std::size_t stride = 0;         // of a stack with its guard
    std::vector<Stack*> idle = {};  // has room for all stacks that were made
    std::byte* next = nullptr;      // first stack of the newest slab that was never handed out
    std::byte* guarded = nullptr;   // from `next` to here the guards are installed
    std::byte* end = nullptr;
    std::size_t slab_stacks = kFirstSlabStacks;  // of the next slab
    std::uint32_t made = 0;
    std::size_t in_use = 0;
    std::vector<std::byte*> bare = {};  // lowest addresses of guards; has room for all
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

// Returns the bytes below the top that were touched since the memory was last given back
// (page-exact); 0 for no stack.
FIBER_API std::size_t stack_used(const Stack* stack) noexcept;

}  // namespace fiber::core
