// Clients of the network rows: see load.hpp. Prints the messages or connections per second.
//
//   echo_load tcp|udp PORT CONNECTIONS BYTES SECONDS    messages that come back
//   echo_load accept PORT CONNECTIONS 0 SECONDS         connections, each until the first byte
//   echo_load idle PORT CONNECTIONS                     connections, until the standard input ends
#include "load.hpp"

#include <cerrno>

namespace {

template <int Type>
struct Peer {
  Peer(int port, std::size_t which) : fd(echo::connect_to(port, Type, which)) {}
  void send(const char* data, std::size_t size) const { echo::send_all(fd, data, size); }
  std::size_t receive(char* buffer, std::size_t size) const {
    const ssize_t got = ::recv(fd, buffer, size, 0);
    echo::check(got > 0, "recv");
    return static_cast<std::size_t>(got);
  }
  int fd;
};

// Returns a socket that is being connected, and watched.
int begin(int poller, int port, std::size_t which) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  echo::check(fd >= 0, "socket");
  // Closing resets the connection: no port is kept for minutes.
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  echo::check(echo::begin_to_connect(fd, port) || errno == EINPROGRESS, "connect");
  echo::watch(poller, fd, which);
  return fd;
}

int connections(const load::Arguments& its) {
  const int poller = ::epoll_create1(0);
  std::vector<int> sockets;
  for (std::size_t i = 0; i < its.count; ++i) sockets.push_back(begin(poller, its.port, i));
  return load::measure(poller, its.limit, [&](std::size_t which) {
    char byte = 0;
    echo::check(::recv(sockets[which], &byte, 1, 0) == 1, "recv");
    ::close(sockets[which]);
    sockets[which] = begin(poller, its.port, which);
    return 1;
  });
}

}  // namespace

int main(int argc, char** argv) {
  const load::Arguments its = load::arguments(argc, argv);
  if (std::strcmp(argv[1], "tcp") == 0) return load::echo<Peer<SOCK_STREAM>>(its);
  if (std::strcmp(argv[1], "udp") == 0) return load::echo<Peer<SOCK_DGRAM>>(its);
  if (std::strcmp(argv[1], "accept") == 0) return connections(its);
  if (std::strcmp(argv[1], "idle") == 0) return load::hold<Peer<SOCK_STREAM>>(its);
  return 2;
}
