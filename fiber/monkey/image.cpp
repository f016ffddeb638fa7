#include <fiber/monkey/image.hpp>

#include <algorithm>
#include <exception>

#include <sys/mman.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// Kinds of relocations that hold the address of a function, by processor.
#if defined(__x86_64__)
constexpr unsigned kJumpSlot = R_X86_64_JUMP_SLOT;
constexpr unsigned kGlobalData = R_X86_64_GLOB_DAT;
constexpr unsigned kAbsolute = R_X86_64_64;
#elif defined(__aarch64__)
constexpr unsigned kJumpSlot = R_AARCH64_JUMP_SLOT;
constexpr unsigned kGlobalData = R_AARCH64_GLOB_DAT;
constexpr unsigned kAbsolute = R_AARCH64_ABS64;
#elif defined(__riscv)
constexpr unsigned kJumpSlot = R_RISCV_JUMP_SLOT;
constexpr unsigned kGlobalData = sizeof(void*) == 8 ? R_RISCV_64 : R_RISCV_32;
constexpr unsigned kAbsolute = kGlobalData;
#elif defined(__i386__)
constexpr unsigned kJumpSlot = R_386_JMP_SLOT;
constexpr unsigned kGlobalData = R_386_GLOB_DAT;
constexpr unsigned kAbsolute = R_386_32;
#elif defined(__arm__)
constexpr unsigned kJumpSlot = R_ARM_JUMP_SLOT;
constexpr unsigned kGlobalData = R_ARM_GLOB_DAT;
constexpr unsigned kAbsolute = R_ARM_ABS32;
#else
#error \
    "fiber-monkey does not know the relocations of this processor; configure with -Dmonkey=disabled"
#endif

#if __ELF_NATIVE_CLASS == 64
unsigned type_of(ElfW(Xword) info) { return static_cast<unsigned>(ELF64_R_TYPE(info)); }
std::size_t symbol_of(ElfW(Xword) info) { return ELF64_R_SYM(info); }
#else
unsigned type_of(ElfW(Word) info) { return ELF32_R_TYPE(info); }
std::size_t symbol_of(ElfW(Word) info) { return ELF32_R_SYM(info); }
#endif

// Read once: callers may have no memory, and the path must not change with the file.
std::string_view program_path() noexcept {
  struct Path {
    char text[4096] = {};
    ssize_t size = ::readlink("/proc/self/exe", text, sizeof text - 1);
  };
  static const Path path{};
  return path.size > 0 ? std::string_view(path.text, static_cast<std::size_t>(path.size))
                       : "(program)";
}

std::uintptr_t page() noexcept {
  static const auto size = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

// Reads a word. Sanitizers would object to words between variables.
[[gnu::noinline]] __attribute__((no_sanitize("address", "thread"))) void* load(void** at) {
  return *at;
}

// Returns the next word that points into a range. Also reads words between variables.
[[gnu::noinline]] __attribute__((no_sanitize("address", "thread"))) void** next_pointer(
    void** at, void** end, Image::Range to) noexcept {
  while (at < end && (*at < to.first || *at > to.last)) ++at;
  return at;
}

}  // namespace

Image::Image(const dl_phdr_info& info) noexcept : info_(info), path_(info.dlpi_name) {
  if (path_.empty()) path_ = program_path();
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < info.dlpi_phnum; ++i)
    if (info.dlpi_phdr[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(info.dlpi_addr + info.dlpi_phdr[i].p_vaddr);
  dynamic_ = dynamic;
  if (dynamic == nullptr) return;
  // The linker has turned the offsets into addresses, except if that table is read-only.
  const auto address = [&info](const ElfW(Dyn) & entry) {
    const std::uintptr_t value = entry.d_un.d_ptr;
    return reinterpret_cast<const void*>(value < info.dlpi_addr ? value + info.dlpi_addr : value);
  };
  std::size_t soname = 0;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    switch (dynamic->d_tag) {
      case DT_STRTAB: strings_ = static_cast<const char*>(address(*dynamic)); break;
      case DT_SYMTAB: symbols_ = static_cast<const ElfW(Sym)*>(address(*dynamic)); break;
      case DT_JMPREL: plt_ = address(*dynamic); break;
      case DT_PLTRELSZ: plt_bytes_ = dynamic->d_un.d_val; break;
      case DT_PLTREL: plt_has_addends_ = dynamic->d_un.d_val == DT_RELA; break;
      case DT_RELA: rela_ = address(*dynamic); break;
      case DT_RELASZ: rela_bytes_ = dynamic->d_un.d_val; break;
      case DT_REL: rel_ = address(*dynamic); break;
      case DT_RELSZ: rel_bytes_ = dynamic->d_un.d_val; break;
      case DT_SONAME: soname = dynamic->d_un.d_val; break;
      default: break;  // also DT_RELR, which has no symbols
    }
  }
  if (strings_ == nullptr) return;
  if (soname != 0) soname_ = strings_ + soname;
}

