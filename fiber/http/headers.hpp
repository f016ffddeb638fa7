// HTTP header fields: an ordered dictionary whose names ignore case.
#pragma once

#include <fiber/config.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::http {

// requests.structures.CaseInsensitiveDict, and with add() and getall() multidict.CIMultiDict.
// Keeps the order of insertion and the case of the names as they were first given. A plain value:
// use one object from one thread at a time.
class FIBER_API Headers {
 public:
  using value_type = std::pair<std::string, std::string>;
  using const_iterator = std::vector<value_type>::const_iterator;

  Headers() = default;
  // {{"Accept", "text/html"}, {"X-Token", "1"}}; a later value replaces an earlier one.
  Headers(std::initializer_list<value_type> items);

  // Returns the (first) value. Throws LookupError, Python's KeyError, if there is none.
  const std::string& operator[](std::string_view name) const;
  // Returns the (first) value, `fallback` if there is none.
  std::string get(std::string_view name, std::string_view fallback = {}) const;
  // Returns all values of a repeated field, in order; empty if there is none.
  std::vector<std::string> getall(std::string_view name) const;
  bool contains(std::string_view name) const noexcept { return find(name) != items_.end(); }

  // d[name] = value: replaces every value of that name, in the place of the first.
  void set(std::string_view name, std::string_view value);
  // Adds a value, also if the name has values already.
  void add(std::string_view name, std::string_view value);
  // d.update(other): set() for each field of `other`.
  void update(const Headers& other);
  // Removes every value of that name; false if there was none.
  bool erase(std::string_view name);
  void clear() noexcept { items_.clear(); }

  const_iterator begin() const noexcept { return items_.begin(); }
  const_iterator end() const noexcept { return items_.end(); }
  std::size_t size() const noexcept { return items_.size(); }
  bool empty() const noexcept { return items_.empty(); }

  // Whether both have equal fields in equal order; the case of names is ignored.
  FIBER_API friend bool operator==(const Headers& a, const Headers& b) noexcept;

 private:
  const_iterator find(std::string_view name) const noexcept;

  std::vector<value_type> items_;
};

// Compares letters of ASCII without case, in every locale.
FIBER_API bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace fiber::http
