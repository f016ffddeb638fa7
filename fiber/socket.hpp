// Sockets as objects that own their descriptor. Python: socket.
//
//   socket::socket udp(AF_INET, SOCK_DGRAM);
//   udp.bind({"0.0.0.0", 5353});
//   udp.setblocking(false);
//   auto [question, from] = await(loop.sock_recvfrom(udp, 1500));
//   await(loop.sock_sendto(udp, answer, from));
//
// A socket goes wherever a descriptor does: to loop.sock_recv and its like, add_reader, and, moved,
// to open_connection, start_server, create_connection, create_datagram_endpoint. The constants are
// the system's: AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_REUSEADDR. The methods are system calls, which
// block the thread unless setblocking(false) was called; in a task, use the loop's. A socket must
// not be used by two threads at a time.
#pragma once

#include <fiber/asyncio/file_descriptor.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/streams.hpp>

#include <cstddef>
#include <exception>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace fiber::socket {

using asyncio::gaierror;
/// {"127.0.0.1", 80}, address::from_path("/run/x"), address::parse("[::1]:80").
using address = asyncio::SocketAddress;

/// An open socket, closed with this object. After a move, close() or detach() the descriptor is -1
/// and the methods throw OSError (EBADF). All methods throw OSError; those that return up to n
/// bytes throw MemoryError for more than a string can have. Python: socket.socket.
class FIBER_API socket {
 public:
  /// Makes a new socket, close-on-exec, which blocks.
  explicit socket(int family = AF_INET, int type = SOCK_STREAM, int proto = 0);
  /// Takes over a descriptor, whatever its family, type and proto. Python: socket(fileno=...).
  /// Throws OSError if it is no socket; it stays the caller's in that case.
  static socket from_fd(int fd);
  socket(socket&& other) noexcept;
  socket& operator=(socket&& other) noexcept;
  ~socket() = default;

  /// Returns the descriptor, -1 once closed.
  int fileno() const noexcept { return fd_.get(); }
  int family() const noexcept { return family_; }  ///< AF_INET, AF_INET6, AF_UNIX...
  int type() const noexcept { return type_; }      ///< SOCK_STREAM, SOCK_DGRAM...
  int proto() const noexcept { return proto_; }    ///< IPPROTO_TCP..., 0: the usual one
  explicit operator bool() const noexcept { return fd_.get() >= 0; }

  /// Closes the socket; does nothing if it is closed already. Tasks of the running loop that wait
  /// for it (sock_recv) get an OSError (EBADF); those of other loops would wait for ever.
  void close() noexcept;
  /// Gives the descriptor up, open, and returns it: it is the caller's from now on.
  int detach() noexcept { return fd_.release(); }
  /// Returns another object for the same socket.
  socket dup() const;
  /// Shuts down one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR.
  void shutdown(int how) const;

  /// Gives the socket its own address; {"", 80}: all interfaces, of IPv6 too. Throws OSError
  /// (EADDRINUSE, EACCES, ...).
  void bind(const address& where) const;
  /// Listens. `backlog`: the number of connections that may wait to be accepted.
  void listen(int backlog = 128) const;
  /// Returns the new connection, which blocks, and the address of its other side.
  std::pair<socket, address> accept() const;
  /// Connects. A socket that does not block throws BlockingIOError while connecting is in progress.
  void connect(const address& to) const;
  /// Connects as connect() does; returns an errno in place of an exception, 0 for success.
  int connect_ex(const address& to) const noexcept;

  /// Returns at most `n` bytes, "" at the end. `flags`: MSG_ constants. Where a socket that does
  /// not block has no data, or no room, this function and the next five throw BlockingIOError.
  std::string recv(std::size_t n, int flags = 0) const;
  /// Receives into memory of the caller's; returns the number of bytes.
  std::size_t recv_into(std::span<char> buffer, int flags = 0) const;
  /// Returns a datagram and the address of its sender.
  std::pair<std::string, address> recvfrom(std::size_t n, int flags = 0) const;
  /// Sends as many bytes as there is room for, and returns their number.
  std::size_t send(std::string_view data, int flags = 0) const;
  /// Sends a datagram to an address.
  std::size_t sendto(std::string_view data, const address& to, int flags = 0) const;
  /// Sends all bytes of `data`.
  void sendall(std::string_view data, int flags = 0) const;

