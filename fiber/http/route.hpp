// Where the connection of a request leads, and what is said to proxies on the way.
#pragma once

#include <fiber/http/answer.hpp>
#include <fiber/http/outgoing.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::http {

struct Route {
  enum class Proxy : std::uint8_t { none, http, https, socks4, socks4a, socks5, socks5h };

  bool tls = false;      // to the host
  bool upgrade = false;  // another protocol than HTTP is to be spoken, in the end
  std::string host;      // as a resolver takes it: "::1", "fe80::1%eth0"
  int port = 0;
  std::string origin;  // what the field Host says: "[::1]:8080"; no port if it is the usual one
  Proxy proxy = Proxy::none;
  std::string proxy_host;
  int proxy_port = 0;
  std::optional<BasicAuth> proxy_auth;
  // Connections with one key can stand for each other.
  std::string key;

  bool through_proxy() const noexcept { return proxy != Proxy::none; }
  // The proxy is asked for the page, and not for a connection to the host.
  bool absolute() const noexcept {
    return !tls && !upgrade && (proxy == Proxy::http || proxy == Proxy::https);
  }
  // The proxy is to be asked for a connection, by a Tunnel.
  bool tunnels() const noexcept { return through_proxy() && !absolute(); }
  // The proxy takes addresses alone: the host's has to be looked up here.
  bool resolves_host() const noexcept { return proxy == Proxy::socks4 || proxy == Proxy::socks5; }
  const std::string& first_host() const noexcept { return through_proxy() ? proxy_host : host; }
  int first_port() const noexcept { return through_proxy() ? proxy_port : port; }
};

// Of a request that is ready to be sent. Throws Failure (invalid_proxy, proxy).
Route route_of(const Outgoing& request);

// What the field Proxy-Authorization says; "" for nothing.
std::string proxy_authorization(const Route& route);

// Has a proxy make a connection to the host: CONNECT, SOCKS 4, 4a and 5. Sans I/O.
class Tunnel {
 public:
  // `address` in place of the host's name, where resolves_host(). The route lives as long.
  explicit Tunnel(const Route& route, std::string address = {});

  // What is to be sent next; empty while something has to come first.
  std::string take_output() { return std::exchange(output_, {}); }
  // Bytes of the proxy. Throws Failure (proxy).
  void received(std::string_view bytes);
  // The connection has ended. Throws Failure (proxy) always.
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