std::vector<std::string> Image::needed() const {
  std::vector<std::string> all;
  if (strings_ == nullptr) return all;
  for (const ElfW(Dyn)* entry = dynamic_; entry->d_tag != DT_NULL; ++entry)
    if (entry->d_tag == DT_NEEDED) all.emplace_back(strings_ + entry->d_un.d_val);
  return all;
}

void Image::for_each_pointer(Range to,
                             const std::function<void(void** word, void* pointer)>& visit) const {
  constexpr std::size_t kMost = 16U << 20U;
  std::size_t left = kMost;
  for (int i = 0; i < info_.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info_.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) == 0) continue;
    const std::size_t size = std::min<std::size_t>(segment.p_memsz, left);
    left -= size;
    const std::uintptr_t begin = info_.dlpi_addr + segment.p_vaddr;
    auto* at = reinterpret_cast<void**>((begin + alignof(void*) - 1) & ~(alignof(void*) - 1));
    auto* const end = reinterpret_cast<void**>((begin + size) & ~(alignof(void*) - 1));
    for (; (at = next_pointer(at, end, to)) < end; ++at) visit(at, load(at));
  }
}

std::string_view Image::file_name() const noexcept { return path_.substr(path_.rfind('/') + 1); }

bool Image::contains(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (int i = 0; i < info_.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info_.dlpi_phdr[i];
    const std::uintptr_t begin = info_.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && at >= begin && at < begin + segment.p_memsz) return true;
  }
  return false;
}

std::size_t Image::thread_local_bytes() const noexcept {
  for (int i = 0; i < info_.dlpi_phnum; ++i)
    if (info_.dlpi_phdr[i].p_type == PT_TLS) return info_.dlpi_phdr[i].p_memsz;
  return 0;
}

template <class Relocation>
void Image::visit_table(const Relocation* table, std::size_t bytes, const Visit& visit) const {
  if (table == nullptr || symbols_ == nullptr || strings_ == nullptr) return;
  for (std::size_t i = 0; i < bytes / sizeof(Relocation); ++i) {
    const Relocation& relocation = table[i];
    const unsigned type = type_of(relocation.r_info);
    if (type != kJumpSlot && type != kGlobalData && type != kAbsolute) continue;
    const ElfW(Sym)& symbol = symbols_[symbol_of(relocation.r_info)];
    if (symbol.st_shndx != SHN_UNDEF || symbol.st_name == 0) continue;  // its own symbol, or none
    if constexpr (requires { relocation.r_addend; })
      if (relocation.r_addend != 0) continue;
    visit(strings_ + symbol.st_name,
          reinterpret_cast<void**>(info_.dlpi_addr + relocation.r_offset), type == kAbsolute);
  }
}

void Image::for_each_import(const Visit& visit) const {
  if (plt_has_addends_)
    visit_table(static_cast<const ElfW(Rela)*>(plt_), plt_bytes_, visit);
  else
    visit_table(static_cast<const ElfW(Rel)*>(plt_), plt_bytes_, visit);
  visit_table(static_cast<const ElfW(Rela)*>(rela_), rela_bytes_, visit);
  visit_table(static_cast<const ElfW(Rel)*>(rel_), rel_bytes_, visit);
}

bool Image::is_made_read_only(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (int i = 0; i < info_.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info_.dlpi_phdr[i];
    if (segment.p_type != PT_GNU_RELRO) continue;
    // Whole pages, as the linker protects them.
    const std::uintptr_t begin = (info_.dlpi_addr + segment.p_vaddr) & ~(page() - 1);
    const std::uintptr_t end =
        (info_.dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page() - 1);
    if (at >= begin && at < end) return true;
  }
  return false;
}

bool Image::is_writable(const void* address) const noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (int i = 0; i < info_.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info_.dlpi_phdr[i];
    const std::uintptr_t begin = info_.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && at >= begin && at < begin + segment.p_memsz)
      return (segment.p_flags & PF_W) != 0;
  }
  return false;
}

bool Image::write(void** slot, void* value) const noexcept {
  if (!is_writable(slot)) return false;
  const bool read_only = is_made_read_only(slot);
  void* start = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(slot) & ~(page() - 1));
  if (read_only && ::mprotect(start, page(), PROT_READ | PROT_WRITE) != 0) return false;
  __atomic_store_n(slot, value, __ATOMIC_RELEASE);  // LLVM 16 has no std::atomic_ref
  if (read_only) ::mprotect(start, page(), PROT_READ);
  return true;
}

void visit_images(void (*visit)(const Image& image, void* argument), void* argument) {
  struct Visitor {
    void (*visit)(const Image& image, void* argument);
    void* argument;
    std::exception_ptr error;
  } visitor{visit, argument, nullptr};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* given) {
        auto& its = *static_cast<Visitor*>(given);
        try {
          its.visit(Image(*info), its.argument);
          return 0;
        } catch (...) {  // no exception may cross the linker
          its.error = std::current_exception();
          return 1;
        }
      },
      &visitor);
  if (visitor.error != nullptr) std::rethrow_exception(visitor.error);
}

}  // namespace fiber::monkey::detail
