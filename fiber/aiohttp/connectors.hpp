// How a session comes to its connections. Python: aiohttp.connector, aiohttp.resolver.
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

/// ssl=: whether to check the server's certificate, the path of a CA bundle to check it against, or
/// an ssl::SSLContext, which says all of it.
class Ssl {
 public:
  Ssl(bool check = true) : verify_(check) {}
  Ssl(http::Verify verify) : verify_(std::move(verify)) {}
  Ssl(std::string bundle) : verify_(std::move(bundle)) {}
  Ssl(const char* bundle) : verify_(bundle) {}
  Ssl(ssl::SSLContext context) : context_(std::move(context)) {}

  const http::Verify& verify() const noexcept { return verify_; }
  const std::optional<ssl::SSLContext>& context() const noexcept { return context_; }

 private:
  http::Verify verify_;
  std::optional<ssl::SSLContext> context_;
};

/// resolver=: gives the addresses of a host, those of `family` (AF_INET, AF_INET6; 0: both), best
/// first, and may await. Throws OSError, of which asyncio::gaierror is one, if there are none.
/// aiohttp.abc.AbstractResolver.
using Resolver = std::function<std::vector<asyncio::SocketAddress>(const std::string& host,
                                                                   int port, int family)>;

/// The keyword arguments of TCPConnector, in the order of Python's signature. A session has its
/// connector for itself.
struct TCPConnector {
  /// Whether addresses are remembered, and for how long; nothing: for ever. Those that cannot be
  /// reached are forgotten.
  bool use_dns_cache = true;
  std::optional<http::Seconds> ttl_dns_cache = std::chrono::seconds(10);
  int family = 0;  ///< AF_INET, AF_INET6; 0: both
  Ssl ssl = true;
  std::optional<std::pair<std::string, int>> local_addr = {};  ///< host and port to come from
  Resolver resolver = {};                                      ///< in place of the system's
  http::Seconds keepalive_timeout = std::chrono::seconds(15);  ///< how long a connection is idle
  bool force_close = false;  ///< each request has a connection of its own
  /// How many connections may be in use at the same time; 0 for any number. Further requests wait
  /// for their turn, first come, first served.
  std::size_t limit = 100;
  std::size_t limit_per_host = 0;  ///< per host and port
  /// RFC 8305: while an address does not answer, the next one is tried as well after this time.
  /// Nothing: one after the other.
  std::optional<http::Seconds> happy_eyeballs_delay = std::chrono::milliseconds(250);
  /// How many addresses of the first family come before the families take turns.
  std::optional<int> interleave = {};
  std::string path = {};  ///< of a Unix socket, in place of all hosts: see UnixConnector
};

/// `.connector = aiohttp::UnixConnector{"/run/engine.sock"}`: all connections lead to this socket,
/// whatever the URL's host. aiohttp.UnixConnector.
struct UnixConnector {
  std::string path;
  bool force_close = false;
  http::Seconds keepalive_timeout = std::chrono::seconds(15);
  std::size_t limit = 100;
  std::size_t limit_per_host = 0;

  operator TCPConnector() const {  // NOLINT(google-explicit-constructor)
    return {.keepalive_timeout = keepalive_timeout,
            .force_close = force_close,
            .limit = limit,
            .limit_per_host = limit_per_host,
            .path = path};
  }
};

}  // namespace fiber::aiohttp
