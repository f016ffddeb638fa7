// The list of patched imports, for reports.
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

// Returns why patch_all never patches the object, or null. Excluded are the parts of libc, this
// library, and objects in between.
const char* why_untouchable(const Image& image) noexcept;

// Whether `name` is the object's path, its file name, or its DT_SONAME.
bool is_called(const Image& image, std::string_view name) noexcept;

// Returns the object's default policy.
Cancel policy_of(const Image& image);

// Patches objects that were loaded since, by the options `future`.
void patch_newcomers() noexcept;

}  // namespace fiber::monkey::detail
