// Names of functions, from the symbol tables of the program and of its shared objects.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::core {

struct Symbol {
  std::string name;        // demangled; "" if none is known
  std::size_t offset = 0;  // bytes from the start of the function, else of the object
  std::string object;  // file name of the program or shared object; "" if the address is in none
};

// Returns the function that contains `address`. Symbols that are not exported are found as well,
// unless the file was stripped. Debug information is not read. A file is indexed at the first
// address in it, and its index is kept for the process. May be called on any thread. Throws
// std::bad_alloc alone.
Symbol find_symbol(const void* address);

// Returns where, in its object's block of thread-local storage, each `thread_local` of a file is
// whose linker name `choose` accepts: bytes from the start of the block. Throws std::bad_alloc
// alone.
FIBER_API std::vector<std::size_t> find_thread_locals(const char* path,
                                                      bool (*choose)(const char* name));

// Returns whether a file contains `text`, and was stripped of the names that it does not export.
// A file that cannot be read does not.
FIBER_API bool has_text_without_names(const char* path, std::string_view text);

// Forgets the names that were read so far, but not the indices: for programs that count the memory
// they have left over at their end. May be called on any thread.
void forget_symbol_names();

}  // namespace fiber::core