  address getsockname() const;  ///< the own address
  address getpeername() const;  ///< the other side's; throws OSError (ENOTCONN) without one
  /// Sets an option that is a number: setsockopt(SOL_SOCKET, SO_REUSEADDR, 1).
  void setsockopt(int level, int option, int value) const;
  /// Sets an option that is a structure or a string, given as its bytes.
  void setsockopt(int level, int option, std::string_view value) const;
  int getsockopt(int level, int option) const;  ///< Returns an option that is a number
  /// Returns at most `size` bytes of an option, 1 to 1024.
  std::string getsockopt(int level, int option, std::size_t size) const;
  void setblocking(bool blocking) const;  ///< false: calls throw BlockingIOError instead of waiting
  bool getblocking() const;               ///< false for a socket that never waits

  socket& enter() noexcept { return *this; }
  bool exit(const std::exception_ptr&) {
    close();
    return false;
  }

  friend bool operator==(const socket& a, const socket& b) noexcept { return &a == &b; }

 private:
  struct Adopt {};
  socket(Adopt, int fd, int family, int type, int proto) noexcept
      : fd_(fd), family_(family), type_(type), proto_(proto) {}

  asyncio::detail::UniqueFd fd_;
  int family_ = 0;
  int type_ = 0;
  int proto_ = 0;
};

/// Returns Python's repr: "<socket.socket fd=3, family=2, type=1, proto=0, laddr=('127.0.0.1',
/// 80)>".
FIBER_API std::string repr(const socket& of);
FIBER_API std::ostream& operator<<(std::ostream& out, const socket& of);

/// Returns two sockets that are connected with each other.
FIBER_API std::pair<socket, socket> socketpair(int family = AF_UNIX, int type = SOCK_STREAM,
                                               int proto = 0);

/// Keyword arguments of create_connection.
struct CreateConnectionOptions {
  asyncio::time_limit timeout = {};                                ///< for each address
  std::optional<std::pair<std::string, int>> source_address = {};  ///< local host and port
  bool all_errors = false;  ///< throw an ExceptionGroup of all errors, not the last one alone
};
/// Returns a TCP connection to a host, whose addresses are tried one after the other; the socket
/// blocks like any new one. In a task the call waits without stopping the loop; elsewhere it stops
/// the thread. Throws gaierror, TimeoutError, OSError. Python: socket.create_connection.
FIBER_API socket create_connection(const std::string& host, int port,
                                   const CreateConnectionOptions& options = {});

}  // namespace fiber::socket

namespace fiber::asyncio {

/// Returns the streams of a connected socket, which is taken over, and closed if this throws; await
/// it. Python: open_connection(sock=...).
inline auto open_connection(socket::socket sock, OpenUnixConnectionOptions options = {}) {
  return detail::Deferred(
      [sock = detail::GivenDescriptor(std::move(sock)), options = std::move(options)]() mutable {
        return detail::connect_given(sock, options);
      });
}
/// Returns the streams of a connected Unix socket, as above. Python:
/// open_unix_connection(sock=...).
inline auto open_unix_connection(socket::socket sock, OpenUnixConnectionOptions options = {}) {
  return asyncio::open_connection(std::move(sock), std::move(options));
}
/// Serves at a bound socket, which is taken over, and closed if this throws; await it. Python:
/// start_server(sock=...).
template <client_connected_callback F>
auto start_server(F&& callback, socket::socket sock, StartServerOptions options = {}) {
  return detail::serve_from(std::forward<F>(callback), detail::GivenDescriptor(std::move(sock)),
                            options);
}
/// Serves at a bound Unix socket, as above; its file is removed with the server unless
/// `cleanup_socket` is false. Python: start_unix_server(sock=...).
template <client_connected_callback F>
auto start_unix_server(F&& callback, socket::socket sock, StartUnixServerOptions options = {}) {
  return detail::serve_from(std::forward<F>(callback), detail::GivenDescriptor(std::move(sock)),
                            options);
}

}  // namespace fiber::asyncio
