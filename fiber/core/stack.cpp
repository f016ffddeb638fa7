#include <fiber/core/stack.hpp>

#include <fiber/core/block_pool.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/exceptions.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace fiber::core {
namespace {

#ifndef MADV_GUARD_INSTALL
constexpr int MADV_GUARD_INSTALL = 102;
#endif
#ifndef SYS_process_madvise
constexpr long SYS_process_madvise = 440;
#endif

constexpr std::size_t kMaxSlabBytes = std::size_t{1} << 30;
// Tops are spread over this many cache lines: stacks are page-aligned, so without it the hot
// frames of thousands of fibers would compete for the same few cache sets. More would push
// shallow fibers into a second page.
constexpr std::uint32_t kColours = 16;
// What a fiber may use before its memory is given back between uses.
constexpr std::size_t kWarmBytes = 16 * 1024;

std::atomic<long> split_mappings{0};

long mapping_budget() {
  if (stack_limits().map_budget >= 0) return stack_limits().map_budget;
  static const long budget = [] {
    long limit = 65530;
    if (std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
      if (std::fscanf(file, "%ld", &limit) != 1) limit = 65530;
      std::fclose(file);
    }
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

// Guards that are installed by one system call; more at once are not much cheaper.
constexpr std::size_t kMostGuards = 64;

// Guards the lowest page of `stacks` stacks of `size` bytes each by one system call. Returns how
// many are guarded then: 0 where the kernel has no such call (Linux 6.15).
std::size_t install_guards(std::byte* base, std::size_t size, std::size_t stacks) noexcept {
  constexpr int kOwnProcess = -10001;  // PIDFD_SELF_THREAD_GROUP
  static std::atomic<bool> kernel_refuses{sanitizer::on_valgrind()};
  if (stacks < 2 || !stack_limits().guard_install ||
      kernel_refuses.load(std::memory_order_relaxed))
    return 0;
  ::iovec pages[kMostGuards];
  for (std::size_t i = 0; i < stacks; ++i) pages[i] = {base + i * size, page_size()};
  const long done =
      ::syscall(SYS_process_madvise, kOwnProcess, pages, stacks, MADV_GUARD_INSTALL, 0U);
  if (done < 0) kernel_refuses.store(true, std::memory_order_relaxed);
  return done < 0 ? 0 : static_cast<std::size_t>(done) / page_size();
}

// Returns how many mappings that took.
long install_guard(std::byte* base, std::size_t bytes) {
  static std::atomic<bool> kernel_refuses{false};
  if (stack_limits().guard_install && !kernel_refuses.load(std::memory_order_relaxed)) {
    if (::madvise(base, bytes, MADV_GUARD_INSTALL) == 0) return 0;
    if (errno != EINVAL)
      throw MemoryError(std::string("cannot guard a fiber stack: ") + std::strerror(errno));
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

}  // namespace

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

StackLimits& stack_limits() noexcept {
  static StackLimits limits;
  return limits;
}

bool Stack::guards(const void* address) const noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  return at >= base && at < base + page_size();
}

StackPool::~StackPool() {
  for (const SizeClass& sizes : classes_)
    for (Stack* stack : sizes.idle) sanitizer::stack_destroyed(stack);
  for (const SizeClass& sizes : classes_)
    if (sizes.in_use != 0) return;  // somebody still runs on them: their pages must stay
  for (const SizeClass& sizes : classes_)
    for (const Slab& slab : sizes.slabs) {
      ::munmap(slab.address, slab.bytes);
      split_mappings.fetch_sub(slab.split_mappings, std::memory_order_relaxed);
    }
}

StackPool::SizeClass& StackPool::new_size_class(std::size_t size) {
  classes_.push_back({.size = size});
  return classes_.back();
}

inline StackPool::SizeClass& StackPool::size_class(std::size_t size) {
  for (SizeClass& sizes : classes_)
    if (sizes.size == size) return sizes;
  return new_size_class(size);
}

Stack* StackPool::allocate(std::size_t size) {
  if (size > kMaxStackSize)
    throw MemoryError("a fiber stack of more than 1 TiB was asked for");
  SizeClass& sizes = size_class(std::bit_ceil(std::max(size, kMinStackSize)));
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
  // Where one is taken many are. The first frames lie below.
  constexpr std::size_t kAhead = 4;
  if (sizes.idle.size() >= kAhead) {
    const std::byte* later = (*(sizes.idle.end() - kAhead))->top();
    __builtin_prefetch(later, 1);
    __builtin_prefetch(later - kCacheLine, 1);
    __builtin_prefetch(later - 2 * kCacheLine, 1);
  }
  return stack;
}

// The guards of the next stacks that were never handed out, at least of one.
void StackPool::install_next_guards(SizeClass& sizes) {
  // A program that has many stacks is going to have more.
  const auto left = static_cast<std::size_t>(sizes.end - sizes.guarded) / sizes.size;
  const std::size_t wanted = std::min({left, kMostGuards, std::size_t{sizes.made} / 8});
  const std::size_t guarded = install_guards(sizes.guarded, sizes.size, wanted);
  if (guarded == 0) sizes.slabs.back().split_mappings += install_guard(sizes.guarded, page_size());
  sizes.guarded += std::max(guarded, std::size_t{1}) * sizes.size;
}

Stack* StackPool::carve(SizeClass& sizes) {
  std::byte* base = nullptr;
  if (!sizes.bare.empty()) {
    base = sizes.bare.back();
    sizes.bare.pop_back();
  } else {
    if (sizes.next == sizes.end) new_slab(sizes);
    base = sizes.next;
    if (base == sizes.guarded) install_next_guards(sizes);
    sizes.next += sizes.size;
  }
  std::byte* place = base + sizes.size - sizeof(Stack) - (sizes.made++ % kColours) * kCacheLine;
  place -= reinterpret_cast<std::uintptr_t>(place) % kCacheLine;
  auto* stack = new (place) Stack;
  stack->base = base;
  stack->size = sizes.size;
  sanitizer::stack_created(stack);
  return stack;
}

void StackPool::new_slab(SizeClass& sizes) {
  StackLimits& limits = stack_limits();
  if (limits.fail_after == 0) throw MemoryError("no address space for fiber stacks (injected)");
  if (limits.fail_after > 0) --limits.fail_after;
  std::size_t stacks = sizes.slab_stacks;
  for (const Slab& slab : sizes.slabs) stacks += slab.bytes / sizes.size;
  sizes.idle.reserve(stacks);
  sizes.bare.reserve(stacks);
  sizes.slabs.reserve(sizes.slabs.size() + 1);
  std::size_t bytes = sizes.slab_stacks * sizes.size;
  void* address = MAP_FAILED;
  while (true) {
    address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address != MAP_FAILED || bytes == sizes.size) break;
    bytes /= 2;  // near the limit there may be room for fewer
  }
  if (address == MAP_FAILED)
    throw MemoryError("cannot reserve " + std::to_string(bytes) +
                      " bytes of address space for fiber stacks: " + std::strerror(errno) +
                      "; raise the limit on address space (ulimit -v) or vm.max_map_count, or ask "
                      "for smaller stacks");
  ::madvise(address, bytes, MADV_NOHUGEPAGE);  // a huge page would commit 2 MiB per stack
  sizes.next = sizes.guarded = static_cast<std::byte*>(address);
  sizes.slabs.push_back({sizes.next, bytes});
  sizes.end = sizes.next + bytes;
  sizes.slab_stacks = bytes / sizes.size * (bytes < kMaxSlabBytes ? 2 : 1);
}

void StackPool::release(Stack* stack) noexcept {
  sanitizer::stack_released(stack);
  SizeClass& sizes = size_class(stack->size);
  --sizes.in_use;
  if (idle_ >= max_idle_) [[unlikely]] {
    strip(sizes, stack);
    return;
  }
  if (stack->uses >= kTrimInterval) [[unlikely]] {
    stack->uses = 0;
    if (stack_used(stack) > kWarmBytes) give_back(stack, kWarmBytes);
  }
  sizes.idle.push_back(stack);
  ++idle_;
}

// Keeps the topmost `keep` bytes, which hold the Stack itself.
void StackPool::give_back(Stack* stack, std::size_t keep) noexcept {
  std::byte* low = stack->base + page_size();
  std::byte* high = stack->base + stack->size - std::min(keep, stack->size - page_size());
  if (low < high) ::madvise(low, static_cast<std::size_t>(high - low), MADV_DONTNEED);
}

// Gives all of its memory back: the guard is what is left.
void StackPool::strip(SizeClass& sizes, Stack* stack) noexcept {
  std::byte* base = stack->base;
  sanitizer::stack_destroyed(stack);
  ::madvise(base + page_size(), sizes.size - page_size(), MADV_DONTNEED);
  sizes.bare.push_back(base);
}

// Gives the address space of slabs back all of whose stacks are bare, or were never handed out.
void StackPool::unmap_bare(SizeClass& sizes) noexcept {
  std::vector<std::byte*>& bare = sizes.bare;
  std::sort(bare.begin(), bare.end());
  for (auto slab = sizes.slabs.begin(); slab != sizes.slabs.end();) {
    const bool newest = sizes.end == slab->address + slab->bytes;
    std::byte* end = newest ? sizes.next : slab->address + slab->bytes;
    const auto first = std::lower_bound(bare.begin(), bare.end(), slab->address);
    const auto last = std::lower_bound(first, bare.end(), end);
    if (last - first != (end - slab->address) / static_cast<std::ptrdiff_t>(sizes.size)) {
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
  const std::size_t page = page_size();
  std::byte* low = stack->base + page;
  const std::size_t pages = (stack->size - page) / page;
  constexpr std::size_t kChunk = 256;
  unsigned char resident[kChunk];
  for (std::size_t first = 0; first < pages; first += kChunk) {
    const std::size_t count = std::min(kChunk, pages - first);
    if (::mincore(low + first * page, count * page, resident) != 0) return 0;
    for (std::size_t i = 0; i < count; ++i)
      if (resident[i] & 1) return (pages - first - i) * page;
  }
  return 0;
}

}  // namespace fiber::core
