// Addresses, names and plain sockets. Python: the parts of the socket module that asyncio uses, and
// the sock_* methods of the loop.
#pragma once

#include <fiber/asyncio/threads.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>

namespace fiber::asyncio {

/// A name could not be resolved. error_number() is one of the EAI_ constants. Python:
/// socket.gaierror.
class FIBER_API gaierror : public OSError {
 public:
  /// `detail` is the name that was looked up.
  gaierror(int error_number, std::string_view detail);
  ~gaierror() override;
  int error_number() const noexcept { return code_; }  ///< an EAI_ constant

 private:
  int code_;
};

/// The address of a socket: Python's ('127.0.0.1', 80), ('::1', 80, 0, 0) or '/path'.
class FIBER_API SocketAddress {
 public:
  /// Makes the empty address, of a socket that is not bound or connected.
  SocketAddress() noexcept = default;
  /// Makes a numeric IPv4 or IPv6 address; a scope may follow an IPv6 address ("fe80::1%eth0",
  /// "fe80::1%2"). As in Python, "" is 0.0.0.0, and "<broadcast>" 255.255.255.255. Throws
  /// ValueError for any other host: see loop.getaddrinfo.
  SocketAddress(std::string_view host, int port);
  /// Makes an IPv6 address: Python's four numbers.
  SocketAddress(std::string_view host, int port, std::uint32_t flowinfo, std::uint32_t scope_id);
  /// Reads a result of text(): "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/path", and
  /// "unix:@name" in the abstract namespace. Throws ValueError.
  static SocketAddress parse(std::string_view text);
  /// Makes the address of a Unix socket; a path that begins with a zero byte is in the abstract
  /// namespace. Throws OSError if it is too long, ValueError for a zero byte within a path.
  static SocketAddress from_path(std::string_view path);
  /// From the system's form.
  static SocketAddress from_raw(const sockaddr* address, socklen_t size);
  /// Returns the address of the socket itself; no address if getsockname() fails.
  static SocketAddress of_socket(int fd) noexcept;
  static SocketAddress of_peer(int fd) noexcept;  ///< of the other side; empty without one

  /// AF_INET, AF_INET6 or AF_UNIX; 0 if empty.
  int family() const noexcept { return storage_.ss_family; }
  /// Returns an IP address without its scope, as text; "" for other addresses.
  std::string host() const;
  int port() const noexcept;  ///< 0 for a Unix socket
  /// Returns the flow label of an IPv6 address; 0 for others.
  std::uint32_t flowinfo() const noexcept;
  std::uint32_t scope_id() const noexcept;  ///< the interface of an IPv6 address; 0 for others
  /// Returns "" unless it is a Unix address with a name.
  std::string path() const;
  /// Returns a text for logs and settings; see parse(). "" for no address.
  std::string text() const;

  explicit operator bool() const noexcept { return size_ != 0; }
  /// For calls of the system.
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const noexcept { return size_; }  ///< of data()
  friend FIBER_API bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept;

