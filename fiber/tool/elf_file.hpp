// Describes a file as an object of the dynamic linker; none of its code is run.
#pragma once

#include <set>
#include <string>

namespace fiber::tool {

struct ElfFile {
  // Why the file cannot be described; null for an object for this kind of processor. The other
  // members are valid only then.
  const char* fault = nullptr;
  bool is_dynamic = false;   // the linker loads it, or loads other objects into it
  bool has_symbols = false;  // its imports could be read
  std::string interpreter;   // of a program: the linker for which it asks
  std::set<std::string> imports;
};

ElfFile read_elf_file(const std::string& path);

// Returns the path of a program in PATH; empty if there is none. A name with a slash is a path.
std::string find_program(const std::string& name);

}  // namespace fiber::tool
