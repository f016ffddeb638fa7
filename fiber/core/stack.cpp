#include <fiber/core/stack.hpp>

#include <fiber/core/block_pool.hpp>
#include <fiber/core/copies.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/valgrind.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/platform/memory.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace fiber::core {
namespace {

constexpr std::size_t kMaxSlabBytes = std::size_t{1} << 30;
// Tops are spread over this many cache lines: stacks are page-aligned, so with equal tops the hot
// frames of thousands of fibers would compete for a few cache sets. More lines would push shallow
// fibers into a second page.
constexpr std::uint32_t kColours = 16;
// Returns the bytes that a fiber may use before its memory is given back between uses.
std::size_t warm_bytes() noexcept { return std::max(std::size_t{16} * 1024, page_size()); }

std::atomic<long> split_mappings{0};

// Tells the tools that a stack is gone.
void destroyed(Stack* stack) noexcept {
  sanitizer::stack_forgotten(stack);
  valgrind::stack_destroyed(stack);
}

long mapping_budget() {
  if (stack_limits().map_budget >= 0) return stack_limits().map_budget;
  static const long budget = [] {
    const long limit = platform::mapping_limit();
    return std::max(limit - limit / 8, 0L);  // leave room for the program's own mappings
  }();
  return budget;
}

[[noreturn]] void out_of_mappings(std::size_t stacks) {
  throw MemoryError(
      "cannot guard another fiber stack: the process is near the limit vm.max_map_count with " +
      std::to_string(stacks) +
      " guarded stacks; raise it (sysctl vm.max_map_count=1000000) or use Linux 6.13 or later, "
      "where guards need no mappings");
}

// Returns whether an advice is refused for ever: an older kernel does not know it, and a sandbox
// may refuse it with any errno. A lack of memory and a signal are passing reasons.
bool refused_for_good(int error) noexcept {
  return error != ENOMEM && error != EAGAIN && error != EINTR;
}

// Guards the lowest `guard` bytes of `stacks` stacks, `stride` bytes apart, by one system call.
// Returns the number of stacks guarded: 0 where the kernel has no such call (before Linux 6.15).
std::size_t install_guards(std::byte* lowest, std::size_t guard, std::size_t stride,
                           std::size_t stacks) noexcept {
  static std::atomic<bool> kernel_refuses{valgrind::running()};
  const StackLimits& limits = stack_limits();
  if (stacks < 2 || !limits.guard_install || limits.refuse_advice != 0 ||
      kernel_refuses.load(std::memory_order_relaxed))
    return 0;
  const long done = platform::guard_many(lowest, guard, stride, stacks);
  if (done < 0 && refused_for_good(errno)) kernel_refuses.store(true, std::memory_order_relaxed);
  return done < 0 ? 0 : static_cast<std::size_t>(done);
}

bool advise_guard(std::byte* lowest, std::size_t bytes) noexcept {
  const StackLimits& limits = stack_limits();
  const int error =
      limits.refuse_advice != 0 ? limits.refuse_advice : platform::guard(lowest, bytes);
  errno = error;
  return error == 0;
}

// Installs one guard. Returns the number of mappings that it took.
long install_guard(std::byte* base, std::size_t bytes) {
  static std::atomic<bool> kernel_refuses{!platform::has_guards()};
  if (stack_limits().guard_install && !kernel_refuses.load(std::memory_order_relaxed)) {
    if (advise_guard(base, bytes)) return 0;
    if (refused_for_good(errno) && stack_limits().refuse_advice == 0)
      kernel_refuses.store(true, std::memory_order_relaxed);
  }
  // A guard made by mprotect splits its mapping in two.
  const long before = split_mappings.fetch_add(2, std::memory_order_relaxed);
  if (before + 2 > mapping_budget() || ::mprotect(base, bytes, PROT_NONE) != 0) {
    split_mappings.fetch_sub(2, std::memory_order_relaxed);
    out_of_mappings(static_cast<std::size_t>(before / 2));
  }
  return 2;
}

std::size_t machine_page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t in_pages(std::size_t bytes) noexcept {
  const std::size_t page = page_size();
  return (bytes + page - 1) / page * page;
}

// Returns the bytes that slabs leave to the rest of the program: an eighth of the limit on address
// space or data. A fiber that gets no stack is an ordinary error; other code seldom survives a lack
// of memory.
std::size_t left_to_others() noexcept {
  constexpr std::size_t kLeast = std::size_t{4} << 20, kMost = std::size_t{64} << 20;
  std::size_t lowest = SIZE_MAX;
  for (const auto resource : {RLIMIT_AS, RLIMIT_DATA}) {
    ::rlimit limit{};
    if (::getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
      lowest = std::min(lowest, static_cast<std::size_t>(limit.rlim_cur));
  }
  return std::clamp(lowest / 8, kLeast, kMost);
}

// Reserves address space for a slab if `spare` bytes more would still be available; otherwise
// returns null.
void* reserve_slab(std::size_t bytes, std::size_t spare) noexcept {
  void* address = platform::map_memory(bytes + spare);
  if (address == nullptr) return nullptr;
  ::munmap(static_cast<std::byte*>(address) + bytes, spare);
  // A failure is ignored: a system that forbids executable memory has no threads with executable
  // stacks, either.
  if (platform::are_stacks_executable())
    ::mprotect(address, bytes, PROT_READ | PROT_WRITE | PROT_EXEC);
  return address;
}

// Reserves a slab for `stacks` stacks, or for fewer near the limit. Returns null if there is no
// room for one.
void* reserve_stacks(std::size_t stride, std::size_t& stacks) noexcept {
  const std::size_t spare = left_to_others();
  void* address = reserve_slab(stacks * stride, spare);
  while (address == nullptr && stacks > 1) {
    stacks /= 2;
    address = reserve_slab(stacks * stride, spare);
  }
  return address;
}

}  // namespace

std::size_t page_size() noexcept {
  const std::size_t pretended = stack_limits().page_size;
  return pretended != 0 ? pretended : machine_page_size();
}

StackLimits& stack_limits() noexcept {
  static StackLimits limits;
  return limits;
}

bool Stack::guards(const void* address) const noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  return at < base && at >= base - guard_size();
}