 private:
  static SocketAddress asked(int fd, int (*ask)(int, sockaddr*, socklen_t*)) noexcept;

  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// Returns Python's repr: "('127.0.0.1', 80)".
FIBER_API std::string repr(const SocketAddress& address);
FIBER_API std::ostream& operator<<(std::ostream& out, const SocketAddress& address);

/// An element of getaddrinfo's result: Python's (family, type, proto, canonname, sockaddr).
struct AddressInfo {
  int family = 0;              ///< AF_INET or AF_INET6
  int type = 0;                ///< SOCK_STREAM, SOCK_DGRAM...
  int proto = 0;               ///< IPPROTO_TCP, IPPROTO_UDP...
  std::string canonname = {};  ///< with AI_CANONNAME, of the first one
  SocketAddress address = {};  ///< with the port
};

/// Keyword arguments of getaddrinfo: AF_, SOCK_, IPPROTO_ and AI_ constants; 0: any.
struct GetaddrinfoOptions {
  int family = 0;  ///< AF_INET, AF_INET6; 0: both
  int type = 0;    ///< SOCK_ constant; 0: any
  int proto = 0;   ///< IPPROTO_ constant; 0: the usual one
  int flags = 0;   ///< AI_ constants
};

namespace detail {

/// Throws ValueError if a system call would cut the string at a zero byte.
FIBER_API void refuse_null_bytes(std::string_view text);

/// Returns the exception that raise_os_error throws.
FIBER_API std::exception_ptr os_error(int error_number, std::string_view detail = {});

/// Looks a name up; blocks the thread meanwhile.
FIBER_API std::vector<AddressInfo> look_up(const std::string& host, int port,
                                           const GetaddrinfoOptions& options);
/// Looks a name up, in a task. An empty host: all interfaces (with AI_PASSIVE) or this machine.
FIBER_API std::vector<AddressInfo> resolve(LoopObject& loop, std::string host, int port,
                                           GetaddrinfoOptions options);
FIBER_API std::pair<std::string, std::string> name_of(LoopObject& loop,
                                                      const SocketAddress& address, int flags);

/// Begins to connect. Returns false if connected, true if the descriptor must become writable
/// first.
FIBER_API bool begin_connect(int fd, const SocketAddress& address);
/// Ends connecting, after that wait.
FIBER_API void end_connect(int fd, const SocketAddress& address);

FIBER_API std::string sock_recv(LoopObject& loop, int fd, std::size_t n);
FIBER_API std::size_t sock_recv_into(LoopObject& loop, int fd, std::span<char> buffer);
FIBER_API std::pair<std::string, SocketAddress> sock_recvfrom(LoopObject& loop, int fd,
                                                              std::size_t n);
FIBER_API std::pair<std::size_t, SocketAddress> sock_recvfrom_into(LoopObject& loop, int fd,
                                                                   std::span<char> buffer);
FIBER_API void sock_sendall(LoopObject& loop, int fd, std::string_view data);
FIBER_API std::size_t sock_sendto(LoopObject& loop, int fd, std::string_view data,
                                  const SocketAddress& address);
FIBER_API void sock_connect(LoopObject& loop, int fd, const SocketAddress& address);
FIBER_API std::pair<int, SocketAddress> sock_accept(LoopObject& loop, int fd);

}  // namespace detail

inline auto EventLoop::sock_recv(FileDescriptorLike fd, std::size_t n) const {
  return detail::Deferred(
      [loop = *this, fd, n] { return detail::sock_recv(loop.object(), fd.fileno(), n); });
}
inline auto EventLoop::sock_recv_into(FileDescriptorLike fd, std::span<char> buffer) const {
  return detail::Deferred([loop = *this, fd, buffer] {
    return detail::sock_recv_into(loop.object(), fd.fileno(), buffer);
  });
}
inline auto EventLoop::sock_recvfrom(FileDescriptorLike fd, std::size_t n) const {
  return detail::Deferred(
      [loop = *this, fd, n] { return detail::sock_recvfrom(loop.object(), fd.fileno(), n); });
}
inline auto EventLoop::sock_recvfrom_into(FileDescriptorLike fd, std::span<char> buffer) const {
  return detail::Deferred([loop = *this, fd, buffer] {
    return detail::sock_recvfrom_into(loop.object(), fd.fileno(), buffer);
  });
}
inline auto EventLoop::sock_sendall(FileDescriptorLike fd, std::string data) const {
  return detail::Deferred([loop = *this, fd, data = std::move(data)] {
    detail::sock_sendall(loop.object(), fd.fileno(), data);
  });
}
inline auto EventLoop::sock_sendto(FileDescriptorLike fd, std::string data,
                                   const SocketAddress& address) const {
  return detail::Deferred([loop = *this, fd, data = std::move(data), address] {
    return detail::sock_sendto(loop.object(), fd.fileno(), data, address);
  });
}
inline auto EventLoop::sock_connect(FileDescriptorLike fd, const SocketAddress& address) const {
  return detail::Deferred(
      [loop = *this, fd, address] { detail::sock_connect(loop.object(), fd.fileno(), address); });
}
inline auto EventLoop::sock_accept(FileDescriptorLike fd) const {
  return detail::Deferred(
      [loop = *this, fd] { return detail::sock_accept(loop.object(), fd.fileno()); });
}
inline auto EventLoop::getaddrinfo(std::string host, int port,
                                   const GetaddrinfoOptions& options) const {
  return detail::Deferred([loop = *this, host = std::move(host), port, options] {
    return detail::resolve(loop.object(), host, port, options);
  });
}
inline auto EventLoop::getaddrinfo(std::string host, int port) const {
  return getaddrinfo(std::move(host), port, GetaddrinfoOptions{});
}
inline auto EventLoop::getnameinfo(const SocketAddress& address, int flags) const {
  return detail::Deferred(
      [loop = *this, address, flags] { return detail::name_of(loop.object(), address, flags); });
}

}  // namespace fiber::asyncio
