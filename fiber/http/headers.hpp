// HTTP header fields: an ordered dictionary whose names ignore case.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/http/packed_headers.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::http {

/// requests.structures.CaseInsensitiveDict, and with add() and getall() multidict.CIMultiDict.
/// Keeps the order of insertion and the case of the names as they were first given. A plain value:
/// use one object from one thread at a time, also to read: fields that were received become strings
/// at the first look.
class FIBER_API Headers {
 public:
  using value_type = std::pair<std::string, std::string>;
  /// Iterates over pairs of name and value.
  using const_iterator = std::vector<value_type>::const_iterator;

  Headers() = default;
  /// {{"Accept", "text/html"}, {"X-Token", "1"}}; a later value replaces an earlier one.
  Headers(std::initializer_list<value_type> items);
  /// For the library's own use: fields that become strings when a function needs strings.
  explicit Headers(core::Ref<detail::PackedHeaders> packed) noexcept : packed_(std::move(packed)) {}
  core::Ref<detail::PackedHeaders> packed() const;  ///< null for too many bytes

  /// Returns the (first) value. Throws LookupError, Python's KeyError, if there is none.
  const std::string& operator[](std::string_view name) const;
  /// Returns the (first) value, `fallback` if there is none.
  std::string get(std::string_view name, std::string_view fallback = {}) const;
  /// Returns all values of a repeated field, in order; empty if there is none.
  std::vector<std::string> getall(std::string_view name) const;
  /// Returns whether there is a field of that name. Python: name in headers.
  bool contains(std::string_view name) const noexcept;

  /// d[name] = value: replaces every value of that name, in the place of the first.
  void set(std::string_view name, std::string_view value);
  /// Adds a value, also if the name has values already.
  void add(std::string_view name, std::string_view value);
  /// d.update(other): the fields of `other`, repeated ones too, replace those of their names.
  void update(const Headers& other);
  /// Removes every value of that name; false if there was none.
  bool erase(std::string_view name);
  /// Removes all fields.
  void clear() noexcept {
    packed_ = nullptr;
    items_.clear();
  }

  /// The fields in their order, repeated ones too.
  const_iterator begin() const { return items().begin(); }
  const_iterator end() const { return items().end(); }  ///< behind the last field
  /// The number of fields, repeated ones too.
  std::size_t size() const noexcept { return packed_ ? packed_->size() : items_.size(); }
  bool empty() const noexcept { return size() == 0; }  ///< true without fields

  /// Whether both have equal fields in equal order; the case of names is ignored.
  FIBER_API friend bool operator==(const Headers& a, const Headers& b);

 private:
  std::vector<value_type>& items() const {
    if (packed_) unpack();
    return items_;
  }
  void unpack() const;
  std::vector<value_type>::iterator find(std::string_view name) const;

  mutable std::vector<value_type> items_;
  mutable core::Ref<detail::PackedHeaders> packed_;  ///< in place of items_, or null
};

namespace detail {
/// Compares texts of equal length.
FIBER_API bool equal_letters(std::string_view a, std::string_view b) noexcept;
}  // namespace detail

/// Compares letters of ASCII without case, in every locale.
inline bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && detail::equal_letters(a, b);
}

}  // namespace fiber::http
