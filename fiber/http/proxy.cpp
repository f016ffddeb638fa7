#include <fiber/http/proxy.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <arpa/inet.h>

namespace fiber::http {
namespace {

// Returns the variable in lower case, else the one in upper case, else "". An empty variable in
// lower case hides the one in upper case.
std::string variable(std::string name) {
  if (const char* value = std::getenv(name.c_str())) return value;
  if (name == "http_proxy" && std::getenv("REQUEST_METHOD")) return {};
  const char* value = std::getenv(upper(name).c_str());
  return value ? value : "";
}

std::optional<std::uint32_t> ipv4(const std::string& text) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

// Whether the address is in a network such as "10.0.0.0/8".
bool in_network(std::uint32_t address, std::string_view network) {
  const auto slash = network.find('/');
  if (slash == network.npos) return false;
  const auto base = ipv4(std::string(network.substr(0, slash)));
  const int bits = std::atoi(std::string(network.substr(slash + 1)).c_str());
  if (!base || bits < 1 || bits > 32) return false;
  return (address ^ *base) >> (32 - bits) == 0;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         equal_ignoring_case(text.substr(text.size() - end.size()), end);
}

bool is_excepted(const std::string& host, const std::string& host_and_port,
                 std::string_view exception, Rules rules) {
  if (exception == "*") return true;
  // In no_proxy an IPv6 address stands with brackets or, as in Python and curl, without them.
  if (host.starts_with('[') && equal_ignoring_case(host.substr(1, host.size() - 2), exception))
    return true;
  if (const auto address = ipv4(host); address && in_network(*address, exception)) return true;
  if (equal_ignoring_case(host, exception) || equal_ignoring_case(host_and_port, exception))
    return true;
  if (rules == Rules::requests && !ipv4(host) &&
      (ends_with(host, exception) || ends_with(host_and_port, exception)))
    return true;
  while (exception.starts_with('.')) exception.remove_prefix(1);
  const std::string domain = "." + std::string(exception);
  return !exception.empty() && (equal_ignoring_case(host, exception) || ends_with(host, domain) ||
                                ends_with(host_and_port, domain));
}

bool is_this_machine(const std::string& host) {
  const auto address = ipv4(host);
  return equal_ignoring_case(host, "localhost") || host == "[::1]" ||
         (address && *address >> 24 == 127);
}

bool has_host(std::string_view url) {
  std::string_view rest = url.substr(url.find("://") + 3);
  rest = rest.substr(0, rest.find('/'));
  const auto at = rest.rfind('@');
  if (at != rest.npos) rest.remove_prefix(at + 1);
  return !rest.empty() && rest[0] != ':' && url.find('\0') == url.npos;
}

}  // namespace

std::string proxy_of_environment(const std::string& url, Rules rules, const Params& proxies) {
  const std::string host_and_port = origin_of(url);
  const std::string host = host_and_port.substr(0, host_and_port.rfind(':'));
  if (is_this_machine(host)) return {};
  std::string exceptions = variable("no_proxy");
  // As in requests, the caller's own exceptions take the place of the environment's.
  for (const auto& [key, value] : proxies)
    if (rules == Rules::requests && equal_ignoring_case(key, "no_proxy")) exceptions = value;
  for (std::size_t begin = 0; begin <= exceptions.size();) {
    const std::size_t end = std::min(exceptions.find(',', begin), exceptions.size());
    std::string exception = exceptions.substr(begin, end - begin);
    std::erase(exception, ' ');
    if (!exception.empty() && is_excepted(host, host_and_port, exception, rules)) return {};
    begin = end + 1;
  }
  std::string proxy = variable(url.substr(0, url.find(':')) + "_proxy");
  if (proxy.empty() && rules == Rules::requests) proxy = variable("all_proxy");
  return proxy;
}

std::optional<std::string> proxy_for(const std::string& url, const Params& proxies) {
  if (proxies.empty()) return std::nullopt;
  const std::string host_and_port = origin_of(url);
  const std::string host = host_and_port.substr(0, host_and_port.rfind(':'));
  const std::string scheme = url.substr(0, url.find(':'));
  for (const std::string& key :
       {scheme + "://" + host, scheme, "all://" + host, std::string("all")})
    // The last entry of a name counts, as in a dictionary.
    for (auto entry = proxies.rbegin(); entry != proxies.rend(); ++entry)
      if (equal_ignoring_case(entry->first, key)) {
        std::string proxy = entry->second;
        if (!proxy.empty() && proxy.find("://") == proxy.npos) proxy = "http://" + proxy;
        if (!proxy.empty() && !has_host(proxy))
          throw Failure{Failure::Kind::invalid_proxy,
                        "Please check proxy URL. It is malformed and could be missing the host."};
        return proxy;
      }
  return std::nullopt;
}

}  // namespace fiber::http
