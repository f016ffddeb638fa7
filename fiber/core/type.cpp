#include <fiber/core/type.hpp>

namespace fiber::core {
namespace {

void substitute(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

// GCC: "... signature_of() [with T = int; std::string_view = ...]", Clang: "... [T = int]".
std::string name_in_signature(std::string_view signature) {
  constexpr std::string_view kMark = "T = ";
  const auto begin = signature.find(kMark);
  if (begin == std::string_view::npos) return std::string(signature);
  const auto end = signature.find_first_of(";]", begin);
  std::string name(signature.substr(begin + kMark.size(), end - begin - kMark.size()));
  substitute(name, "std::__cxx11::", "std::");
  substitute(name, "std::basic_string<char>", "std::string");
  substitute(name, "long unsigned int", "unsigned long");
  substitute(name, "long int", "long");
  substitute(name, " *", "*");
  substitute(name, " &", "&");
  return name;
}

bool same_signature(const Type& a, const Type& b) noexcept {
  if (a.signature != b.signature) return false;
  for (const char* unnamed : {"anonymous", "unnamed", "lambda"})
    if (a.signature.find(unnamed) != std::string_view::npos) return false;
  return true;
}

}  // namespace fiber::core
