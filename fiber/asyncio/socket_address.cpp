#include <fiber/asyncio/sock.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace fiber::asyncio {
namespace {

constexpr int kHighestPort = 65535;

sockaddr_in6& as_six(sockaddr_storage& storage) noexcept {
  return reinterpret_cast<sockaddr_in6&>(storage);
}
const sockaddr_in6& as_six(const sockaddr_storage& storage) noexcept {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

// Returns the number if the text is only a number.
std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || at != end) return std::nullopt;
  return number;
}

// Returns the index of a network interface, given by number or name.
std::uint32_t scope_of(const std::string& text, const std::string& whole) {
  if (const auto number = number_of(text)) return *number;
  const unsigned index = ::if_nametoindex(text.c_str());
  if (text.empty() || index == 0)
    throw ValueError("'" + whole + "' names no network interface of this machine after its '%'");
  return index;
}

std::string scope_name(std::uint32_t scope) {
  char name[IF_NAMESIZE] = "";
  return ::if_indextoname(scope, name) != nullptr ? name : std::to_string(scope);
}

[[noreturn]] void refuse_address(std::string_view text, const char* why) {
  throw ValueError("'" + std::string(text) + "' is not the address of a socket: " + why);
}

}  // namespace

SocketAddress::SocketAddress(std::string_view host, int port) {
  if (port < 0 || port > kHighestPort) throw ValueError("port must be 0-65535");
  detail::refuse_null_bytes(host);
  const std::string text(host.empty()            ? "0.0.0.0"
                         : host == "<broadcast>" ? "255.255.255.255"
                                                 : host);
  const std::size_t percent = text.find('%');
  const auto network_port = htons(static_cast<std::uint16_t>(port));
  auto& four = reinterpret_cast<sockaddr_in&>(storage_);
  sockaddr_in6& six = as_six(storage_);
  if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = network_port;
    size_ = sizeof four;
  } else if (::inet_pton(AF_INET6, text.substr(0, percent).c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = network_port;
    if (percent != std::string::npos) six.sin6_scope_id = scope_of(text.substr(percent + 1), text);
    size_ = sizeof six;
  } else {
    throw ValueError("'" + text + "' does not appear to be an IPv4 or IPv6 address");
  }
}

SocketAddress::SocketAddress(std::string_view host, int port, std::uint32_t flowinfo,
                             std::uint32_t scope_id)
    : SocketAddress(host, port) {
  constexpr std::uint32_t kHighestFlow = 0xfffff;
  if (family() != AF_INET6)
    throw ValueError("'" + std::string(host) + "' is not an IPv6 address, which alone has a scope");
  if (flowinfo > kHighestFlow) throw ValueError("flowinfo must be 0-1048575");
  as_six(storage_).sin6_flowinfo = htonl(flowinfo);
  as_six(storage_).sin6_scope_id = scope_id;
}

SocketAddress SocketAddress::parse(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    std::string path(text.substr(kUnix.size()));
    if (path.empty()) refuse_address(text, "the path is missing");
    if (path.front() == '@') path.front() = '\0';
    return from_path(path);
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    refuse_address(text, "neither 'host:port' nor '[host]:port' nor 'unix:path'");
  std::string_view host = text.substr(0, colon);
  const auto port = number_of(text.substr(colon + 1));
  if (!port || *port > kHighestPort) refuse_address(text, "the port must be 0-65535");
  const bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets)
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string_view::npos)
    refuse_address(text, "an IPv6 address stands in brackets, as in '[::1]:80'");
  SocketAddress address(host, static_cast<int>(*port));
  if (brackets && address.family() != AF_INET6)
    refuse_address(text, "the text in brackets is not an IPv6 address");
  return address;
}

SocketAddress SocketAddress::from_path(std::string_view path) {
  SocketAddress address;
  auto& local = reinterpret_cast<sockaddr_un&>(address.storage_);
  // The name of an abstract socket has an exact length; a path ends with a zero byte.
  // The empty one has neither: the system chooses a name for it, and connects to none.
  const bool abstract = path.starts_with('\0');
  const std::size_t end = abstract || path.empty() ? 0 : 1;
  if (path.size() + end > sizeof local.sun_path) throw OSError("AF_UNIX path too long");
  if (!abstract) detail::refuse_null_bytes(path);
  local.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), local.sun_path);
  address.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + end);
  return address;
}

SocketAddress SocketAddress::from_raw(const sockaddr* raw, socklen_t size) {
  SocketAddress address;
  address.size_ = std::min(size, static_cast<socklen_t>(sizeof address.storage_));
  std::memcpy(&address.storage_, raw, address.size_);
  return address;
}

SocketAddress SocketAddress::asked(int fd, int (*ask)(int, sockaddr*, socklen_t*)) noexcept {
  SocketAddress address;
  socklen_t size = sizeof address.storage_;
  if (ask(fd, reinterpret_cast<sockaddr*>(&address.storage_), &size) == 0) address.size_ = size;
  return address;
}
SocketAddress SocketAddress::of_socket(int fd) noexcept { return asked(fd, ::getsockname); }
SocketAddress SocketAddress::of_peer(int fd) noexcept { return asked(fd, ::getpeername); }

std::string SocketAddress::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr, text,
                sizeof text);
  else if (family() == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr, text,
                sizeof text);
  return text;
}

int SocketAddress::port() const noexcept {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage_).sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage_).sin6_port);
  return 0;
}

std::uint32_t SocketAddress::flowinfo() const noexcept {
  return family() == AF_INET6 ? ntohl(as_six(storage_).sin6_flowinfo) : 0;
}

std::uint32_t SocketAddress::scope_id() const noexcept {
  return family() == AF_INET6 ? as_six(storage_).sin6_scope_id : 0;
}

std::string SocketAddress::text() const {
  switch (family()) {
    case AF_INET: return host() + ":" + std::to_string(port());
    case AF_INET6:
      return "[" + host() + (scope_id() != 0 ? "%" + scope_name(scope_id()) : std::string()) +
             "]:" + std::to_string(port());
    case AF_UNIX: {
      std::string name = path();
      if (name.empty()) return {};
      if (name.front() == '\0') name.front() = '@';
      return "unix:" + name;
    }
    default: return {};
  }
}

std::string SocketAddress::path() const {
  constexpr socklen_t kHead = offsetof(sockaddr_un, sun_path);
  if (family() != AF_UNIX || size_ <= kHead) return {};
  const auto& local = reinterpret_cast<const sockaddr_un&>(storage_);
  if (local.sun_path[0] == '\0') return {local.sun_path, size_ - kHead};
  return {local.sun_path, ::strnlen(local.sun_path, size_ - kHead)};
}

bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept {
  return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
}

std::string repr(const SocketAddress& address) {
  switch (address.family()) {
    case AF_INET:
      return "(" + fiber::detail::quoted(address.host()) + ", " + std::to_string(address.port()) +
             ")";
    case AF_INET6:
      return "(" + fiber::detail::quoted(address.host()) + ", " + std::to_string(address.port()) +
             ", " + std::to_string(address.flowinfo()) + ", " + std::to_string(address.scope_id()) +
             ")";
    case AF_UNIX: return fiber::detail::quoted(address.path());
    default: return "None";
  }
}

std::ostream& operator<<(std::ostream& out, const SocketAddress& address) {
  return out << repr(address);
}

}  // namespace fiber::asyncio
