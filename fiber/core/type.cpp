#include <fiber/core/type.hpp>

#include <fiber/demangle.hpp>

namespace fiber::core {

// The signatures look like this. GCC: "... signature_of() [with T = int; std::string_view = ...]",
// Clang: "... [T = int]".
std::string name_in_signature(std::string_view signature) {
  constexpr std::string_view kMark = "T = ";
  const auto begin = signature.find(kMark);
  if (begin == std::string_view::npos) return std::string(signature);
  const auto end = signature.find_first_of(";]", begin);
  std::string name(signature.substr(begin + kMark.size(), end - begin - kMark.size()));
  replace_all(name, "std::__cxx11::", "std::");
  replace_all(name, "std::__1::", "std::");
  replace_all(name, "std::basic_string<char>", "std::string");
  replace_all(name, "long unsigned int", "unsigned long");
  replace_all(name, "long int", "long");
  replace_all(name, " *", "*");
  replace_all(name, " &", "&");
  return name;
}

bool same_signature(const Type& a, const Type& b) noexcept {
  if (a.signature != b.signature) return false;
  for (const char* unnamed : {"anonymous", "unnamed", "lambda"})
    if (a.signature.find(unnamed) != std::string_view::npos) return false;
  return true;
}

}  // namespace fiber::core
