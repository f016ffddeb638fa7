// Header fields in one text: a head as it was received, or one that many requests have in common.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/block_pool.hpp>
#include <fiber/core/ref.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace fiber::http {

/// A field as received; the value without the space around it.
struct FieldView {
  std::string_view name;   ///< as it was written by the peer
  std::string_view value;  ///< without the space around it
};

namespace detail {

/// Fields in their order, to be read one after the other. Headers makes strings of them at the
/// first access; until then a copy is one more reference. Nothing changes once it is shared.
class FIBER_API PackedHeaders final : public core::SharedCounted<PackedHeaders> {
  struct Sizes {
    std::uint32_t name, value;
  };

 public:
  /// The most bytes of a head that is packed.
  static constexpr std::size_t most = 16 * 1024 * 1024;

  class Iterator {
   public:
    explicit Iterator(const char* at) noexcept : at_(at) {}
    FieldView operator*() const noexcept {
      const Sizes sizes = sizes_at(at_);
      const char* name = at_ + sizeof sizes;
      return {{name, sizes.name}, {name + sizes.name, sizes.value}};
    }
    Iterator& operator++() noexcept {
      const Sizes sizes = sizes_at(at_);
      at_ += sizeof sizes + sizes.name + sizes.value;
      return *this;
    }
    bool operator==(const Iterator&) const noexcept = default;

   private:
    const char* at_;
  };

  PackedHeaders() noexcept = default;
  ~PackedHeaders() {
    if (text_ != room_) delete[] text_;
  }
  static void* operator new(std::size_t size) {
    return core::allocate_block(size, std::align_val_t(alignof(PackedHeaders)));
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    core::release_block(memory, size, std::align_val_t(alignof(PackedHeaders)));
  }

  Iterator begin() const noexcept { return Iterator(text_); }
  Iterator end() const noexcept { return Iterator(text_ + used_); }
  std::size_t size() const noexcept { return count_; }

  void add(std::string_view name, std::string_view value) {
    const std::size_t before = used_;
    char* at = claim(sizeof(Sizes) + name.size() + value.size());
    put_sizes(at,
              {static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(value.size())});
    name.copy(at + sizeof(Sizes), name.size());
    value.copy(at + sizeof(Sizes) + name.size(), value.size());
    last_ = before;
    ++count_;
  }
  /// Appends to the value of the last field.
  void lengthen(std::string_view more) {
    more.copy(claim(more.size()), more.size());
    Sizes sizes = sizes_at(text_ + last_);
    sizes.value += static_cast<std::uint32_t>(more.size());
    put_sizes(text_ + last_, sizes);
  }
  /// The place of the last field, and the field at a place.
  std::size_t last() const noexcept { return last_; }
  FieldView at(std::size_t place) const noexcept { return *Iterator(text_ + place); }

 private:
  static Sizes sizes_at(const char* at) noexcept {
    Sizes sizes;
    std::memcpy(&sizes, at, sizeof sizes);
    return sizes;
  }
  static void put_sizes(char* at, const Sizes& sizes) noexcept {
    std::memcpy(at, &sizes, sizeof sizes);
  }
  /// Returns memory behind the text, for so many bytes more of it.
  char* claim(std::size_t bytes) {
    if (bytes > capacity_ - used_) grow(bytes);
    return text_ + std::exchange(used_, used_ + bytes);
  }
  void grow(std::size_t bytes) {
    const std::size_t capacity = 2 * (used_ + bytes);
    char* text = new char[capacity];
    std::memcpy(text, text_, used_);
    if (text_ != room_) delete[] text_;
    text_ = text;
    capacity_ = capacity;
  }

  static constexpr std::size_t kRoom = 464;  ///< most heads fit

  std::size_t used_ = 0;
  std::size_t capacity_ = kRoom;
  std::size_t last_ = 0;  ///< where the last field begins
  std::size_t count_ = 0;
  char* text_ = room_;  ///< for each field its Sizes, its name and its value
  char room_[kRoom];
};

}  // namespace detail
}  // namespace fiber::http
