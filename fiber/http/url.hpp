// Making a URL fit to be sent, its parts, and what a redirect makes of it.
#pragma once

#include <fiber/http/arguments.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// The URL with `params` appended to its query and with what must be quoted quoted, as
// requests.PreparedRequest.prepare_url and urllib3.util.parse_url do it: a host in lower case, one
// in other letters than ASCII's in the form of IDNA 2008, addresses in their usual spelling; no dot
// segments in the path; no mark without a query or a fragment behind it. A backslash ends the host,
// and is a character of the path. Throws Failure (missing_schema, invalid_schema, invalid_url),
// with Python's texts.
std::string prepare_url(std::string_view url, const Params& params);

// Where the field Location, received from `base`, leads. Throws as prepare_url() does.
std::string resolve_url(const std::string& base, std::string_view location);

// The parts of a prepared URL, which these refer to.
struct UrlParts {
  std::string_view scheme;    // "http" or "https"
  std::string_view userinfo;  // quoted; "" for none
  std::string_view host;      // "[::1]" and "[fe80::1%25eth0]" for addresses of that kind
  int port = 0;               // the usual one unless it is said
  std::string_view target;    // path and query
  std::string_view path;
};
UrlParts split_url(std::string_view url);

// Takes user name and password out of a prepared URL; nothing if it has none.
std::optional<BasicAuth> take_credentials(std::string& url);

// Whether both have one scheme, host and port, or `to` is the https of the http host `from`, at
// the usual ports: credentials for one are then credentials for the other, as requests has it.
bool same_origin(const std::string& from, const std::string& to);

// "host:port" of a prepared URL, the key of per-host limits.
std::string origin_of(const std::string& url);

}  // namespace fiber::http
