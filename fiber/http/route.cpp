#include <fiber/http/route.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/proxy.hpp>
#include <fiber/http/redirect.hpp>
#include <fiber/http/text.hpp>

#include <charconv>
#include <cstdint>
#include <utility>

#include <arpa/inet.h>

namespace fiber::http {
namespace {

using Proxy = Route::Proxy;

// Returns the host as resolvers take it: "fe80::1%eth0" for "[fe80::1%25eth0]".
std::string resolvable(std::string_view host) {
  if (!host.starts_with('[')) return std::string(host);
  std::string address(host.substr(1, host.find(']') - 1));
  if (const auto zone = address.find("%25"); zone != address.npos) address.erase(zone + 1, 2);
  return address;
}

// Removes the zone of an address: it has no meaning on another machine.
std::string without_zone(std::string_view host) {
  std::string plain(host);
  if (const auto zone = plain.find('%'); plain.starts_with('[') && zone != plain.npos)
    plain.erase(zone, plain.find(']') - zone);
  return plain;
}

std::string unquoted(std::string_view text) {
  std::string url = "http://" + std::string(text) + "@h/";
  const auto credentials = take_credentials(url);
  return credentials ? credentials->username : "";
}

Proxy kind_of(std::string_view scheme, const std::string& whole) {
  static constexpr std::pair<std::string_view, Proxy> kinds[] = {
      {"http", Proxy::http},       {"https", Proxy::https},   {"socks4", Proxy::socks4},
      {"socks4a", Proxy::socks4a}, {"socks5", Proxy::socks5}, {"socks5h", Proxy::socks5h},
      {"socks", Proxy::socks4}};
  for (const auto& [name, kind] : kinds)
    if (equal_ignoring_case(scheme, name)) return kind;
  throw Failure{Failure::Kind::proxy, "Unsupported proxy scheme: '" + whole + "'"};
}

int usual_port(Proxy kind) {
  switch (kind) {
    case Proxy::none:
    case Proxy::http: return 80;
    case Proxy::https: return 443;
    default: return 1080;
  }
}

[[noreturn]] void refuse_proxy(const std::string& whole) {
  throw Failure{Failure::Kind::invalid_proxy, "Failed to parse the URL of the proxy: " + whole};
}

void set_proxy(Route& route, const std::string& whole) {
  std::string_view rest = whole;
  std::string_view scheme = "http";
  if (const auto mark = rest.find("://"); mark != rest.npos) {
    scheme = rest.substr(0, mark);
    rest.remove_prefix(mark + 3);
  }
  route.proxy = kind_of(scheme, whole);
  rest = rest.substr(0, find_any(rest, "/?#"));
  if (const auto at = rest.rfind('@'); at != rest.npos) {
    const std::string_view user_info = rest.substr(0, at);
    const auto colon = user_info.find(':');
    route.proxy_auth = BasicAuth{unquoted(user_info.substr(0, colon)), {}};
    if (colon != user_info.npos) route.proxy_auth->password = unquoted(user_info.substr(colon + 1));
    rest.remove_prefix(at + 1);
  }
  route.proxy_port = usual_port(route.proxy);
  const auto bracket = rest.find(']');
  const auto colon = rest.find(':', bracket == rest.npos ? 0 : bracket);
  if (const std::string_view port = rest.substr(std::min(colon, rest.size())); port.size() > 1) {
    const auto [end, error] =
        std::from_chars(port.data() + 1, port.data() + port.size(), route.proxy_port);
    if (error != std::errc() || end != port.data() + port.size() || route.proxy_port < 0 ||
        route.proxy_port > 65535)
      refuse_proxy(whole);
  }
  route.proxy_host = resolvable(rest.substr(0, colon));
  if (route.proxy_host.empty() || route.proxy_host.find('\0') != std::string::npos)
    refuse_proxy(whole);
}

void set_key(Route& route, const Outgoing& request) {
  const auto add = [&](std::string_view part) {
    // Each part has its length in front: parts with spaces in them stay apart.
    route.key.append(std::to_string(part.size())).append(" ").append(part);
  };
  (route.key = route.tls ? "https " : "http ").append(route.origin);
  if (route.through_proxy()) {
    route.key += static_cast<char>('0' + static_cast<int>(route.proxy));
    add(route.proxy_host);
    add(std::to_string(route.proxy_port));
    add(proxy_authorization(route));
    if (route.upgrade) route.key += " tunnel ";
  }
  if (!route.tls && route.proxy != Proxy::https) return;
  if (request.context) {
    // The address identifies the context: the connections and sessions made with it keep it alive.
    route.key += " context ";
    add(std::to_string(reinterpret_cast<std::uintptr_t>(request.context->object().get())));
    return;
  }
  route.key += request.verify.check() ? " verified " : " unverified ";
  add(request.verify.bundle());
  add(request.certificate);
  add(request.key);
}

// Returns the four bytes of an IPv4 address, or the sixteen of an IPv6 address; "" for a name.
std::string address_bytes(const std::string& host) {
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, host.c_str(), bytes) == 1)
    return {reinterpret_cast<const char*>(bytes), 4};
  if (::inet_pton(AF_INET6, host.c_str(), bytes) == 1)
    return {reinterpret_cast<const char*>(bytes), 16};
  return {};
}

std::string port_bytes(int port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 255)};
}

}  // namespace

Route route_of(const Outgoing& request, const UrlParts& url) {
  Route route;
  route.tls = url.scheme == "https";
  route.upgrade = request.upgrade;
  route.host = resolvable(url.host);
  route.port = url.port;
  route.origin = without_zone(url.host);
  if (url.port != (route.tls ? 443 : 80)) route.origin += ":" + std::to_string(url.port);
  const auto given = proxy_for(request.url, request.proxies);
  const std::string proxy = given ? *given
                            : request.trust_env
                                ? proxy_of_environment(request.url, request.rules, request.proxies)
                                : "";
  if (!proxy.empty()) {
    try {
      set_proxy(route, proxy);
    } catch (Failure& failure) {
      failure.url = request.url;
      throw;
    }
    if (request.proxy_auth) route.proxy_auth = request.proxy_auth;
  }
  set_key(route, request);
  return route;
}

