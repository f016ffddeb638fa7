// A connection that blocks its thread, with time limits: names, addresses, proxies and TLS.
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

// Bytes in both directions, which never waits. Throws OSError.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // How many were taken; 0: there is no room.
  virtual std::size_t send(std::string_view bytes) = 0;
  // What has come, until the next call; "" at the end, nothing if there is nothing now.
  virtual std::optional<std::string_view> receive() = 0;
  // Whether bytes that were taken still have to be sent: by flush(), which gives that again.
  virtual bool flush() { return false; }
  // Whether receive() may have something, without anything new in the socket.
  virtual bool may_have_more() const { return false; }
};

class Connection {
 public:
  // Makes it. Throws http::Failure.
  explicit Connection(const http::Transfer& transfer);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  const std::string& key() const noexcept { return route_.key; }
  // Of one that was kept: whether the server has not closed it meanwhile.
  bool is_alive() const noexcept;
  // Whether an exchange was attached to it before; true from now on.
  bool use() noexcept { return std::exchange(used_, true); }

  // Sends what the exchange has to send, and hands over what has come, without waiting.
  void work(http::Transfer& transfer);
  // Waits for one or the other; for `milliseconds` at most.
  void wait(const http::Transfer& transfer, int milliseconds);

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
  void keep_session(const http::Transfer& transfer);

  class Socket;
  class Tls;

  http::Route route_;
  std::string url_;
  int descriptor_ = -1;
  std::unique_ptr<Socket> socket_;
  std::unique_ptr<Tls> outer_, tls_;  // to the proxy, and to the host
  ByteStream* stream_ = nullptr;      // the last of them
  bool used_ = false;
  bool sending_ = false;  // there was no room
  bool ready_ = false;    // something may have come
  bool session_kept_ = false;
};

}  // namespace fiber::requests
