// A body as a range of pieces.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

namespace fiber::http {

// What iter_content(), iter_chunked() and iter_any() return: an input range of byte strings, to be
// gone through once. Each step may wait for the network and throw what reading throws.
class Chunks {
 public:
  // `next` returns the next piece, "" at the end.
  explicit Chunks(std::function<std::string()> next) : next_(std::move(next)) {}

  class iterator {
   public:
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(Chunks* chunks) : chunks_(chunks) {}
    std::string& operator*() const noexcept { return chunks_->piece_; }
    iterator& operator++() {
      chunks_->piece_ = chunks_->next_();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return chunks_->piece_.empty(); }

   private:
    Chunks* chunks_ = nullptr;
  };

  // Waits for the first piece.
  iterator begin() { return ++iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  std::function<std::string()> next_;
  std::string piece_;
};

// What iter_lines() returns: as Chunks, of items that may be empty.
class Lines {
 public:
  // `next` returns the next line, nothing at the end.
  explicit Lines(std::function<std::optional<std::string>()> next) : next_(std::move(next)) {}

  class iterator {
   public:
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(Lines* lines) : lines_(lines) {}
    std::string& operator*() const noexcept { return *lines_->line_; }
    iterator& operator++() {
      lines_->line_ = lines_->next_();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !lines_->line_; }

   private:
    Lines* lines_ = nullptr;
  };

  // Waits for the first line.
  iterator begin() { return ++iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  std::function<std::optional<std::string>()> next_;
  std::optional<std::string> line_;
};

}  // namespace fiber::http
