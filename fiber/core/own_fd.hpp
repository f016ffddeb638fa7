// An open descriptor that the library has for itself.
#pragma once

#include <fiber/core/unique_fd.hpp>
#include <fiber/platform/own_descriptors.hpp>

#include <utility>

namespace fiber::core {

/// Owns a descriptor of which no user knows; -1 stands for none. Patched code does not close it.
/// Other code may; then its number may stand for another file, which stays open.
class OwnFd {
 public:
  explicit OwnFd(int fd = -1) noexcept : fd_(fd), file_(fd) { platform::enter_own(fd); }
  OwnFd(OwnFd&&) noexcept = default;
  OwnFd& operator=(OwnFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(file_, other.file_);
    return *this;
  }
  ~OwnFd() { reset(); }
  int get() const noexcept { return fd_.get(); }
  /// Returns false if other code has closed it, as far as the kernel tells.
  bool is_open() const noexcept {
    return platform::is_own(get()) && platform::FileIdentity(get()) == file_;
  }
  void reset() noexcept {
    if (get() < 0) return;
    const bool same = platform::FileIdentity(get()) == file_;
    if (platform::leave_own(get()) && same)
      fd_.reset();
    else
      static_cast<void>(fd_.release());
  }

 private:
  UniqueFd fd_;
  platform::FileIdentity file_;
};

}  // namespace fiber::core
