#include <fiber/core/block_pool.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

using fiber::core::BlockPool;
using fiber::core::kCacheLine;

TEST_CASE(
    "a block is as large as asked for, aligned as far as it is large, and its owner's alone") {
  BlockPool pool;
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t size = 1; size <= BlockPool::kLargest; size += 61)
    for (int i = 0; i < 300; ++i) {
      void* block = pool.allocate(size);
      const std::size_t alignment =
          size <= BlockPool::kSmallest ? BlockPool::kSmallest : kCacheLine;
      CHECK(reinterpret_cast<std::uintptr_t>(block) % alignment == 0);
      std::memset(block, static_cast<int>(blocks.size() % 251), size);
      blocks.emplace_back(block, size);
    }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(blocks[i].first);
    CHECK(bytes[0] == i % 251);
    CHECK(bytes[blocks[i].second - 1] == i % 251);
  }
  for (const auto& [block, size] : blocks) pool.release(block, size);
}

TEST_CASE("the block given back last is the next one handed out") {
  BlockPool pool;
  void* first = pool.allocate(100);
  void* second = pool.allocate(100);
  pool.release(first, 100);
  pool.release(second, 100);
  CHECK(pool.allocate(120) == second);
  CHECK(pool.allocate(120) == first);
  pool.release(first, 100);
  pool.release(second, 100);
}

TEST_CASE("blocks that a pool has at its end serve later pools") {
  constexpr std::size_t kSize = 777;
  std::set<void*> left;
  std::thread([&] {
    BlockPool pool;
    std::vector<void*> blocks;
    for (int i = 0; i < 10; ++i) blocks.push_back(pool.allocate(kSize));
    left.insert(blocks.begin(), blocks.end());
    for (void* block : blocks) pool.release(block, kSize);
  }).join();
  std::set<void*> found;
  BlockPool pool;
  for (int i = 0; i < 10; ++i) found.insert(pool.allocate(kSize));
  CHECK(found == left);
  for (void* block : found) pool.release(block, kSize);
}

TEST_CASE("a block may be given back where there is no pool") {
  constexpr std::size_t kSize = 901;
  void* block = nullptr;
  {
    BlockPool pool;
    block = pool.allocate(kSize);
  }
  BlockPool::release_to_depot(block, kSize);
  BlockPool pool;
  CHECK(pool.allocate(kSize) == block);
  pool.release(block, kSize);
}

TEST_CASE("pools that come and go, several at a time, need no further memory") {
  constexpr std::size_t kSize = 642;
  std::set<void*> seen;
  std::size_t after_first = 0;
  for (int round = 0; round < 50; ++round) {
    BlockPool pools[3];
    std::vector<void*> blocks;
    for (BlockPool& pool : pools)
      for (int i = 0; i < 20; ++i) blocks.push_back(pool.allocate(kSize));
    seen.insert(blocks.begin(), blocks.end());
    CHECK(std::set<void*>(blocks.begin(), blocks.end()).size() == blocks.size());
    if (round == 0) after_first = seen.size();
    for (std::size_t i = 0; i < blocks.size(); ++i) pools[(i + 1) % 3].release(blocks[i], kSize);
  }
  // Free blocks lie in portions with pools that do not need them all.
  CHECK(seen.size() <= 4 * after_first);
}
