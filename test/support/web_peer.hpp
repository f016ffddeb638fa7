// Peers of a server of aiohttp::web that send whatever they like.
#pragma once

#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/testing.hpp>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {

// `body(client)` beside a server, on the virtual clock.
template <class Body>
void with_app(const fiber::aiohttp::web::Application& app, Body body,
              fiber::aiohttp::web::ServerOptions options = {}) {
  fiber::asyncio::testing::run_test([&] {
    fiber::asyncio::with(fiber::aiohttp::test_utils::TestClient(app, {.server = options}),
                         [&](fiber::aiohttp::test_utils::TestClient& client) { body(client); });
  });
}

inline std::string first_line(const std::string& answer) {
  return answer.substr(0, answer.find("\r\n"));
}

// A raw connection.
struct Peer {
  explicit Peer(const fiber::aiohttp::test_utils::TestClient& client)
      : streams(fiber::asyncio::await(
            fiber::asyncio::open_connection("127.0.0.1", client.server().port()))) {}
  void write(std::string_view text) { streams.second.write(text); }
  // Returns all bytes received until the server closes the connection.
  std::string rest() {
    try {
      return fiber::asyncio::await(streams.first.read());
    } catch (const fiber::ConnectionError&) {
      return "reset";
    }
  }
  fiber::asyncio::StreamPair streams;
};

// A connection without a loop, whose own memory is nothing. It reads nothing.
class SilentPeer {
 public:
  explicit SilentPeer(const fiber::aiohttp::test_utils::TestClient& client)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(client.server().port()));
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      fiber::raise_os_error(errno, "connect");
  }
  SilentPeer(const SilentPeer&) = delete;
  SilentPeer& operator=(const SilentPeer&) = delete;
  ~SilentPeer() { ::close(fd_); }
  int fd() const { return fd_; }

  // Sends what the server takes, within some seconds of the loop's clock.
  void send(std::string_view bytes) const {
    for (int idle = 0; idle < 100; ++idle) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
        idle = 0;
      }
      fiber::asyncio::await(fiber::asyncio::sleep(std::chrono::milliseconds(20)));
      if (bytes.empty()) return;
    }
  }

 private:
  int fd_;
};

// Writes `bytes` again and again, and reads nothing, for as long as it lives.
struct Flood {
  Flood(const Peer& peer, std::string bytes)
      : task(fiber::asyncio::create_task([writer = peer.streams.second, bytes = std::move(bytes)] {
          try {
            for (;;) {
              writer.write(bytes);
              fiber::asyncio::await(writer.drain());
            }
          } catch (const fiber::ConnectionError&) {
          }
        })) {}
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;
  ~Flood() { task.cancel(); }
  fiber::asyncio::Task<> task;
};

inline std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace support
