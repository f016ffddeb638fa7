// The page "hello" as one answers by hand: one thread, epoll, no parser. It prints its port.
#include "../echo/socket.hpp"

#include <sys/epoll.h>

int main() {
  static const char answer[] =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
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
      if (::recv(fd, buffer, sizeof buffer, 0) > 0)
        echo::send_all(fd, answer, sizeof answer - 1);
      else
        ::close(fd);
    }
  }
}