StackPool::~StackPool() {
  for (const SizeClass& sizes : classes_)
    for (Stack* stack : sizes.idle) destroyed(stack);
  for (const SizeClass& sizes : classes_)
    if (sizes.in_use != 0) return;  // fibers still run on these stacks: their pages must stay
  for (const SizeClass& sizes : classes_)
    for (const Slab& slab : sizes.slabs) {
      ::munmap(slab.address, slab.bytes);
      split_mappings.fetch_sub(slab.split_mappings, std::memory_order_relaxed);
    }
}

StackPool::SizeClass& StackPool::new_size_class(StackShape shape) {
  if (!shape.possible())
    throw MemoryError(shape.size() > kMaxStackSize
                          ? "a fiber stack of more than 1 TiB was asked for"
                          : "a guard of more than 128 GiB was asked for a fiber stack");
  const std::size_t size = in_pages(shape.size()), guard = in_pages(shape.guard());
  classes_.push_back({.shape = shape, .size = size, .guard = guard, .stride = size + guard});
  return classes_.back();
}

inline StackPool::SizeClass& StackPool::size_class(StackShape shape) {
  for (SizeClass& sizes : classes_)
    if (sizes.shape == shape) return sizes;
  return new_size_class(shape);
}

Stack* StackPool::allocate(StackShape shape) {
  SizeClass& sizes = size_class(shape);
  Stack* stack = !sizes.idle.empty() ? take_idle(sizes) : carve(sizes);
  ++sizes.in_use;
  ++stack->uses;
  sanitizer::stack_taken(stack);
  return stack;
}

inline Stack* StackPool::take_idle(SizeClass& sizes) noexcept {
  Stack* stack = sizes.idle.back();
  sizes.idle.pop_back();
  --idle_;
  // Stacks are often taken one after the other. The first frames lie below the top.
  constexpr std::size_t kAhead = 4;
  if (sizes.idle.size() >= kAhead) {
    const std::byte* later = (*(sizes.idle.end() - kAhead))->top();
    __builtin_prefetch(later, 1);
    __builtin_prefetch(later - kCacheLine, 1);
    __builtin_prefetch(later - 2 * kCacheLine, 1);
  }
  return stack;
}

// Installs the guards of the next stacks that were never handed out, at least one guard.
void StackPool::install_next_guards(SizeClass& sizes) {
  // A program that has many stacks will probably have more.
  const auto left = static_cast<std::size_t>(sizes.end - sizes.guarded) / sizes.stride;
  const std::size_t wanted = std::min({left, platform::kMostGuards, std::size_t{sizes.made} / 8});
  const std::size_t guarded = install_guards(sizes.guarded, sizes.guard, sizes.stride, wanted);
  if (guarded == 0) sizes.slabs.back().split_mappings += install_guard(sizes.guarded, sizes.guard);
  sizes.guarded += std::max(guarded, std::size_t{1}) * sizes.stride;
}

Stack* StackPool::carve(SizeClass& sizes) {
  // Code that starts a fiber must not see the errno of a call that the kernel refused here.
  const struct KeepErrno {
    int error = errno;
    ~KeepErrno() { errno = error; }
  } keep;
  std::byte* lowest = nullptr;
  if (!sizes.bare.empty()) {
    lowest = sizes.bare.back();
    sizes.bare.pop_back();
  } else {
    if (sizes.next == sizes.end) new_slab(sizes);
    lowest = sizes.next;
    if (lowest == sizes.guarded) install_next_guards(sizes);
    sizes.next += sizes.stride;
  }
  std::byte* place = lowest + sizes.stride - sizeof(Stack) - (sizes.made++ % kColours) * kCacheLine;
  place -= reinterpret_cast<std::uintptr_t>(place) % kCacheLine;
  auto* stack = new (place) Stack;
  stack->base = lowest + sizes.guard;
  stack->size = sizes.size;
  stack->guard = static_cast<std::uint32_t>(sizes.guard / 4096);
  stack->size_class = static_cast<std::uint32_t>(&sizes - classes_.data());
  stack->shape = sizes.shape;
  valgrind::stack_created(stack);
  return stack;
}

