// Prepares URLs for sending, splits them, and resolves redirects.
#pragma once

#include <fiber/http/arguments.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// Returns the URL with `params` appended to its query, quoted where necessary, as by
// requests.PreparedRequest.prepare_url and urllib3.util.parse_url: the host in lower case, letters
// beyond ASCII in the form of IDNA 2008, addresses in their usual spelling; no dot segments in the
// path; no `?` or `#` with nothing behind it. A backslash ends the host, and belongs to the path.
// Throws Failure (missing_schema, invalid_schema, invalid_url), with Python's texts.
std::string prepare_url(std::string_view url, const Params& params);

// Returns the URL that the field Location, received from `base`, leads to. Throws like
// prepare_url().
std::string resolve_url(const std::string& base, std::string_view location);

// The parts of a prepared URL; they point into its text.
struct UrlParts {
  std::string_view scheme;    // "http" or "https"
  std::string_view userinfo;  // quoted; "" for none
  std::string_view host;      // IPv6 addresses: "[::1]", "[fe80::1%25eth0]"
  int port = 0;               // the default port if the URL has none
  std::string_view target;    // path and query
  std::string_view path;
};
UrlParts split_url(std::string_view url);

// Removes user name and password from a prepared URL, and returns them; nothing if there are none.
std::optional<BasicAuth> take_credentials(std::string& url);

// Whether both have equal scheme, host and port, or `to` is the https URL of the http host `from`,
// at default ports: then credentials for `from` may be sent to `to`, as in requests.
bool same_origin(const std::string& from, const std::string& to);

// Returns "host:port" of a prepared URL, the key of per-host limits.
std::string origin_of(const std::string& url);

}  // namespace fiber::http
