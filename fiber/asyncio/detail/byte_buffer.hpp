// A buffer of bytes: they enter at the end and leave at the front.
#pragma once

#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::asyncio::detail {

class ByteBuffer {
 public:
  bool empty() const noexcept { return begin_ == end_; }
  std::size_t size() const noexcept { return end_ - begin_; }
  std::string_view view() const noexcept { return {data_.get() + begin_, size()}; }

  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    if (capacity_ - end_ < bytes.size()) make_room(bytes.size());
    std::memcpy(data_.get() + end_, bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void prepend(std::string_view bytes) {
    ByteBuffer whole;
    whole.make_room(bytes.size() + size());
    whole.append(bytes);
    whole.append(view());
    *this = std::move(whole);
  }
  void consume(std::size_t count) noexcept {
    begin_ += count;
    if (begin_ == end_) clear();
  }
  // Removes the first bytes and returns them.
  std::string take(std::size_t count) {
    std::string bytes(view().substr(0, count));
    consume(bytes.size());
    return bytes;
  }
  // Empties the buffer; an idle connection keeps only a small piece of memory.
  void clear() noexcept {
    begin_ = end_ = 0;
    if (capacity_ <= kKept) return;
    data_.reset();
    capacity_ = 0;
  }

 private:
  static constexpr std::size_t kKept = 4096;

  void make_room(std::size_t count) {
    const std::size_t used = size();
    // Moving the bytes to the front pays if it frees at least as many as it moves.
    if (begin_ >= used && capacity_ - used >= count) {
      if (used != 0) std::memmove(data_.get(), data_.get() + begin_, used);
    } else {
      std::size_t capacity = capacity_ < 256 ? 512 : capacity_ * 2;
      while (capacity < used + count) capacity *= 2;
      core::Owner<char[]> data(new char[capacity]);
      if (used != 0) std::memcpy(data.get(), data_.get() + begin_, used);
      data_ = std::move(data);
      capacity_ = capacity;
    }
    begin_ = 0;
    end_ = used;
  }

  core::Owner<char[]> data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace fiber::asyncio::detail
