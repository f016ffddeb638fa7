// The functions for memory that a platform has to give. Addresses and sizes are whole pages.
#pragma once

#include <cstddef>

namespace fiber::platform {

// Maps memory that reads as zero, and takes none before it is touched. Null with errno if there is
// no address space for it.
void* map_memory(std::size_t bytes) noexcept;
// Asks for small pages, where the system might choose large ones: a large one would commit 2 MiB
// for a stack.
void keep_pages_small(void* address, std::size_t bytes) noexcept;
// Returns whether the stacks of the process's threads are executable: a program whose code takes
// the address of a nested function (GNU C) has code on the stack. The linker asks for executable
// stacks for objects with such functions, and for objects that do not say, such as old assembler
// files.
bool are_stacks_executable() noexcept;
// Gives memory of map_memory() back; it reads as zero afterwards.
void give_back(void* address, std::size_t bytes) noexcept;

// Makes every access to pages of map_memory() a fault, without a mapping for these pages. Returns
// 0, or an errno on a platform without such guards: there the caller uses mprotect(), which splits
// a mapping in three.
int guard(void* address, std::size_t bytes) noexcept;
// Returns whether guard() works if it returns 0: an emulator may return 0 from every call.
bool has_guards() noexcept;
// Guards the lowest `bytes` of `count` (at most kMostGuards) areas, `stride` bytes apart, by one
// system call. Returns the number of areas that were guarded, or -1 with errno.
constexpr std::size_t kMostGuards = 64;
long guard_many(std::byte* lowest, std::size_t bytes, std::size_t stride,
                std::size_t count) noexcept;
// Returns the number of mappings that a process may have.
long mapping_limit() noexcept;

// Returns the bytes from the lowest page that has been written to the end.
std::size_t touched(std::byte* lowest, std::size_t bytes, std::size_t page) noexcept;
// Returns whether all these bytes are mapped. `address` begins a page of the machine's.
bool is_mapped(void* address, std::size_t bytes) noexcept;

}  // namespace fiber::platform
