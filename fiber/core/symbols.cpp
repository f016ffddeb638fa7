#include <fiber/core/symbols.hpp>

#include <fiber/core/context.hpp>
#include <fiber/core/demangle.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <vector>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::core {
namespace {

using Header = ElfW(Ehdr);
using Section = ElfW(Shdr);
using Entry = ElfW(Sym);

// A whole file, mapped; empty if it cannot be.
class Mapping {
 public:
  explicit Mapping(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat status {};
    if (::fstat(fd, &status) == 0 && status.st_size > 0) {
      const auto size = static_cast<std::size_t>(status.st_size);
      void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (memory != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(memory), size};
    }
    ::close(fd);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  // `count` objects at `offset`; none if the file ends before.
  template <class T>
  std::vector<T> read(std::size_t offset, std::size_t count) const {
    if (offset > bytes_.size() || count > (bytes_.size() - offset) / sizeof(T)) return {};
    std::vector<T> objects(count);
    if (count > 0) std::memcpy(objects.data(), bytes_.data() + offset, count * sizeof(T));
    return objects;
  }
  // The text that starts at `offset`.
  std::string text(std::size_t offset) const {
    if (offset >= bytes_.size()) return {};
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
    return {start, ::strnlen(start, bytes_.size() - offset)};
  }

 private:
  std::span<const std::byte> bytes_;
};

struct Function {
  std::uintptr_t start;  // from the base address of the object
  std::size_t size;
  std::size_t name;  // offset in the file
};

}  // namespace

// The functions of an ELF file, by address.
struct Symbols::File {
  explicit File(const char* path) : mapping(path) {
    const auto header = mapping.read<Header>(0, 1);
    if (header.empty() || std::memcmp(header[0].e_ident, ELFMAG, SELFMAG) != 0) return;
    const auto sections = mapping.read<Section>(header[0].e_shoff, header[0].e_shnum);
    for (const auto wanted : {SHT_SYMTAB, SHT_DYNSYM}) {
      for (const Section& section : sections) {
        if (section.sh_type != static_cast<ElfW(Word)>(wanted) ||
            section.sh_link >= sections.size())
          continue;
        const std::size_t names = sections[section.sh_link].sh_offset;
        for (const Entry& entry :
             mapping.read<Entry>(section.sh_offset, section.sh_size / sizeof(Entry)))
          if ((entry.st_info & 0xf) == STT_FUNC && entry.st_shndx != SHN_UNDEF)
            functions.push_back({entry.st_value, entry.st_size, names + entry.st_name});
      }
      if (!functions.empty()) break;
    }
    std::stable_sort(functions.begin(), functions.end(),
                     [](const Function& a, const Function& b) { return a.start < b.start; });
  }

  const Function* find(std::uintptr_t offset) const {
    auto at = std::upper_bound(
        functions.begin(), functions.end(), offset,
        [](std::uintptr_t wanted, const Function& function) { return wanted < function.start; });
    if (at == functions.begin()) return nullptr;
    --at;
    // Written in assembler, some have no size.
    return offset - at->start < std::max<std::size_t>(at->size, 1) || at->size == 0 ? &*at
                                                                                    : nullptr;
  }

  Mapping mapping;
  std::vector<Function> functions;
};

struct Symbols::Files {
  std::map<const void*, File> by_base;
};

Symbols::Symbols() : files_(std::make_unique<Files>()) {}
Symbols::~Symbols() = default;

Symbol Symbols::find(const void* address) {
  Symbol found;
  with_room([&] { found = look_up(address); });
  return found;
}

Symbol Symbols::look_up(const void* address) {
  Symbol found;
  Dl_info info{};
  link_map* object = nullptr;
  if (::dladdr1(address, &info, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) == 0)
    return found;
  // The program itself has no name here; its file may be another one by now than argv[0] says.
  const bool program = object == nullptr || object->l_name == nullptr || *object->l_name == '\0';
  const char* path = program ? "/proc/self/exe" : object->l_name;
  found.object = info.dli_fname != nullptr ? info.dli_fname : "";
  const File& file = files_->by_base.try_emplace(info.dli_fbase, path).first->second;
  const auto place = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t base = object != nullptr ? object->l_addr : 0;
  if (const Function* function = file.find(place - base)) {
    found.name = demangle(file.mapping.text(function->name).c_str());
    found.offset = place - base - function->start;
  } else if (info.dli_sname != nullptr) {
    found.name = demangle(info.dli_sname);
    found.offset = place - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  } else {
    found.offset = place - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  }
  return found;
}

}  // namespace fiber::core
