// Names and values in order; names may repeat.
#pragma once

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::http {

/// multidict.MultiDict with texts as names. A plain value: use an object from one thread at a time.
template <class T>
class MultiDictOf {
 public:
  using value_type = std::pair<std::string, T>;
  /// Iterates over pairs of name and value.
  using const_iterator = typename std::vector<value_type>::const_iterator;

  MultiDictOf() = default;
  MultiDictOf(std::initializer_list<value_type> items) : items_(items) {}
  explicit MultiDictOf(std::vector<value_type> items) : items_(std::move(items)) {}

  /// Returns the (first) value. Throws LookupError, Python's KeyError, if there is none.
  const T& operator[](std::string_view name) const {
    const auto found = find(name);
    if (found == items_.end()) throw LookupError("'" + std::string(name) + "'");
    return found->second;
  }
  /// Returns the (first) value, `fallback` if there is none.
  T get(std::string_view name, T fallback = {}) const {
    const auto found = find(name);
    return found == items_.end() ? std::move(fallback) : found->second;
  }
  /// Returns all values of a name, in order.
  std::vector<T> getall(std::string_view name) const {
    std::vector<T> values;
    for (const value_type& item : items_)
      if (item.first == name) values.push_back(item.second);
    return values;
  }
  /// Returns whether there is a value of that name. Python: name in multidict.
  bool contains(std::string_view name) const noexcept { return find(name) != items_.end(); }
  /// Adds a value behind the others; the name may have values already.
  void add(std::string name, T value) { items_.emplace_back(std::move(name), std::move(value)); }

  const_iterator begin() const noexcept { return items_.begin(); }  ///< the items in their order
  const_iterator end() const noexcept { return items_.end(); }      ///< behind the last item
  /// The number of items, repeated names included.
  std::size_t size() const noexcept { return items_.size(); }
  bool empty() const noexcept { return items_.empty(); }  ///< true without items
  friend bool operator==(const MultiDictOf&, const MultiDictOf&) = default;

 private:
  const_iterator find(std::string_view name) const noexcept {
    return std::find_if(items_.begin(), items_.end(),
                        [&](const value_type& item) { return item.first == name; });
  }

  std::vector<value_type> items_;
};
using MultiDict = MultiDictOf<std::string>;

}  // namespace fiber::http
