// The route of a request: the host, the proxy, and the dialogue with the proxy.
#pragma once

#include <fiber/http/answer.hpp>
#include <fiber/http/outgoing.hpp>
#include <fiber/http/url.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::http {

struct Route {
  enum class Proxy : std::uint8_t { none, http, https, socks4, socks4a, socks5, socks5h };

  bool tls = false;      // to the host
  bool upgrade = false;  // the connection will speak another protocol than HTTP
  std::string host;      // in a resolver's form: "::1", "fe80::1%eth0"
  int port = 0;
  std::string origin;  // value of Host: "[::1]:8080"; without the default port
  Proxy proxy = Proxy::none;
  std::string proxy_host;
  int proxy_port = 0;
  std::optional<BasicAuth> proxy_auth;
  // Connections with equal keys are interchangeable.
  std::string key;

  bool through_proxy() const noexcept { return proxy != Proxy::none; }
  // Whether the proxy is asked for the page, and not for a connection to the host.
  bool absolute() const noexcept {
    return !tls && !upgrade && (proxy == Proxy::http || proxy == Proxy::https);
  }
  // Whether a Tunnel asks the proxy for a connection.
  bool tunnels() const noexcept { return through_proxy() && !absolute(); }
  // Whether the host's address is looked up here: the proxy takes no names.
  bool resolves_host() const noexcept { return proxy == Proxy::socks4 || proxy == Proxy::socks5; }
  const std::string& first_host() const noexcept { return through_proxy() ? proxy_host : host; }
  int first_port() const noexcept { return through_proxy() ? proxy_port : port; }
};

// Returns the route of a request that is ready to be sent; `url`: the parts of its URL. Throws
// Failure (invalid_proxy, proxy).
Route route_of(const Outgoing& request, const UrlParts& url);

// Returns the name that the certificate of `host` or of a proxy has to be for: without the zone of
// an address, which is this machine's. (ssl leaves out the dot at the end of a name.)
std::string tls_name(std::string_view host);

// Returns the value of Proxy-Authorization; "" for none.
std::string proxy_authorization(const Route& route);

// Asks a proxy for a connection to the host: CONNECT, SOCKS 4, 4a and 5. Sans I/O.
class Tunnel {
 public:
  // `address` replaces the host's name if resolves_host(). `route` must outlive the tunnel.
  explicit Tunnel(const Route& route, std::string address = {});

  // Returns the bytes to send next; "" while an answer of the proxy is awaited.
  std::string take_output() { return std::exchange(output_, {}); }
  // Takes bytes that the proxy sent. Throws Failure (proxy).
  void received(std::string_view bytes);
  // Says that the connection has ended: always throws Failure (proxy).
  [[noreturn]] void lost() const;
  bool done() const noexcept { return step_ == Step::done; }

 private:
  enum class Step : std::uint8_t { connect, socks4, method, credentials, socks5, done };

  void ask_socks4();
  void ask_socks5();
  bool go_on();
  [[noreturn]] void refuse(const std::string& why) const;

  const Route& route_;
  std::string host_;
  Step step_;
  AnswerParser answer_;
  std::string input_;
  std::string output_;
};

}  // namespace fiber::http
