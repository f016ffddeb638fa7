// The options for a session's connections. Python: aiohttp.connector, aiohttp.resolver.
#pragma once

#include <fiber/asyncio/sock.hpp>
#include <fiber/config.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/ssl/context.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fiber::aiohttp {

/// ssl=: whether to check the server's certificate, the path of a CA bundle for the check, or an
/// ssl::SSLContext, which decides everything.
class Ssl {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  Ssl(bool check = true) : verify_(check) {}
  Ssl(http::Verify verify) : verify_(std::move(verify)) {}
  Ssl(std::string bundle) : verify_(std::move(bundle)) {}
  Ssl(const char* bundle) : verify_(bundle) {}
  Ssl(ssl::SSLContext context) : context_(std::move(context)) {}
  // NOLINTEND(google-explicit-constructor)

  /// For `context()` without a value.
  const http::Verify& verify() const noexcept { return verify_; }
  /// Decides everything if there is one.
  const std::optional<ssl::SSLContext>& context() const noexcept { return context_; }

 private:
  http::Verify verify_;
  std::optional<ssl::SSLContext> context_;
};

/// resolver=: returns the addresses of a host in `family` (AF_INET, AF_INET6; 0: both), best first.
/// May await. Throws OSError, such as asyncio::gaierror, if there are none.
/// Python: aiohttp.abc.AbstractResolver.
using Resolver = std::function<std::vector<asyncio::SocketAddress>(const std::string& host,
                                                                   int port, int family)>;

/// The keyword arguments of TCPConnector, in the order of Python's signature. Each session has a
/// connector of its own.
struct TCPConnector {
  /// Whether the addresses of hosts are cached. Addresses that cannot be reached are removed.
  bool use_dns_cache = true;
  /// The time after which a cached host is looked up again; nothing: never.
  std::optional<http::Seconds> ttl_dns_cache = std::chrono::seconds(10);
  int family = 0;                                              ///< AF_INET, AF_INET6; 0: both
  Ssl ssl = true;                                              ///< for requests without `ssl`
  std::optional<std::pair<std::string, int>> local_addr = {};  ///< local host and port
  Resolver resolver = {};                                      ///< replaces the system's resolver
  http::Seconds keepalive_timeout = std::chrono::seconds(15);  ///< the longest idle time
  bool force_close = false;  ///< each request has a connection of its own
  /// The most connections in use at the same time; 0 for no limit. Further requests wait in a
  /// queue, first come, first served.
  std::size_t limit = 100;
  std::size_t limit_per_host = 0;  ///< per host and port
  /// RFC 8305: if an address has not answered after this time, the next one is tried as well.
  /// Nothing: addresses are tried one after the other.
  std::optional<http::Seconds> happy_eyeballs_delay = std::chrono::milliseconds(250);
  /// The number of addresses of the first family that are tried before families alternate.
  std::optional<int> interleave = {};
  std::string path = {};  ///< a Unix socket that replaces all hosts: see UnixConnector
};

/// `.connector = aiohttp::UnixConnector{"/run/engine.sock"}`: all connections lead to this socket,
/// for every host. Python: aiohttp.UnixConnector.
struct UnixConnector {
  std::string path;                                            ///< of the socket
  bool force_close = false;                                    ///< as in TCPConnector
  http::Seconds keepalive_timeout = std::chrono::seconds(15);  ///< as in TCPConnector
  std::size_t limit = 100;                                     ///< as in TCPConnector
  std::size_t limit_per_host = 0;                              ///< as in TCPConnector

  operator TCPConnector() const {  // NOLINT(google-explicit-constructor)
    return {.keepalive_timeout = keepalive_timeout,
            .force_close = force_close,
            .limit = limit,
            .limit_per_host = limit_per_host,
            .path = path};
  }
};

}  // namespace fiber::aiohttp
