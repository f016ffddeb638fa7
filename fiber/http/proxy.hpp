// Which proxy a request goes through.
#pragma once

#include <fiber/http/outgoing.hpp>

#include <optional>
#include <string>

namespace fiber::http {

// The URL of the proxy for this URL, "" for none, as urllib.request.getproxies() and the clients'
// own rules have it: `http_proxy` or `HTTP_PROXY` (not in a CGI program, where the client of the
// server chooses its value), `https_proxy`, in requests also `all_proxy`; none for what `no_proxy`
// names, nor (other than in Python) for this machine, which a proxy elsewhere cannot reach.
std::string proxy_of_environment(const std::string& url, Rules rules);

// The URL of the proxy that `proxies` have for this URL, "" for none of any; nothing if they do not
// say, as requests.utils.select_proxy: "http://host", "http", "all://host", "all". Throws Failure
// (invalid_proxy) for one that is no URL.
std::optional<std::string> proxy_for(const std::string& url, const Params& proxies);

}  // namespace fiber::http
