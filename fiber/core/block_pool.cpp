#include <fiber/core/block_pool.hpp>

#include <fiber/core/thread_state.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/platform/memory.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include <pthread.h>
#include <sys/mman.h>

namespace fiber::core {
namespace {

constexpr std::size_t kFirstChunk = std::size_t{64} * 1024;
constexpr std::size_t kLargestChunk = std::size_t{16} * 1024 * 1024;
// Blocks that a thread takes from the depot at a time; the others stay there for other threads.
constexpr int kPortion = 32;

// Maps a chunk. Whether it has huge pages is left to the system's policy: on a virtual machine the
// first touch of huge pages is five times as expensive as that of small ones, and nothing else
// became faster with them.
std::byte* map_chunk(std::size_t bytes) {
  void* address = platform::map_memory(bytes);
  if (address == nullptr) throw std::bad_alloc();
  return static_cast<std::byte*>(address);
}

}  // namespace

// The memory that belongs to no thread's pool.
struct BlockPool::Depot {
  std::mutex mutex;
  Block* free[kClasses] = {};
  Span* spans[kClasses] = {};
};

BlockPool::Depot& BlockPool::depot() noexcept {
  static constinit core::Undying<Depot> depot;  // outlives every thread
  return *depot;
}

void BlockPool::prepare_fork() {
  static const bool done = (core::at_fork(lock_depot, unlock_depot, unlock_depot), true);
  static_cast<void>(done);
}

void BlockPool::lock_depot() noexcept { depot().mutex.lock(); }
void BlockPool::unlock_depot() noexcept { depot().mutex.unlock(); }

BlockPool::~BlockPool() {
  Depot& common = depot();
  const std::lock_guard lock(common.mutex);
  for (std::size_t i = 0; i < kClasses; ++i) {
    if (static_cast<std::size_t>(classes_[i].end - classes_[i].next) >= block_size(i))
      common.spans[i] = new (classes_[i].next) Span{common.spans[i], classes_[i].end};
    Block* last = classes_[i].free;
    if (last == nullptr) continue;
    while (last->next != nullptr) last = last->next;
    last->next = std::exchange(common.free[i], classes_[i].free);
  }
}

void* BlockPool::allocate_fresh(std::size_t index) {
  SizeClass& sizes = classes_[index];
  const std::size_t size = block_size(index);
  if (static_cast<std::size_t>(sizes.end - sizes.next) < size) {
    Depot& common = depot();
    std::unique_lock lock(common.mutex);
    if (Block* block = common.free[index]) {
      Block* last = block;
      for (int taken = 1; taken < kPortion && last->next != nullptr; ++taken) last = last->next;
      common.free[index] = std::exchange(last->next, nullptr);
      sizes.free = block->next;
      return block;
    }
    if (Span* span = common.spans[index]) {
      common.spans[index] = span->next;
      sizes.end = span->end;
      sizes.next = reinterpret_cast<std::byte*>(span);
    } else {
      lock.unlock();
      const std::size_t bytes =
          sizes.chunk_bytes == 0 ? kFirstChunk : std::min(sizes.chunk_bytes * 2, kLargestChunk);
      sizes.next = map_chunk(bytes);
      sizes.end = sizes.next + bytes;
      sizes.chunk_bytes = bytes;
    }
  }
  return std::exchange(sizes.next, sizes.next + size);
}

void BlockPool::release_to_depot(void* memory, std::size_t size) noexcept {
  Depot& common = depot();
  const std::lock_guard lock(common.mutex);
  Block*& first = common.free[index(size)];
  first = new (memory) Block{first};
}

namespace {

bool pooled(std::size_t size, std::align_val_t alignment) noexcept {
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
  static_cast<void>(size);
  static_cast<void>(alignment);
  return false;  // sanitizers are to see each object by itself
#else
  return size <= BlockPool::kLargest && alignment <= std::align_val_t(kCacheLine) &&
         (size > BlockPool::kSmallest || alignment <= std::align_val_t(BlockPool::kSmallest));
#endif
}

}  // namespace

void* allocate_block(std::size_t size, std::align_val_t alignment) {
  if (!pooled(size, alignment)) [[unlikely]]
    return ::operator new(size, alignment);
  return thread_state().blocks.allocate(size);
}

void release_block(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
  if (!pooled(size, alignment)) [[unlikely]]
    ::operator delete(memory, alignment);
  else if (ThreadState* thread = tls_thread_state) [[likely]]
    thread->blocks.release(memory, size);
  else
    BlockPool::release_to_depot(memory, size);
}

}  // namespace fiber::core
