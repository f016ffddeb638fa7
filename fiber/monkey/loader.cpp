// Patches objects that are loaded later.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/image.hpp>
#include <fiber/monkey/patches.hpp>
#include <fiber/monkey/real.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// Calls `visit(directory)` for each directory of "a:b:c" until it returns true.
template <class F>
bool any_directory(std::string_view list, F visit) {
  while (!list.empty()) {
    const std::size_t end = list.find(':');
    if (visit(std::string(list.substr(0, end)))) return true;
    if (end == std::string_view::npos) break;
    list.remove_prefix(end + 1);
  }
  return false;
}

bool exists(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

// Returns the directories that the linker searches for an object with this code.
std::vector<std::string> searched_for(const void* code) {
  Dl_info info;
  link_map* object = nullptr;
  if (::dladdr1(code, &info, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) == 0) return {};
  Dl_serinfo head{};
  if (::dlinfo(object, RTLD_DI_SERINFOSIZE, &head) != 0) return {};
  const std::unique_ptr<std::byte[]> memory(new std::byte[head.dls_size]);
  auto* all = new (memory.get()) Dl_serinfo(head);
  if (::dlinfo(object, RTLD_DI_SERINFO, all) != 0) return {};
  std::vector<std::string> directories;
  for (unsigned i = 0; i < all->dls_cnt; ++i) directories.push_back(all->dls_serpath[i].dls_name);
  return directories;
}

// Returns a path with the folder of the object with this code for "$ORIGIN".
std::string with_origin(std::string path, const void* code) {
  std::string origin;
  for_each_image([&](const Image& image) {
    if (image.contains(code)) origin = image.path().substr(0, image.path().rfind('/'));
  });
  for (const std::string_view token : {"${ORIGIN}", "$ORIGIN"})
    for (std::size_t at = 0; (at = path.find(token, at)) != std::string::npos; at += origin.size())
      path.replace(at, token.size(), origin);
  return path;
}

// The linker searches the search path of the caller of dlopen, which it knows by the return
// address: in our replacement that would be this library. So the caller's search path is searched
// here. Returns "" if the linker should search for the name.
std::string where_caller_means(const std::string& name, const void* caller) {
  if (name.find('/') != std::string::npos) {
    std::string path = with_origin(name, caller);
    return path != name ? path : std::string();
  }
  const char* first = std::getenv("LD_LIBRARY_PATH");
  if (first != nullptr && any_directory(first, [&](const std::string& directory) {
        return exists(directory + "/" + name);
      }))
    return {};
  // What every object has, such as libc, is the linker's to search.
  const std::vector<std::string> usual = searched_for(reinterpret_cast<void*>(real().dlopen));
  for (const std::string& directory : searched_for(caller))
    if (std::find(usual.begin(), usual.end(), directory) == usual.end())
      if (std::string path = directory + "/" + name; exists(path)) return path;
  return {};
}

// Loads an object. May throw the exceptions of the object's constructors.
void* load(const char* name, int flags, const void* caller) {
  if (name != nullptr && (flags & RTLD_NOLOAD) == 0) {
    if (void* loaded = real().dlopen(name, flags | RTLD_NOLOAD)) return loaded;
    const std::string path = where_caller_means(name, caller);
    if (!path.empty()) return real().dlopen(path.c_str(), flags);
  }
  return real().dlopen(name, flags);
}

void* dlopen_(const char* name, int flags) {
  void* library = load(name, flags, __builtin_return_address(0));
  if (library == nullptr) return nullptr;
  if (!in_foreign_process()) patch_newcomers();
  ::dlerror();  // the last call has succeeded
  return library;
}

}  // namespace

std::span<const Hook> loader_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<dlopen_>("dlopen"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
