// Two connected Unix sockets for tests that close, duplicate and renumber descriptors.
#pragma once

#include <fiber/exceptions.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace support {

struct SocketPair {
  explicit SocketPair(int type = SOCK_STREAM) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
      throw fiber::OSError("socketpair");
    one = ends[0];
    other = ends[1];
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() {
    ::close(one);
    ::close(other);
  }
  // Moves `one` to this number, whatever file had it before.
  void take_number(int number) {
    if (number == one) return;
    ::dup2(one, number);
    ::close(std::exchange(one, number));
  }
  int one;
  int other;
};

// Returns what can be read without waiting.
inline std::string read_now(int fd) {
  char text[100];
  const ssize_t size = ::recv(fd, text, sizeof text, MSG_DONTWAIT);
  return {text, size > 0 ? static_cast<std::size_t>(size) : 0};
}

inline void send(int fd, const std::string& text, int flags = 0) {
  CHECK(::send(fd, text.data(), text.size(), flags) == static_cast<ssize_t>(text.size()));
}

}  // namespace support
