// Texts as lines, to compare as one text: a failure then shows all of them.
#pragma once

#include <string>
#include <vector>

namespace support {

// Returns the lines as one text; each ends with a newline.
inline std::string text(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

}  // namespace support
