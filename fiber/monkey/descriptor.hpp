// A descriptor of our own.
#pragma once

#include <fiber/monkey/real.hpp>

#include <cerrno>

namespace fiber::monkey::detail {

// Closes a descriptor, if it is not -1, by libc's own close(); does not change errno.
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
