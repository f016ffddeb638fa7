// Patches objects that are loaded later.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/image.hpp>
#include <fiber/monkey/patches.hpp>
#include <fiber/monkey/real.hpp>

#include <cstdlib>
#include <exception>
#include <string>

#include <dlfcn.h>
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

// The linker searches the search path of the caller of dlopen, which it knows by the return
// address: in our replacement that would be this library. So the caller's search path is searched
// here. Returns "" if the linker should search for the name.
std::string where_caller_means(const std::string& name, const void* caller) {
  std::string directories;
  std::string origin;
  for_each_image([&](const Image& image) {
    if (!image.contains(caller)) return;
    directories = image.search_path();
    origin = image.path().substr(0, image.path().rfind('/'));
  });
  const auto expanded = [&](std::string text) {
    for (const std::string_view token : {"${ORIGIN}", "$ORIGIN"})
      for (std::size_t at = 0; (at = text.find(token, at)) != std::string::npos;
           at += origin.size())
        text.replace(at, token.size(), origin);
    return text;
  };
  if (name.find('/') != std::string::npos) {
    std::string path = expanded(name);
    return path != name ? path : std::string();
  }
  const char* first = std::getenv("LD_LIBRARY_PATH");
  if (first != nullptr && any_directory(first, [&](const std::string& directory) {
        return exists(directory + "/" + name);
      }))
    return {};
  std::string found;
  any_directory(directories, [&](const std::string& directory) {
    std::string path = expanded(directory) + "/" + name;
    if (exists(path)) found = std::move(path);
    return !found.empty();
  });
  return found;
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
  if (library != nullptr && !in_foreign_process()) patch_newcomers();
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