void StackPool::new_slab(SizeClass& sizes) {
  StackLimits& limits = stack_limits();
  if (limits.fail_after == 0) throw MemoryError("no address space for fiber stacks (injected)");
  if (limits.fail_after > 0) --limits.fail_after;
  look_for_copies();
  std::size_t stacks = sizes.slab_stacks;
  for (const Slab& slab : sizes.slabs) stacks += slab.bytes / sizes.stride;
  try {
    sizes.idle.reserve(stacks);
    sizes.bare.reserve(stacks);
    sizes.slabs.reserve(sizes.slabs.size() + 1);
  } catch (const std::bad_alloc&) {
    throw MemoryError("no memory for the list of fiber stacks");
  }
  stacks = sizes.slab_stacks;
  void* address = reserve_stacks(sizes.stride, stacks);
  if (address == nullptr) {
    trim();  // idle stacks of other sizes give way
    address = reserve_stacks(sizes.stride, stacks);
  }
  const std::size_t bytes = stacks * sizes.stride;
  if (address == nullptr)
    throw MemoryError("cannot reserve " + std::to_string(bytes) +
                      " bytes of address space for fiber stacks: " + std::strerror(errno) +
                      "; raise the limit on address space (ulimit -v) or vm.max_map_count, or ask "
                      "for smaller stacks");
  platform::keep_pages_small(address, bytes);
  sizes.next = sizes.guarded = static_cast<std::byte*>(address);
  sizes.slabs.push_back({sizes.next, bytes});
  sizes.end = sizes.next + bytes;
  sizes.slab_stacks = stacks * (bytes < kMaxSlabBytes ? 2 : 1);
}

void StackPool::release(Stack* stack) noexcept {
  sanitizer::stack_released(stack);
  stack->nesting = {};  // a fiber that was abandoned has left its counts behind
  SizeClass& sizes = classes_[stack->size_class];
  --sizes.in_use;
  if (idle_ >= max_idle_) [[unlikely]] {
    strip(sizes, stack);
    return;
  }
  if (stack->uses >= kTrimInterval) [[unlikely]] {
    stack->uses = 0;
    if (stack_used(stack) > warm_bytes()) give_back(stack);
  }
  sizes.idle.push_back(stack);
  ++idle_;
}

// Keeps the topmost bytes, which hold the Stack itself.
void StackPool::give_back(Stack* stack) noexcept {
  const std::size_t kept = std::min(warm_bytes(), stack->size);
  if (kept < stack->size) platform::give_back(stack->base, stack->size - kept);
}

// Gives all memory of a stack back; its guard stays.
void StackPool::strip(SizeClass& sizes, Stack* stack) noexcept {
  std::byte* base = stack->base;
  destroyed(stack);
  platform::give_back(base, sizes.size);
  sizes.bare.push_back(base - sizes.guard);
}

// Gives back the address space of slabs whose stacks are all bare or were never handed out.
void StackPool::unmap_bare(SizeClass& sizes) noexcept {
  std::vector<std::byte*>& bare = sizes.bare;
  std::sort(bare.begin(), bare.end());
  for (auto slab = sizes.slabs.begin(); slab != sizes.slabs.end();) {
    const bool newest = sizes.end == slab->address + slab->bytes;
    std::byte* end = newest ? sizes.next : slab->address + slab->bytes;
    const auto first = std::lower_bound(bare.begin(), bare.end(), slab->address);
    const auto last = std::lower_bound(first, bare.end(), end);
    if (last - first != (end - slab->address) / static_cast<std::ptrdiff_t>(sizes.stride)) {
      ++slab;
      continue;
    }
    ::munmap(slab->address, slab->bytes);
    split_mappings.fetch_sub(slab->split_mappings, std::memory_order_relaxed);
    bare.erase(first, last);
    if (newest) sizes.next = sizes.guarded = sizes.end = nullptr;
    slab = sizes.slabs.erase(slab);
  }
  if (sizes.slabs.empty()) sizes.slab_stacks = kFirstSlabStacks;
}

void StackPool::trim() noexcept {
  for (SizeClass& sizes : classes_) {
    while (!sizes.idle.empty()) strip(sizes, take_idle(sizes));
    unmap_bare(sizes);
  }
}

void StackPool::max_idle(std::size_t count) noexcept {
  max_idle_ = count;
  for (SizeClass& sizes : classes_)
    while (idle_ > max_idle_ && !sizes.idle.empty()) strip(sizes, take_idle(sizes));
}

StackCensus StackPool::census() const noexcept {
  StackCensus sum;
  for (const SizeClass& sizes : classes_) {
    sum.in_use += sizes.in_use;
    sum.idle += sizes.idle.size();
    sum.slabs += sizes.slabs.size();
    for (const Slab& slab : sizes.slabs) sum.reserved_bytes += slab.bytes;
  }
  return sum;
}

std::size_t stack_used(const Stack* stack) noexcept {
  return stack != nullptr ? platform::touched(stack->base, stack->size, machine_page_size()) : 0;
}

}  // namespace fiber::core
