// The hand-written echo of datagrams: recvmsg and sendmsg. It prints its port.
#include "socket.hpp"

#include <sys/uio.h>

int main() {
  const int fd = echo::bind_somewhere(SOCK_DGRAM | SOCK_NONBLOCK);
  echo::print_port(fd);
  const int poller = ::epoll_create1(0);
  echo::watch(poller, fd, 0);
  static char buffer[64 * 1024];
  epoll_event event;
  while (::epoll_wait(poller, &event, 1, -1) >= 0) {
    for (;;) {
      sockaddr_storage from;
      iovec part{buffer, sizeof buffer};
      msghdr message{};
      message.msg_name = &from;
      message.msg_namelen = sizeof from;
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      const ssize_t got = ::recvmsg(fd, &message, 0);
      if (got < 0) break;
      part.iov_len = static_cast<std::size_t>(got);
      echo::check(::sendmsg(fd, &message, 0) == got, "sendmsg");
    }
  }
}
