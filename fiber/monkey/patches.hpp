// What is patched, for those who report it.
#pragma once

#include <fiber/monkey.hpp>
#include <fiber/monkey/image.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fiber::monkey::detail {

struct PatchedImport {
  std::string object;
  std::string function;
  Cancel cancel;
  bool is_copy;  // a pointer that the object had copied
};
std::vector<PatchedImport> patched_imports();

// Null, or why the object is never patched by patch_all: libc's own parts, ourselves, and those who
// stand between.
const char* why_untouchable(const Image& image) noexcept;

// True if the object is called so: by a path, by the file's name, or by what it calls itself.
bool is_called(const Image& image, std::string_view name) noexcept;

// What cancellation does to the object unless the program says it.
Cancel policy_of(const Image& image);

// Patches what has been loaded since, as the options `future` say.
void patch_newcomers() noexcept;

}  // namespace fiber::monkey::detail
