#include <fiber/core/symbols.hpp>

#include <fiber/core/context.hpp>
#include <fiber/demangle.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::core {
namespace {

using Header = ElfW(Ehdr);
using Section = ElfW(Shdr);
using Entry = ElfW(Sym);

// A whole file, mapped; empty if mapping failed.
class Mapping {
 public:
  explicit Mapping(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      later_ = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EINTR;
      return;
    }
    struct stat status {};
    if (::fstat(fd, &status) == 0 && status.st_size > 0) {
      const auto size = static_cast<std::size_t>(status.st_size);
      void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (memory != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(memory), size};
      later_ = memory == MAP_FAILED && errno == ENOMEM;
    }
    ::close(fd);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  // Returns whether reading the file failed for a reason that may pass.
  bool later() const noexcept { return later_; }

  // Returns `count` objects at `offset`; none if the file ends before.
  template <class T>
  std::vector<T> read(std::size_t offset, std::size_t count) const {
    if (offset > bytes_.size() || count > (bytes_.size() - offset) / sizeof(T)) return {};
    std::vector<T> objects(count);
    if (count > 0) std::memcpy(objects.data(), bytes_.data() + offset, count * sizeof(T));
    return objects;
  }
  // Returns the text that starts at `offset`.
  std::string text(std::size_t offset) const {
    if (offset >= bytes_.size()) return {};
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
    return {start, ::strnlen(start, bytes_.size() - offset)};
  }
  bool contains(std::string_view text) const noexcept {
    const std::string_view all(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    return all.find(text) != std::string_view::npos;
  }

 private:
  std::span<const std::byte> bytes_;
  bool later_ = false;
};

// Returns the sections of an ELF file; none if it is no such file, or cannot be read.
std::vector<Section> sections_of(const Mapping& mapping) {
  const auto header = mapping.read<Header>(0, 1);
  if (header.empty() || std::memcmp(header[0].e_ident, ELFMAG, SELFMAG) != 0) return {};
  return mapping.read<Section>(header[0].e_shoff, header[0].e_shnum);
}

// Calls `visit(symbol, name)` for each symbol of an ELF file that is defined there, and has this
// type; `name` is the offset of its name in the file. A stripped file has its exported symbols.
template <class Visit>
void for_each_symbol(const Mapping& mapping, unsigned type, Visit visit) {
  const std::vector<Section> sections = sections_of(mapping);
  for (const auto wanted : {SHT_SYMTAB, SHT_DYNSYM}) {
    bool found = false;
    for (const Section& section : sections) {
      if (section.sh_type != static_cast<ElfW(Word)>(wanted) || section.sh_link >= sections.size())
        continue;
      const std::size_t names = sections[section.sh_link].sh_offset;
      for (const Entry& entry :
           mapping.read<Entry>(section.sh_offset, section.sh_size / sizeof(Entry))) {
        if ((entry.st_info & 0xfU) != type || entry.st_shndx == SHN_UNDEF) continue;
        visit(entry, names + entry.st_name);
        found = true;
      }
    }
    if (found) break;
  }
}

struct Function {
  std::uintptr_t start;  // from the base address of the object
  std::size_t size;
  std::size_t name;  // offset in the file
};

// The functions of an ELF file, by address.
class File {
 public:
  explicit File(const char* path) : mapping_(path) {
    for_each_symbol(mapping_, STT_FUNC, [this](const Entry& entry, std::size_t name) {
      functions_.push_back({entry.st_value, entry.st_size, name});
    });
    functions_.shrink_to_fit();
    std::sort(functions_.begin(), functions_.end(), [](const Function& a, const Function& b) {
      return a.start != b.start ? a.start < b.start : a.name < b.name;
    });
  }

  bool later() const noexcept { return mapping_.later(); }

  const Function* find(std::uintptr_t offset) const {
    auto at = std::upper_bound(
        functions_.begin(), functions_.end(), offset,
        [](std::uintptr_t wanted, const Function& function) { return wanted < function.start; });
    if (at == functions_.begin()) return nullptr;
    --at;
    // Some functions written in assembler have no size.
    return offset - at->start < std::max<std::size_t>(at->size, 1) || at->size == 0 ? &*at
                                                                                    : nullptr;
  }

  // Returns the demangled name. Names are demangled when asked for, since that takes longer than
  // everything else, and a report of many fibers asks for few functions.
  const std::string& name_of(const Function& function) {
    const auto known = names_.find(function.name);
    if (known != names_.end()) return known->second;
    return names_.emplace(function.name, demangle(mapping_.text(function.name).c_str()))
        .first->second;
  }
  void forget_names() noexcept { decltype(names_)().swap(names_); }

