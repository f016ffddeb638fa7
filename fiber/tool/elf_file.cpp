#include "elf_file.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include <elf.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::tool {
namespace {

bool is_file(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode);
}

// Returns the bytes of a file. A directory, or a pipe without a writer, has none.
std::string contents_of(const std::string& path) {
  if (!is_file(path)) return {};
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Returns a table of an ELF file; empty if the table does not lie in the file.
template <class T>
std::vector<T> table_at(const std::string& file, std::size_t offset, std::size_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return {};
  std::vector<T> all(bytes / sizeof(T));
  std::memcpy(all.data(), file.data() + offset, all.size() * sizeof(T));
  return all;
}

}  // namespace

ElfFile read_elf_file(const std::string& path) {
  ElfFile elf;
  const std::string file = contents_of(path);
  const auto headers = table_at<ElfW(Ehdr)>(file, 0, sizeof(ElfW(Ehdr)));
  if (headers.empty() || std::memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0 ||
      headers[0].e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32))
    return elf;
  elf.is_valid = true;
  const ElfW(Ehdr)& header = headers[0];
  for (const auto& segment :
       table_at<ElfW(Phdr)>(file, header.e_phoff, header.e_phnum * sizeof(ElfW(Phdr))))
    if (segment.p_type == PT_INTERP && segment.p_filesz > 1 && segment.p_offset < file.size())
      elf.interpreter = file.substr(segment.p_offset, segment.p_filesz - 1);
  const auto sections =
      table_at<ElfW(Shdr)>(file, header.e_shoff, header.e_shnum * sizeof(ElfW(Shdr)));
  for (const auto& section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size()) continue;
    elf.is_dynamic = true;
    const ElfW(Shdr)& strings = sections[section.sh_link];
    const auto names = table_at<char>(file, strings.sh_offset, strings.sh_size);
    for (const auto& symbol : table_at<ElfW(Sym)>(file, section.sh_offset, section.sh_size))
      if (symbol.st_shndx == SHN_UNDEF && symbol.st_name != 0 && symbol.st_name < names.size())
        elf.imports.insert(
            std::string(names.data() + symbol.st_name,
                        ::strnlen(names.data() + symbol.st_name, names.size() - symbol.st_name)));
  }
  return elf;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* list = std::getenv("PATH");
  const std::string directories = list != nullptr ? list : "/bin:/usr/bin";
  for (std::size_t at = 0; at < directories.size();) {
    const std::size_t end = std::min(directories.find(':', at), directories.size());
    std::string path = directories.substr(at, end - at) + "/" + name;
    if (is_file(path) && ::access(path.c_str(), X_OK) == 0) return path;
    at = end + 1;
  }
  return {};
}

}  // namespace fiber::tool
