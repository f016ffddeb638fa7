// What a platform has to give about memory. Addresses and sizes are whole pages.
#pragma once

#include <cstddef>

namespace fiber::platform {

// Maps memory that reads as zero, and takes none before it is touched. Null with errno if there is
// no address space for it.
void* map_memory(std::size_t bytes) noexcept;
// Asks for small pages, where the system might choose large ones: a large one would commit 2 MiB
// for a stack.
void keep_pages_small(void* address, std::size_t bytes) noexcept;
// Returns whether the stacks of the process's threads are executable: code of GNU C's nested
// functions, to which others have pointers, lies on the stack. The linker wants it for objects with
// such code, and for those of which it does not know, such as old assembler files.
bool are_stacks_executable() noexcept;
// Gives memory of map_memory() back; it reads as zero afterwards.
void give_back(void* address, std::size_t bytes) noexcept;

// Makes pages of map_memory() fault, without a mapping of their own. Returns 0 or an errno: on a
// platform without such guards mprotect() makes them, and splits a mapping in three.
int guard(void* address, std::size_t bytes) noexcept;
// Returns whether guard() works where it returns 0: an emulator may answer so to all calls.
bool has_guards() noexcept;
// Guards the lowest `bytes` of `count` (at most kMostGuards) areas, `stride` bytes apart, by one
// system call. Returns the number of areas that were guarded, or -1 with errno.
constexpr std::size_t kMostGuards = 64;
long guard_many(std::byte* lowest, std::size_t bytes, std::size_t stride,
                std::size_t count) noexcept;
// Returns the mappings that a process may have.
long mapping_limit() noexcept;

// Returns the bytes from the lowest page that has been written to the end.
std::size_t touched(std::byte* lowest, std::size_t bytes, std::size_t page) noexcept;
// Returns whether there is memory at all those addresses, which begin a page of the machine's.
bool is_mapped(void* address, std::size_t bytes) noexcept;

}  // namespace fiber::platform
