#include <fiber/demangle.hpp>

#include <fiber/core/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <cxxabi.h>

namespace fiber::core {
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

std::string demangle(const char* mangled) {
  // The runtime's demangler keeps its tables on the stack, 80 bytes for each byte of a name.
  const std::size_t room = std::max(kRoom, 16 * 1024 + 80 * std::strlen(mangled));
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> readable(nullptr, std::free);
  with_room([&] { readable.reset(abi::__cxa_demangle(mangled, nullptr, nullptr, &status)); }, room);
  if (status != 0 || !readable) return mangled;
  std::string name = readable.get();
  // The names that every user writes differently from their mangled form.
  replace_all(name,
              "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >",
              "std::string");
  replace_all(name, "std::basic_string_view<char, std::char_traits<char> >", "std::string_view");
  replace_all(name, "std::__cxx11::", "std::");
  return name;
}

}  // namespace fiber::core
