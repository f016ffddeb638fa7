// Plain sockets for the programs of the echo and HTTP rows. An error ends the program.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace echo {

inline void check(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::exit(1);
}

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

inline void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Listens on a port that the system chooses, and prints it.
inline int listen_somewhere(int type_flags) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | type_flags, 0);
  check(fd >= 0, "socket");
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  check(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  check(::listen(fd, 1024) == 0, "listen");
  check(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

inline int connect_to(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  check(fd >= 0, "socket");
  const sockaddr_in address = loopback(port);
  check(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "connect");
  no_delay(fd);
  return fd;
}

inline void send_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL);
    check(sent > 0, "send");
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

inline void watch(int poller, int fd, std::uint64_t data) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = data;
  ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

// Connects; each socket is watched, under its index in the list.
inline std::vector<int> connect_all(int poller, int port, std::size_t count) {
  std::vector<int> sockets;
  for (std::size_t i = 0; i < count; ++i) {
    sockets.push_back(connect_to(port));
    watch(poller, sockets[i], i);
  }
  return sockets;
}

// A hand-written server: one thread, epoll, no library. Calls answer(fd, data, size) with received
// data.
template <class Answer>
[[noreturn]] void serve(Answer answer) {
  const int listener = listen_somewhere(SOCK_NONBLOCK);
  const int poller = ::epoll_create1(0);
  watch(poller, listener, static_cast<std::uint64_t>(listener));
  static char buffer[64 * 1024];
  epoll_event events[256];
  for (;;) {
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const auto fd = static_cast<int>(events[i].data.u64);
      if (fd == listener) {
        for (int made = 0; (made = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          no_delay(made);
          watch(poller, made, static_cast<std::uint64_t>(made));
        }
        continue;
      }
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got > 0)
        answer(fd, buffer, static_cast<std::size_t>(got));
      else
        ::close(fd);
    }
  }
}

}  // namespace echo
