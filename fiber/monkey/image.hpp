// The loaded objects of this process, as the dynamic linker knows them, and their imports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <link.h>

namespace fiber::monkey::detail {

class Image {
 public:
  // Valid only during the visit: the linker holds its lock, so that the object stays loaded.
  explicit Image(const dl_phdr_info& info) noexcept;

  // The path of the object; for the program, the path of its file.
  std::string_view path() const noexcept { return path_; }
  // "libpq.so.5": the last part of the path, and the DT_SONAME of the object.
  std::string_view file_name() const noexcept;
  const char* soname() const noexcept { return soname_ != nullptr ? soname_ : ""; }
  // Returns the names of the objects that this object needs.
  std::vector<std::string> needed() const;
  std::uintptr_t base() const noexcept { return info_.dlpi_addr; }
  bool is_program() const noexcept { return *info_.dlpi_name == '\0'; }
  bool contains(const void* address) const noexcept;
  // Returns the size of the block that each thread has for the object's thread_locals, in bytes.
  std::size_t thread_local_bytes() const noexcept;

  // Calls `visit(name, slot, is_data)` for every slot with the address of an imported function.
  // `is_data`: the slot is a pointer in the object's data, which the object may have changed.
  using Visit = std::function<void(const char* name, void** slot, bool is_data)>;
  void for_each_import(const Visit& visit) const;

  // Calls `visit(word, pointer)` for every pointer in the object's variables that may point into a
  // range of addresses. Of a very large object only the first 16 MiB are searched.
  struct Range {
    const void* first;
    const void* last;
  };
  void for_each_pointer(Range to,
                        const std::function<void(void** word, void* pointer)>& visit) const;

  // Writes to a slot, which the linker may have made read-only.
  bool write(void** slot, void* value) const noexcept;

 private:
  template <class Relocation>
  void visit_table(const Relocation* table, std::size_t bytes, const Visit& visit) const;
  bool is_made_read_only(const void* address) const noexcept;
  bool is_writable(const void* address) const noexcept;

  const dl_phdr_info& info_;
  std::string_view path_;
  const char* strings_ = nullptr;
  const char* soname_ = nullptr;
  const ElfW(Dyn) * dynamic_ = nullptr;
  const ElfW(Sym) * symbols_ = nullptr;
  const void* plt_ = nullptr;
  std::size_t plt_bytes_ = 0;
  bool plt_has_addends_ = true;
  const void* rela_ = nullptr;
  std::size_t rela_bytes_ = 0;
  const void* rel_ = nullptr;
  std::size_t rel_bytes_ = 0;
};

void visit_images(void (*visit)(const Image& image, void* argument), void* argument);

// Calls visit(image) for each image. Allocates no memory, and throws only exceptions of `visit`.
template <class Visit>
void for_each_image(Visit visit) {
  visit_images([](const Image& image, void* argument) { (*static_cast<Visit*>(argument))(image); },
               &visit);
}

}  // namespace fiber::monkey::detail
