// A connection whose functions block the thread, with time limits: names, addresses, proxies, TLS.
#pragma once

#include <fiber/asyncio/sock.hpp>
#include <fiber/http/transfer.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::requests {

using Deadline = std::optional<http::Transfer::Clock::time_point>;

// A stream of bytes in both directions. Its functions never wait. They throw OSError.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Takes bytes to send and returns their number; 0 if there is no room.
  virtual std::size_t send(std::string_view bytes) = 0;
  // Returns received bytes, valid until the next call; "" at the end, nothing if there are none
  // now.
  virtual std::optional<std::string_view> receive() = 0;
  // Sends bytes that send() took. Returns whether some are left for another flush().
  virtual bool flush() { return false; }
  // Whether receive() may return bytes without new ones in the socket.
  virtual bool may_have_more() const { return false; }
};

class Connection {
 public:
  // Makes the connection. Throws http::Failure.
  explicit Connection(const http::Transfer& transfer);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  const std::string& key() const noexcept { return route_.key; }
  // Whether the server has neither closed a kept connection meanwhile nor sent anything on it. TLS
  // has records of its own: received bytes must be decrypted before they tell.
  bool is_alive() noexcept;
  // Whether an exchange has used the connection before; true from now on.
  bool use() noexcept { return std::exchange(used_, true); }

  // Sends the output of the exchange, and passes received bytes to it, without waiting.
  void work(http::Transfer& transfer);
  // Waits until work() can send or receive; for `milliseconds` at most.
  void wait(http::Transfer& transfer, int milliseconds);

 private:
  std::vector<asyncio::AddressInfo> addresses(const std::string& host, int port,
                                              http::Failure::Kind failure,
                                              const Deadline& deadline) const;
  void open(const Deadline& deadline);
  void start_tls(const http::Transfer& transfer, const std::string& host, bool to_proxy,
                 const Deadline& deadline);
  void ask_proxy(const std::string& address, const Deadline& deadline);
  void send_all(std::string_view bytes, const Deadline& deadline);
  void wait_until(short events, const Deadline& deadline) const;
  bool is_open() const noexcept;
  void keep_session(const http::Transfer& transfer);

  class Socket;
  class Tls;

  http::Route route_;
  std::string url_;
  int descriptor_ = -1;
  std::unique_ptr<Socket> socket_;
  std::unique_ptr<Tls> outer_, tls_;  // to the proxy, and to the host
  ByteStream* stream_ = nullptr;      // the topmost of the three
  bool used_ = false;
  bool sending_ = false;  // the socket had no room
  bool ready_ = false;    // there may be bytes to receive
  bool session_kept_ = false;
};

}  // namespace fiber::requests
