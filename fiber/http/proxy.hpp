// The choice of a proxy for a request.
#pragma once

#include <fiber/http/outgoing.hpp>

#include <optional>
#include <string>

namespace fiber::http {

// Returns the URL of the proxy for this URL, "" for none, by urllib.request.getproxies() and the
// clients' own rules: `http_proxy` or `HTTP_PROXY` (not in a CGI program, where the client of the
// server chooses its value), `https_proxy`, in requests also `all_proxy`; none for the hosts that
// `no_proxy` names, nor (unlike Python) for this machine, which a proxy elsewhere cannot reach.
std::string proxy_of_environment(const std::string& url, Rules rules, const Params& proxies = {});

// Returns the URL of the proxy that `proxies` name for this URL, "" for no proxy; nothing if no
// entry applies. Looks for "http://host", "http", "all://host", "all". Throws Failure
// (invalid_proxy) for a proxy that is no URL. Python: requests.utils.select_proxy.
std::optional<std::string> proxy_for(const std::string& url, const Params& proxies);

}  // namespace fiber::http
