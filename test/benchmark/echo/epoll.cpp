// The echo server as one writes it by hand: one thread, epoll, no library. It prints its port.
#include "socket.hpp"

#include <sys/epoll.h>

int main() {
  const int listener = echo::listen_somewhere(SOCK_NONBLOCK);
  const int poller = ::epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  ::epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  static char buffer[64 * 1024];
  epoll_event events[256];
  for (;;) {
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int made = 0; (made = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          echo::no_delay(made);
          event.data.fd = made;
          ::epoll_ctl(poller, EPOLL_CTL_ADD, made, &event);
        }
        continue;
      }
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got > 0)
        echo::send_all(fd, buffer, static_cast<std::size_t>(got));
      else
        ::close(fd);
    }
  }
}
