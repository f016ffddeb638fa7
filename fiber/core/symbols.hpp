// Names of functions, from the symbol tables of the program and of its shared objects.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace fiber::core {

struct Symbol {
  std::string name;        // demangled; "" if none is known
  std::size_t offset = 0;  // bytes from the start of the function, else from that of the object
  std::string object;  // file name of the program or shared object; "" if the address is in none
};

// Reads a file's symbols at the first address in it, and keeps them while it lives. Symbols that
// are not exported are found as well, unless the file was stripped. Debug information is not read.
class FIBER_API Symbols {
 public:
  Symbols();
  Symbols(const Symbols&) = delete;
  Symbols& operator=(const Symbols&) = delete;
  ~Symbols();

  // The function that contains `address`. Never throws but std::bad_alloc.
  Symbol find(const void* address);

 private:
  struct File;
  struct Files;
  Symbol look_up(const void* address);
  std::unique_ptr<Files> files_;
};

}  // namespace fiber::core
