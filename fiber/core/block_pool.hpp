// Memory for objects that are made and freed with every fiber: blocks of a few cache lines, or of
// half a line, reused last in first out, cut from chunks, each twice as large as the one before, up
// to a limit.
//
// Invariants
//  1. A block may be given back on any thread; it joins the pool of that thread.
//  2. Chunks stay until the process ends: the blocks and the rest of a chunk that a thread leaves
//     at its end go to the threads that need some. So short-lived threads do not use up memory.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <new>

namespace fiber::core {

inline constexpr std::size_t kCacheLine = 64;

// The free blocks of one thread. Not thread-safe.
class FIBER_API BlockPool {
 public:
  // The largest object that has its memory here.
  static constexpr std::size_t kLargest = 2304;

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  // The smallest block: small objects share a cache line with another one.
  static constexpr std::size_t kSmallest = kCacheLine / 2;

  // Returns at least `size` bytes, at most kLargest, aligned to a cache line, or to kSmallest if
  // `size` is not more. Throws std::bad_alloc.
  void* allocate(std::size_t size) {
    SizeClass& sizes = classes_[index(size)];
    Block* block = sizes.free;
    if (block == nullptr) [[unlikely]]
      return allocate_fresh(index(size));
    sizes.free = block->next;
    __builtin_prefetch(sizes.free, 1);  // the next block is often wanted soon
    return block;
  }
  void release(void* memory, std::size_t size) noexcept {
    SizeClass& sizes = classes_[index(size)];
    sizes.free = new (memory) Block{sizes.free};
  }
  // Makes fork() leave the depot unlocked in the child process, where the thread that may have
  // locked it does not exist. To be called before the first use. Throws std::bad_alloc.
  static void prepare_fork();
  // Gives a block back on a thread that has no pool: not yet, or no longer.
  static void release_to_depot(void* memory, std::size_t size) noexcept;

 private:
  struct Block {
    Block* next;
  };
  // A stretch of memory that was never handed out; the Span lies at its beginning.
  struct Span {
    Span* next;
    std::byte* end;
  };
  struct SizeClass {
    Block* free = nullptr;
    std::byte* next = nullptr;  // start of the rest of the newest chunk, never handed out
    std::byte* end = nullptr;
    std::size_t chunk_bytes = 0;
  };
  struct Depot;
  static constexpr std::size_t kClasses = kLargest / kCacheLine + 1;

  static constexpr std::size_t index(std::size_t size) noexcept {
    return size <= kSmallest ? 0 : (size - 1) / kCacheLine + 1;
  }
  static constexpr std::size_t block_size(std::size_t index) noexcept {
    return index == 0 ? kSmallest : index * kCacheLine;
  }
  static Depot& depot() noexcept;
  static void lock_depot() noexcept;
  static void unlock_depot() noexcept;
  void* allocate_fresh(std::size_t index);

  SizeClass classes_[kClasses];
};

// Allocate from and release to the pool of the calling thread, for any size and alignment.
FIBER_API void* allocate_block(std::size_t size, std::align_val_t alignment);
FIBER_API void release_block(void* memory, std::size_t size, std::align_val_t alignment) noexcept;

// An allocator of blocks, for std::allocate_shared.
template <class T>
struct BlockAllocator {
  using value_type = T;

  BlockAllocator() noexcept = default;
  template <class U>
  BlockAllocator(const BlockAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)

  T* allocate(std::size_t n) {
    return static_cast<T*>(allocate_block(n * sizeof(T), std::align_val_t(alignof(T))));
  }
  void deallocate(T* memory, std::size_t n) noexcept {
    release_block(memory, n * sizeof(T), std::align_val_t(alignof(T)));
  }
  friend bool operator==(BlockAllocator, BlockAllocator) noexcept { return true; }
};

}  // namespace fiber::core
