// Makes writes without a reader fail, instead of ending the program.
#pragma once

#include <fiber/platform/thread.hpp>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace fiber::asyncio::detail {

/// For calls that have no MSG_NOSIGNAL: this thread gets no SIGPIPE while the object lives.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigset_t pending;
    ::sigpending(&pending);
    if (::sigismember(&pending, SIGPIPE) == 1) return;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    active_ = ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_) == 0;
  }
  ~WithoutSigpipe() {
    if (!active_) return;
    const int error = errno;
    const platform::Uncancelled guard;
    constexpr timespec kNow{0, 0};
    while (::sigtimedwait(&pipe_, nullptr, &kNow) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool active_ = false;
};

inline bool would_block(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace fiber::asyncio::detail
