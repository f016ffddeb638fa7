#include "script.hpp"

#include <cstddef>
#include <fstream>
#include <string_view>

namespace fiber::tool {

std::string interpreter_of_script(const std::string& path) {
  char head[256];  // the kernel looks at no more
  std::ifstream file(path, std::ios::binary);
  file.read(head, sizeof head);
  const std::string_view read(head, static_cast<std::size_t>(file.gcount()));
  if (!read.starts_with("#!")) return {};
  constexpr std::string_view kSpaces = " \t";
  std::string_view line = read.substr(2);
  const std::size_t newline = line.find('\n');
  line = line.substr(0, newline);
  const std::size_t begin = line.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  line.remove_prefix(begin);
  const std::size_t end = line.find_first_of(std::string_view(" \t\0", 3));
  const bool is_cut = newline == std::string_view::npos && end == std::string_view::npos &&
                      read.size() == sizeof head;
  return is_cut ? std::string() : std::string(line.substr(0, end));
}

}  // namespace fiber::tool
