// The header fields of a message as they arrived, without a copy of them.
#pragma once

#include <fiber/exceptions.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/packed_headers.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

/// A view with the functions of Headers that change nothing. The texts live as long as their
/// message: a request's until its handler has returned. Python: multidict.CIMultiDictProxy.
class HeadersView {
 public:
  using value_type = FieldView;
  using const_iterator = std::vector<FieldView>::const_iterator;  ///< Iterates over FieldViews.

  explicit HeadersView(const std::vector<FieldView>& fields) noexcept : fields_(&fields) {}

  /// Returns the (first) value. Throws LookupError, Python's KeyError, if there is none.
  std::string_view operator[](std::string_view name) const {
    for (const FieldView& field : *fields_)
      if (equal_ignoring_case(field.name, name)) return field.value;
    throw LookupError("'" + std::string(name) + "'");
  }
  /// Returns the (first) value, `fallback` if there is none.
  std::string_view get(std::string_view name, std::string_view fallback = {}) const noexcept {
    for (const FieldView& field : *fields_)
      if (equal_ignoring_case(field.name, name)) return field.value;
    return fallback;
  }
  /// Returns all values of a repeated field, in order.
  std::vector<std::string_view> getall(std::string_view name) const {
    std::vector<std::string_view> values;
    for (const FieldView& field : *fields_)
      if (equal_ignoring_case(field.name, name)) values.push_back(field.value);
    return values;
  }
  /// Returns whether there is a field of that name. Python: name in headers.
  bool contains(std::string_view name) const noexcept {
    for (const FieldView& field : *fields_)
      if (equal_ignoring_case(field.name, name)) return true;
    return false;
  }
  /// Returns a copy, which may outlive the message.
  Headers copy() const {
    Headers all;
    for (const FieldView& field : *fields_) all.add(field.name, field.value);
    return all;
  }

  /// The fields in their order, repeated ones too.
  const_iterator begin() const noexcept { return fields_->begin(); }
  const_iterator end() const noexcept { return fields_->end(); }  ///< behind the last field
  /// The number of fields, repeated ones too.
  std::size_t size() const noexcept { return fields_->size(); }
  bool empty() const noexcept { return fields_->empty(); }  ///< true without fields

 private:
  const std::vector<FieldView>* fields_;
};

}  // namespace fiber::http
