// A body as a range of pieces.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace fiber::http {

namespace detail {

// An input range of strings for one pass. `next` returns an empty optional, or "", at the end.
template <class Next>
class Pulled {
 public:
  explicit Pulled(std::function<Next()> next) : next_(std::move(next)) {}

  class iterator {
   public:
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(Pulled* range) : range_(range) {}
    std::string& operator*() const noexcept {
      if constexpr (std::is_same_v<Next, std::string>)
        return range_->item_;
      else
        return *range_->item_;
    }
    iterator& operator++() {
      range_->item_ = range_->next_();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept {
      if constexpr (std::is_same_v<Next, std::string>)
        return range_->item_.empty();
      else
        return !range_->item_;
    }

   private:
    Pulled* range_ = nullptr;
  };

  // Waits for the first item.
  iterator begin() { return ++iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  std::function<Next()> next_;
  Next item_{};
};

}  // namespace detail

// The result of iter_content(), iter_chunked() and iter_any(): an input range of byte strings for
// one pass. Each step may wait for the network, and throws the exceptions of reading.
class Chunks : public detail::Pulled<std::string> {
 public:
  // `next` returns the next piece, "" at the end.
  using Pulled::Pulled;
};

// The result of iter_lines(): like Chunks, but items may be empty.
class Lines : public detail::Pulled<std::optional<std::string>> {
 public:
  // `next` returns the next line, nothing at the end.
  using Pulled::Pulled;
};

}  // namespace fiber::http
