// Which proxy the environment names.
#pragma once

#include <fiber/http/outgoing.hpp>

#include <string>

namespace fiber::http {

// The URL of the proxy for this URL, "" for none, as urllib.request.getproxies() and the clients'
// own rules have it: `http_proxy` or `HTTP_PROXY` (not in a CGI program, where the client of the
// server chooses its value), `https_proxy`, in requests also `all_proxy`; none for what `no_proxy`
// names, nor (other than in Python) for this machine, which a proxy elsewhere cannot reach.
std::string proxy_of_environment(const std::string& url, Rules rules);

}  // namespace fiber::http
