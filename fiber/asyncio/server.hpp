// Servers: listening sockets, and the connections that came through them. Python: asyncio.Server.
#pragma once

#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/sock.hpp>

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace fiber::asyncio {

/// A listening socket. The descriptor belongs to the server.
class Socket {
 public:
  Socket(int fd, SocketAddress address) : fd_(fd), address_(std::move(address)) {}
  int fileno() const noexcept { return fd_; }                ///< for getsockopt() and the like
  int family() const noexcept { return address_.family(); }  ///< AF_INET, AF_INET6 or AF_UNIX
  const SocketAddress& getsockname() const noexcept { return address_; }  ///< where it listens
  /// Returns the port, also one that the system chose; 0 for a Unix socket.
  int port() const noexcept { return address_.port(); }

 private:
  int fd_;
  SocketAddress address_;
};

/// A counted reference to a server; start_server() and start_unix_server() return it. Without
/// references the server goes on until it is closed or its loop is. For asyncio::with: leaving the
/// block closes the server and waits. Python: asyncio.Server.
class FIBER_API Server {
 public:
  /// Makes a null handle.
  Server() noexcept = default;

  /// Stops listening; connections go on. Wakes serve_forever(), which throws CancelledError.
  void close() const { object().close(); }
  /// Closes each connection once its buffered data was sent.
  void close_clients() const { object().close_clients(false); }
  /// Closes connections without sending their data.
  void abort_clients() const { object().close_clients(true); }
  bool is_serving() const { return object().is_serving(); }  ///< true while it accepts connections
  /// Returns the sockets; empty once the server is closed.
  std::vector<Socket> sockets() const;
  EventLoop get_loop() const { return EventLoop(&object().loop()); }  ///< on which it was made

  /// Begins to accept connections, unless it does; await it.
  auto start_serving() const {
    return detail::Deferred([server = *this] {
      server.object().start_serving();
      asyncio::sleep(0).await_();
    });
  }
  /// Accepts connections until the task is cancelled or the server closed; then closes it, waits
  /// for the connections, and throws CancelledError. Throws RuntimeError if the server is closed,
  /// or if another task is in this function; await it.
  auto serve_forever() const {
    return detail::Deferred([server = *this] { server.object().serve_forever(); });
  }
  /// Waits until the server and all its connections are closed; await it.
  auto wait_closed() const {
    return detail::Deferred([server = *this] { server.object().wait_closed(); });
  }

  using counted_handle = void;  ///< for asyncio::with
  Server& enter() noexcept { return *this; }
  bool exit(const std::exception_ptr&) {
    close();
    asyncio::await(wait_closed());
    return false;
  }

  explicit operator bool() const noexcept { return static_cast<bool>(object_); }
  friend bool operator==(const Server& a, const Server& b) noexcept {
    return a.object_.get() == b.object_.get();
  }

  explicit Server(detail::ServerObject* object) noexcept : object_(object) {}
  detail::ServerObject& object() const {
    if (!object_) [[unlikely]]
      refuse_null();
    return *object_;
  }

 private:
  [[noreturn]] static void refuse_null();
  core::Ref<detail::ServerObject, detail::ByHandle> object_;
};

/// Returns Python's repr: "<Server sockets=('127.0.0.1', 8080)>".
FIBER_API std::string repr(const Server& server);

}  // namespace fiber::asyncio
