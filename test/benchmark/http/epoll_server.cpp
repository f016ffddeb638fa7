// The page "hello" by a hand-written server without a parser. It prints its port.
#include "../echo/socket.hpp"

int main() {
  static const char answer[] =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
  echo::serve(
      [](int fd, const char*, std::size_t) { echo::send_all(fd, answer, sizeof answer - 1); });
}
