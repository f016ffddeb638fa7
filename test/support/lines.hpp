// Lines of text. A failed comparison of one text shows all its lines.
#pragma once

#include <sstream>
#include <string>
#include <vector>

namespace support {

// Returns the lines as one text; each ends with a newline.
inline std::string text(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

// Returns the lines of a text.
inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace support
