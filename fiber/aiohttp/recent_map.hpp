// A hash map that looks at the entry of its last search first: most requests of a session go where
// the request before went.
#pragma once

#include <cstddef>
#include <functional>
#include <unordered_map>

namespace fiber::aiohttp::detail {

/// Entries stay where they are until they are erased.
template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<>>
class RecentMap {
  using Entries = std::unordered_map<Key, Value, Hash, Equal>;

 public:
  using Entry = typename Entries::value_type;

  /// Returns the entry of the key, null if there is none.
  template <class Name>
  Entry* find(const Name& key) {
    if (recent_ != nullptr && Equal()(recent_->first, key)) return recent_;
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    return recent_ = &*found;
  }
  /// Returns the entry of the key, made if there is none.
  Entry& entry(const Key& key) {
    if (Entry* found = find(key)) return *found;
    return *(recent_ = &*entries_.try_emplace(key).first);
  }
  void erase(const Entry& entry) {
    if (recent_ == &entry) recent_ = nullptr;
    entries_.erase(entries_.find(entry.first));
  }
  template <class Condition>
  void erase_if(Condition condition) {
    recent_ = nullptr;
    std::erase_if(entries_, condition);
  }
  void clear() noexcept {
    recent_ = nullptr;
    entries_.clear();
  }

  std::size_t size() const noexcept { return entries_.size(); }
  auto begin() noexcept { return entries_.begin(); }
  auto end() noexcept { return entries_.end(); }

 private:
  Entries entries_;
  Entry* recent_ = nullptr;
};

}  // namespace fiber::aiohttp::detail
