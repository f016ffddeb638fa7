// A descriptor of our own.
#pragma once

#include <fiber/monkey/real.hpp>

#include <cerrno>

namespace fiber::monkey::detail {

// Closes it, by libc's own call, and leaves errno as it was. It may be none: -1.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    const int error = errno;
    if (fd_ >= 0) real().close(fd_);
    errno = error;
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace fiber::monkey::detail