 private:
  Mapping mapping_;
  std::vector<Function> functions_;
  std::unordered_map<std::size_t, std::string> names_;
};

// All files that were asked for. After a dlclose all are forgotten: another object may be loaded at
// the address of an old one.
class Files {
 public:
  // Never destroyed: reports may come at the very end of the process.
  static Files& instance() {
    static Files& the_files = *new Files;
    // A child process must not find the lock held by a thread that it does not have.
    static const int installed = ::pthread_atfork(lock, unlock, unlock);
    (void)installed;
    return the_files;
  }

  File& at(const void* base, const char* path) {
    const unsigned long long unloaded = unloaded_so_far();
    if (unloaded != unloaded_) {
      by_base_.clear();
      unloaded_ = unloaded;
    }
    // An index that could not be read for want of a descriptor or of memory is read again.
    const auto known = by_base_.find(base);
    if (known != by_base_.end() && known->second.later()) by_base_.erase(known);
    return by_base_.try_emplace(base, path).first->second;
  }

  void forget_names() noexcept {
    for (auto& [base, file] : by_base_) file.forget_names();
  }

  std::mutex mutex;

 private:
  static void lock() { instance().mutex.lock(); }
  static void unlock() { instance().mutex.unlock(); }

  static unsigned long long unloaded_so_far() {
    unsigned long long count = 0;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t size, void* result) {
          if (size >= offsetof(dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs)
            *static_cast<unsigned long long*>(result) = info->dlpi_subs;
          return 1;  // each object reports the same count
        },
        &count);
    return count;
  }

  std::map<const void*, File> by_base_;
  unsigned long long unloaded_ = unloaded_so_far();
};

// The object to which an address belongs: its file, empty for the program itself, and the
// difference between its addresses in memory and in the file.
struct Object {
  const char* name = "";
  std::uintptr_t moved = 0;
};

// Returns false if no object is there.
bool look_up(const void* address, Dl_info& info, Object& object) noexcept {
#if defined(__GLIBC__)
  link_map* map = nullptr;
  if (::dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return false;
  if (map == nullptr) return true;
  object.moved = map->l_addr;
  if (map->l_name != nullptr) object.name = map->l_name;
  return true;
#else
  struct Search {
    std::uintptr_t address;
    Object* object;
  } search{reinterpret_cast<std::uintptr_t>(address), &object};
  ::dl_iterate_phdr(
      [](dl_phdr_info* each, std::size_t, void* argument) {
        const Search& wanted = *static_cast<Search*>(argument);
        for (int i = 0; i < each->dlpi_phnum; ++i) {
          const auto& segment = each->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD ||
              wanted.address - (each->dlpi_addr + segment.p_vaddr) >= segment.p_memsz)
            continue;
          wanted.object->moved = each->dlpi_addr;
          // The program is the first one, and has a name where there is no glibc.
          if (each->dlpi_name != nullptr && std::strchr(each->dlpi_name, '/') != nullptr)
            wanted.object->name = each->dlpi_name;
          return 1;
        }
        return 0;
      },
      &search);
  return ::dladdr(address, &info) != 0;
#endif
}

Symbol look_up(const void* address) {
  Symbol found;
  Dl_info info{};
  Object object;
  if (!look_up(address, info, object)) return found;
  found.object = info.dli_fname != nullptr ? info.dli_fname : "";
  // The program itself has no name here.
  const char* path = *object.name == '\0' ? platform::program_file() : object.name;
  if (path == nullptr) path = found.object.c_str();
  Files& files = Files::instance();
  const std::lock_guard lock(files.mutex);
  File& file = files.at(info.dli_fbase, path);
  const auto place = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t base = object.moved;
  if (const Function* function = file.find(place - base)) {
    found.name = file.name_of(*function);
    found.offset = place - base - function->start;
  } else if (info.dli_sname != nullptr) {
    found.name = demangle(info.dli_sname);
    found.offset = place - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  } else {
    found.offset = place - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  }
  return found;
}

}  // namespace

Symbol find_symbol(const void* address) {
  Symbol found;
  with_room([&] { found = look_up(address); });
  return found;
}

std::vector<std::size_t> find_thread_locals(const char* path, bool (*choose)(const char* name)) {
  std::vector<std::size_t> found;
  const Mapping mapping(path);
  for_each_symbol(mapping, STT_TLS, [&](const Entry& entry, std::size_t name) {
    if (choose(mapping.text(name).c_str())) found.push_back(entry.st_value);
  });
  return found;
}

bool has_text_without_names(const char* path, std::string_view text) {
  const Mapping mapping(path);
  const auto sections = sections_of(mapping);
  return std::none_of(sections.begin(), sections.end(),
                      [](const Section& section) { return section.sh_type == SHT_SYMTAB; }) &&
         mapping.contains(text);
}

void forget_symbol_names() {
  Files& files = Files::instance();
  const std::lock_guard lock(files.mutex);
  files.forget_names();
}

}  // namespace fiber::core
