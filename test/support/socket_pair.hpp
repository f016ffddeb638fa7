// Two connected Unix sockets.
#pragma once

#include <fiber/exceptions.hpp>

#include <cerrno>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include "support/descriptor.hpp"

namespace support {

struct SocketPair {
  explicit SocketPair(int type = SOCK_STREAM | SOCK_NONBLOCK) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
      fiber::raise_os_error(errno, "socketpair");
    one = Descriptor(ends[0]);
    other = Descriptor(ends[1]);
  }
  // Moves `one` to this number, whatever file had it before.
  void take_number(int number) {
    if (number == one) return;
    ::dup2(one, number);
    one.close();
    one = Descriptor(number);
  }
  Descriptor one, other;
};

// Returns what can be read without waiting.
inline std::string read_now(int fd) {
  char text[100];
  const ssize_t size = ::recv(fd, text, sizeof text, MSG_DONTWAIT);
  return {text, size > 0 ? static_cast<std::size_t>(size) : 0};
}

inline void send(int fd, const std::string& text, int flags = 0) {
  if (::send(fd, text.data(), text.size(), flags) != static_cast<ssize_t>(text.size()))
    fiber::raise_os_error(errno, "send");
}

}  // namespace support
