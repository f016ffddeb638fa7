// A descriptor of our own.
#pragma once

#include <fiber/monkey/real.hpp>
#include <fiber/platform/own_descriptors.hpp>

#include <cerrno>
#include <utility>

#include <pthread.h>

namespace fiber::monkey::detail {

// Closes a descriptor, if it is not -1, by libc's own close(); does not change errno. No
// pthread_cancel() ends the thread here, where nothing can be unwound. Patched code does not close
// it, and if other code does, it is as if it were lost: its number may stand for another file.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) { platform::enter_own(fd); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ < 0 || !platform::leave_own(fd_)) return;
    const int error = errno;
    int cancelable = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    real().close(fd_);
    ::pthread_setcancelstate(cancelable, nullptr);
    errno = error;
  }
  int get() const noexcept { return fd_; }
  int release() noexcept {
    platform::leave_own(fd_);
    return std::exchange(fd_, -1);
  }

 private:
  int fd_;
};

}  // namespace fiber::monkey::detail
