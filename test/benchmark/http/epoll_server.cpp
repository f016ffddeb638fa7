// The page "hello" by a hand-written server without a parser: one thread, epoll. Prints its port.
//
//   http_epoll_server [DIRECTORY [CERTIFICATE KEY]]      the directory is not used
#include "stream.hpp"

#include <map>

int main(int argc, char** argv) {
  by_hand::Context context;
  if (argc == 4) {
    context.reset(::SSL_CTX_new(::TLS_server_method()));
    echo::check(::SSL_CTX_use_certificate_chain_file(context.get(), argv[2]) == 1 &&
                    ::SSL_CTX_use_PrivateKey_file(context.get(), argv[3], SSL_FILETYPE_PEM) == 1,
                "the certificate");
  }
  static constexpr std::string_view answer =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
  const int listener = echo::listen_somewhere(SOCK_NONBLOCK);
  const int poller = ::epoll_create1(0);
  echo::watch(poller, listener, 0);
  static char buffer[64 * 1024];
  epoll_event events[256];
  for (std::map<int, by_hand::Stream> streams;;) {
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) {
        for (int made = 0; (made = ::accept4(listener, nullptr, nullptr, 0)) >= 0;) {
          echo::no_delay(made);
          const auto place = streams.try_emplace(made, made, context.get()).first;
          place->second.accept();
          echo::watch(poller, made, reinterpret_cast<std::uint64_t>(&*place));
        }
        continue;
      }
      auto& [fd, stream] = *reinterpret_cast<std::pair<const int, by_hand::Stream>*>(  // a place
          events[i].data.u64);
      const long got = stream.read(buffer, sizeof buffer);
      if (got > 0) {
        stream.write(answer);
      } else if (got < 0) {
        ::close(fd);
        streams.erase(fd);
      }
    }
  }
}
