// Memory for decrypted records.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace fiber::ssl::detail {

// The buffer for decrypted records: one per thread, and one more per layer on another layer.
class Scratch {
 public:
  static constexpr std::size_t kSize = 256 * 1024;

  Scratch() {
    if (spare().empty()) {
      buffer_.reset(new char[kSize]);
      return;
    }
    buffer_ = std::move(spare().back());
    spare().pop_back();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (spare().empty()) spare().push_back(std::move(buffer_));
  }
  char* data() const noexcept { return buffer_.get(); }

 private:
  static std::vector<std::unique_ptr<char[]>>& spare() {
    static thread_local std::vector<std::unique_ptr<char[]>> buffers = [] {
      std::vector<std::unique_ptr<char[]>> none;
      none.reserve(1);
      return none;
    }();
    return buffers;
  }
  std::unique_ptr<char[]> buffer_;
};

}  // namespace fiber::ssl::detail
