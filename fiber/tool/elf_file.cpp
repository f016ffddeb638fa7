#include "elf_file.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
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
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::string bytes(static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0)), '\0');
  file.seekg(0);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

// Whether a part of a file lies in it.
bool is_within(const std::string& file, std::size_t offset, std::size_t bytes) {
  return offset <= file.size() && bytes <= file.size() - offset;
}

// Returns a table of an ELF file; empty if the table does not lie in the file.
template <class T>
std::vector<T> table_at(const std::string& file, std::size_t offset, std::size_t bytes) {
  if (!is_within(file, offset, bytes)) return {};
  std::vector<T> all(bytes / sizeof(T));
  std::memcpy(all.data(), file.data() + offset, all.size() * sizeof(T));
  return all;
}

using Header = ElfW(Ehdr);
using Segment = ElfW(Phdr);
using Section = ElfW(Shdr);
using Symbol = ElfW(Sym);

constexpr const char* kTruncated = "a truncated ELF file";

// Returns why a file is no object of this kind of processor; null if it is one.
const char* fault_of_head(const std::string& file) {
  if (!file.starts_with(ELFMAG)) return "not an ELF file";
  if (file.size() < EI_NIDENT) return kTruncated;
  if (file[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32))
    return sizeof(void*) == 8 ? "not an object of this kind of processor: it does not have 64 bits"
                              : "not an object of this kind of processor: it does not have 32 bits";
  if (file[EI_DATA] != (std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB))
    return "not an object of this kind of processor: its byte order is different";
  return file.size() < sizeof(Header) ? kTruncated : nullptr;
}

void read_imports(const std::string& file, const std::vector<Section>& sections, ElfFile& elf) {
  for (const Section& section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size()) continue;
    elf.is_dynamic = elf.has_symbols = true;
    const Section& strings = sections[section.sh_link];
    if (!is_within(file, strings.sh_offset, strings.sh_size) ||
        !is_within(file, section.sh_offset, section.sh_size))
      elf.fault = kTruncated;
    const auto names = table_at<char>(file, strings.sh_offset, strings.sh_size);
    for (const auto& symbol : table_at<Symbol>(file, section.sh_offset, section.sh_size))
      if (symbol.st_shndx == SHN_UNDEF && symbol.st_name != 0 && symbol.st_name < names.size())
        elf.imports.insert(
            std::string(names.data() + symbol.st_name,
                        ::strnlen(names.data() + symbol.st_name, names.size() - symbol.st_name)));
  }
}

}  // namespace

ElfFile read_elf_file(const std::string& path) {
  ElfFile elf;
  if (::access(path.c_str(), R_OK) != 0) {
    elf.fault = "a file that cannot be read";
    return elf;
  }
  const std::string file = contents_of(path);
  elf.fault = fault_of_head(file);
  if (elf.fault != nullptr) return elf;
  const Header header = table_at<Header>(file, 0, sizeof(Header))[0];
  const std::size_t segments = header.e_phnum * sizeof(Segment);
  const std::size_t sections = header.e_shnum * sizeof(Section);
  if (!is_within(file, header.e_phoff, segments) || !is_within(file, header.e_shoff, sections)) {
    elf.fault = kTruncated;
    return elf;
  }
  for (const auto& segment : table_at<Segment>(file, header.e_phoff, segments)) {
    if (segment.p_type == PT_DYNAMIC) elf.is_dynamic = true;
    if (segment.p_type != PT_INTERP || segment.p_filesz <= 1) continue;
    elf.is_dynamic = true;
    if (is_within(file, segment.p_offset, segment.p_filesz))
      elf.interpreter = file.substr(segment.p_offset, segment.p_filesz - 1);
    else
      elf.fault = kTruncated;
  }
  read_imports(file, table_at<Section>(file, header.e_shoff, sections), elf);
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