std::string tls_name(std::string_view host) { return std::string(host.substr(0, host.find('%'))); }

std::string proxy_authorization(const Route& route) {
  return route.proxy_auth ? basic_authorization(*route.proxy_auth) : "";
}

Tunnel::Tunnel(const Route& route, std::string address)
    : route_(route), host_(address.empty() ? route.host : address), answer_(Rules::aiohttp) {
  switch (route.proxy) {
    case Proxy::none: step_ = Step::done; break;
    case Proxy::http:
    case Proxy::https: {
      step_ = Step::connect;
      answer_.begin(true);
      const std::string to = (host_.find(':') == host_.npos ? host_ : "[" + host_ + "]") + ":" +
                             std::to_string(route.port);
      output_ = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n";
      if (const std::string value = proxy_authorization(route); !value.empty())
        output_ += "Proxy-Authorization: " + value + "\r\n";
      output_ += "\r\n";
      break;
    }
    case Proxy::socks4:
    case Proxy::socks4a: ask_socks4(); break;
    case Proxy::socks5:
    case Proxy::socks5h:
      step_ = Step::method;
      output_ =
          route.proxy_auth ? std::string("\x05\x02\x00\x02", 4) : std::string("\x05\x01\x00", 3);
      break;
  }
}

void Tunnel::refuse(const std::string& why) const {
  throw Failure{Failure::Kind::proxy, "Tunnel connection failed: " + why};
}

void Tunnel::lost() const { refuse("the proxy closed the connection"); }

void Tunnel::ask_socks4() {
  step_ = Step::socks4;
  std::string address = address_bytes(host_);
  const bool by_name = address.empty();
  if (address.size() == 16) refuse("SOCKS 4 has no IPv6");
  if (by_name) address = std::string("\0\0\0\x01", 4);
  output_ = std::string("\x04\x01", 2) + port_bytes(route_.port) + address;
  if (route_.proxy_auth) output_ += route_.proxy_auth->username;
  output_ += '\0';
  if (by_name) (output_ += host_) += '\0';
}

void Tunnel::ask_socks5() {
  step_ = Step::socks5;
  const std::string address = address_bytes(host_);
  if (address.empty() && host_.size() > 255) refuse("the name of the host is too long for SOCKS 5");
  output_ = std::string("\x05\x01\x00", 3);
  if (address.empty())
    (output_ += std::string{'\x03', static_cast<char>(host_.size())}) += host_;
  else
    (output_ += address.size() == 4 ? '\x01' : '\x04') += address;
  output_ += port_bytes(route_.port);
}

void Tunnel::received(std::string_view bytes) {
  input_ += bytes;
  while (!done() && go_on()) {
  }
  // The host sends nothing before it is asked: bytes behind the proxy's answer are not the host's.
  if (done() && !input_.empty()) refuse("the proxy sent more than its answer");
}

// Makes one step. Returns false if more bytes must be received first.
bool Tunnel::go_on() {
  const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(input_[at]); };
  const auto take = [this](std::size_t size) { input_.erase(0, size); };
  switch (step_) {
    case Step::connect: {
      std::string_view in = input_;
      AnswerParser::Event event = AnswerParser::Event::more;
      try {
        do event = answer_.next(in);
        while (event == AnswerParser::Event::interim);
      } catch (const Failure& failure) {
        refuse(failure.text);
      }
      take(input_.size() - in.size());
      if (event != AnswerParser::Event::head) return false;
      const ResponseHead& head = answer_.head();
      if (head.status / 100 != 2) refuse(std::to_string(head.status) + " " + head.reason);
      step_ = Step::done;
      return true;
    }
    case Step::socks4:
      if (input_.size() < 8) return false;
      if (byte(1) != 90) refuse("SOCKS 4 error " + std::to_string(byte(1)));
      take(8);
      step_ = Step::done;
      return true;
    case Step::method:
      if (input_.size() < 2) return false;
      if (byte(0) != 5) refuse("this is not SOCKS 5");
      if (byte(1) == 2 && route_.proxy_auth) {
        const BasicAuth& auth = *route_.proxy_auth;
        if (auth.username.size() > 255 || auth.password.size() > 255)
          refuse("user name or password are too long for SOCKS 5");
        output_ = std::string{'\x01', static_cast<char>(auth.username.size())} + auth.username +
                  static_cast<char>(auth.password.size()) + auth.password;
        step_ = Step::credentials;
      } else if (byte(1) == 0) {
        ask_socks5();
      } else {
        refuse("all offered SOCKS 5 authentication methods were rejected");
      }
      take(2);
      return true;
    case Step::credentials:
      if (input_.size() < 2) return false;
      if (byte(1) != 0) refuse("SOCKS 5 authentication failed");
      take(2);
      ask_socks5();
      return true;
    case Step::socks5: {
      if (input_.size() < 5) return false;
      if (byte(0) != 5) refuse("this is not SOCKS 5");
      if (byte(1) != 0) refuse("SOCKS 5 error " + std::to_string(byte(1)));
      const std::size_t address = byte(3) == 1 ? 4 : byte(3) == 4 ? 16 : byte(4) + std::size_t{1};
      if (input_.size() < 4 + address + 2) return false;
      take(4 + address + 2);
      step_ = Step::done;
      return true;
    }
    case Step::done: break;
  }
  return false;
}

}  // namespace fiber::http
