// Descriptors that close themselves.
#pragma once

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace support {

// Owns a descriptor, or none. `kClose` closes it: tests of patched calls have a close() of their
// own.
template <int (*kClose)(int)>
class DescriptorClosedBy {
 public:
  DescriptorClosedBy() = default;
  // Takes the result of a system call, and throws the call's error.
  explicit DescriptorClosedBy(int fd) : fd_(fd) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "no descriptor");
  }
  DescriptorClosedBy(DescriptorClosedBy&& other) noexcept : fd_(other.release()) {}
  DescriptorClosedBy& operator=(DescriptorClosedBy&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = other.release();
    }
    return *this;
  }
  ~DescriptorClosedBy() { close(); }
  operator int() const { return fd_; }  // NOLINT(google-explicit-constructor)
  int close() { return fd_ >= 0 ? kClose(release()) : 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

using Descriptor = DescriptorClosedBy<::close>;

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw std::system_error(errno, std::generic_category(), "pipe2");
    reads = Descriptor(ends[0]);
    writes = Descriptor(ends[1]);
  }
  Pipe(Descriptor to_read, Descriptor to_write)
      : reads(std::move(to_read)), writes(std::move(to_write)) {}
  Descriptor reads, writes;
};

}  // namespace support
