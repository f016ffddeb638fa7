// Looks for objects and calls in what patching and reports return.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace monkey_test {

// Returns the first object with this text in its name; null if there is none.
template <class Object>
const Object* find(const std::vector<Object>& all, const std::string& part) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Object& one) {
    return one.object.find(part) != std::string::npos;
  });
  return found != all.end() ? &*found : nullptr;
}

inline bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace monkey_test
