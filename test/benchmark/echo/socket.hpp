// Plain sockets for the programs of the network and HTTP rows. An error ends the program.
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

// Returns a socket with a port that the system chooses.
inline int bind_somewhere(int type) {
  const int fd = ::socket(AF_INET, type, 0);
  check(fd >= 0, "socket");
  const sockaddr_in address = loopback(0);
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  return fd;
}

inline void print_port(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  check(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
}

// Listens on a port that the system chooses, and prints it.
inline int listen_somewhere(int type_flags) {
  const int fd = bind_somewhere(SOCK_STREAM | type_flags);
  check(::listen(fd, 1024) == 0, "listen");
  print_port(fd);
  return fd;
}

// Returns a socket of a client. Each 10 000 clients have an address of their own: a port is free
// once for each address.
inline int client_socket(int type, std::size_t which) {
  const int fd = ::socket(AF_INET, type, 0);
  check(fd >= 0, "socket");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in address = loopback(0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(which / 10'000));
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  return fd;
}

inline bool begin_to_connect(int fd, int port) {
  const sockaddr_in address = loopback(port);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// Returns a connected socket, of the client with that index.
inline int connect_to(int port, int type = SOCK_STREAM, std::size_t which = 0) {
  const int fd = client_socket(type, which);
  check(begin_to_connect(fd, port), "connect");
  if (type == SOCK_STREAM) no_delay(fd);
  return fd;
}

// Returns false if the other side has gone.
inline bool sent_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

inline void send_all(int fd, const char* data, std::size_t size) {
  check(sent_all(fd, data, size), "send");
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
    sockets.push_back(connect_to(port, SOCK_STREAM, i));
    watch(poller, sockets[i], i);
  }
  return sockets;
}

// A hand-written server: one thread, epoll, no library. Calls accepted(fd), which returns whether
// the connection is to be watched, and readable(fd), which returns whether it goes on.
template <class Accepted, class Readable>
[[noreturn]] void serve_connections(Accepted accepted, Readable readable) {
  const int listener = listen_somewhere(SOCK_NONBLOCK);
  const int poller = ::epoll_create1(0);
  watch(poller, listener, static_cast<std::uint64_t>(listener));
  epoll_event events[256];
  for (;;) {
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const auto fd = static_cast<int>(events[i].data.u64);
      if (fd == listener) {
        for (int made = 0; (made = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;)
          if (accepted(made)) watch(poller, made, static_cast<std::uint64_t>(made));
      } else if (!readable(fd)) {
        ::close(fd);
      }
    }
  }
}

// Calls answer(fd, data, size) with received data.
template <class Answer>
[[noreturn]] void serve(Answer answer) {
  static char buffer[64 * 1024];
  serve_connections(
      [](int fd) {
        no_delay(fd);
        return true;
      },
      [answer](int fd) {
        const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
        if (got > 0) answer(fd, buffer, static_cast<std::size_t>(got));
        return got > 0;
      });
}

}  // namespace echo
