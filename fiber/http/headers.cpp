#include <fiber/http/headers.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <optional>

namespace fiber::http {
namespace {

// Returns the value of the first field of that name.
std::optional<std::string_view> find_packed(const detail::PackedHeaders& fields,
                                            std::string_view name) noexcept {
  for (const FieldView field : fields)
    if (equal_ignoring_case(field.name, name)) return field.value;
  return std::nullopt;
}

}  // namespace

bool detail::equal_letters(std::string_view a, std::string_view b) noexcept {
  // Most names are written in one way.
  return a == b || std::equal(a.begin(), a.end(), b.begin(),
                              [](char x, char y) { return lower(x) == lower(y); });
}

Headers::Headers(std::initializer_list<value_type> items) {
  for (const auto& [name, value] : items) set(name, value);
}

// Returns the fields for further Headers to share; null for very many bytes.
core::Ref<detail::PackedHeaders> Headers::packed() const {
  if (packed_) return packed_;
  core::Ref<detail::PackedHeaders> all(new detail::PackedHeaders);
  std::size_t bytes = 0;
  for (const auto& [name, value] : items_) bytes += name.size() + value.size();
  if (bytes > detail::PackedHeaders::most) return nullptr;
  for (const auto& [name, value] : items_) all->add(name, value);
  return all;
}

void Headers::unpack() const {
  std::vector<value_type> items;
  items.reserve(packed_->size());
  for (const FieldView field : *packed_) items.emplace_back(field.name, field.value);
  items_ = std::move(items);
  packed_ = nullptr;
}

std::vector<Headers::value_type>::iterator Headers::find(std::string_view name) const {
  std::vector<value_type>& all = items();
  return std::find_if(all.begin(), all.end(), [&](const value_type& item) {
    return equal_ignoring_case(item.first, name);
  });
}

const std::string& Headers::operator[](std::string_view name) const {
  const auto found = find(name);
  if (found == items_.end()) throw LookupError("'" + std::string(name) + "'");
  return found->second;
}

std::string Headers::get(std::string_view name, std::string_view fallback) const {
  if (packed_) return std::string(find_packed(*packed_, name).value_or(fallback));
  const auto found = find(name);
  return found == items_.end() ? std::string(fallback) : found->second;
}

std::vector<std::string> Headers::getall(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& item : items())
    if (equal_ignoring_case(item.first, name)) values.push_back(item.second);
  return values;
}

bool Headers::contains(std::string_view name) const noexcept {
  if (packed_) return find_packed(*packed_, name).has_value();
  return std::any_of(items_.begin(), items_.end(),
                     [&](const value_type& item) { return equal_ignoring_case(item.first, name); });
}

void Headers::set(std::string_view name, std::string_view value) {
  const auto first = find(name);
  if (first == items_.end()) return add(name, value);
  first->second = value;
  items_.erase(
      std::remove_if(first + 1, items_.end(),
                     [&](const value_type& item) { return equal_ignoring_case(item.first, name); }),
      items_.end());
}

void Headers::add(std::string_view name, std::string_view value) {
  std::vector<value_type>& all = items();
  if (all.capacity() == 0) all.reserve(8);  // most heads have no more
  all.emplace_back(name, value);
}

void Headers::update(const Headers& other) {
  if (&other == this) return;
  const auto& added = other.items();
  for (auto item = added.begin(); item != added.end(); ++item) {
    // A name that `other` has several times replaces the values here, and keeps its own.
    const bool repeated = std::any_of(added.begin(), item, [&](const value_type& earlier) {
      return equal_ignoring_case(earlier.first, item->first);
    });
    if (repeated)
      add(item->first, item->second);
    else
      set(item->first, item->second);
  }
}

bool Headers::erase(std::string_view name) {
  return std::erase_if(items(), [&](const value_type& item) {
           return equal_ignoring_case(item.first, name);
         }) > 0;
}

bool operator==(const Headers& a, const Headers& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return equal_ignoring_case(x.first, y.first) && x.second == y.second;
  });
}

}  // namespace fiber::http
