#include <fiber/http/headers.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>

namespace fiber::http {
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

Headers::Headers(std::initializer_list<value_type> items) {
  for (const auto& [name, value] : items) set(name, value);
}

Headers::const_iterator Headers::find(std::string_view name) const noexcept {
  return std::find_if(items_.begin(), items_.end(), [&](const value_type& item) {
    return item.first.size() == name.size() && equal_ignoring_case(item.first, name);
  });
}

const std::string& Headers::operator[](std::string_view name) const {
  const auto found = find(name);
  if (found == items_.end()) throw LookupError("'" + std::string(name) + "'");
  return found->second;
}

std::string Headers::get(std::string_view name, std::string_view fallback) const {
  const auto found = find(name);
  return found == items_.end() ? std::string(fallback) : found->second;
}

std::vector<std::string> Headers::getall(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& item : items_)
    if (equal_ignoring_case(item.first, name)) values.push_back(item.second);
  return values;
}

void Headers::set(std::string_view name, std::string_view value) {
  const auto found = find(name);
  if (found == items_.end()) return add(name, value);
  const auto first = items_.begin() + (found - items_.begin());
  first->second = value;
  items_.erase(
      std::remove_if(first + 1, items_.end(),
                     [&](const value_type& item) { return equal_ignoring_case(item.first, name); }),
      items_.end());
}

void Headers::add(std::string_view name, std::string_view value) {
  if (items_.capacity() == 0) items_.reserve(8);  // most heads have no more
  items_.emplace_back(name, value);
}

void Headers::update(const Headers& other) {
  for (const auto& [name, value] : other) set(name, value);
}

bool Headers::erase(std::string_view name) {
  return std::erase_if(items_, [&](const value_type& item) {
           return equal_ignoring_case(item.first, name);
         }) > 0;
}

bool operator==(const Headers& a, const Headers& b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return equal_ignoring_case(x.first, y.first) && x.second == y.second;
  });
}

}  // namespace fiber::http
