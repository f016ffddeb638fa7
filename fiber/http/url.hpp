// Making a URL fit to be sent, and what a redirect makes of it.
#pragma once

#include <fiber/http/arguments.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// The URL with `params` appended to its query and with what must be quoted quoted, as
// requests.PreparedRequest.prepare_url does it; a host in other letters than ASCII's in the form
// of IDNA 2008. Throws Failure (missing_schema, invalid_schema, invalid_url), with Python's texts.
std::string prepare_url(std::string_view url, const Params& params);

// Where the field Location, received from `base`, leads. Throws as prepare_url() does.
std::string resolve_url(const std::string& base, std::string_view location);

// Takes user name and password out of a prepared URL; nothing if it has none.
std::optional<BasicAuth> take_credentials(std::string& url);

// Whether both have one scheme, host and port, or `to` is the https of the http host `from`, at
// the usual ports: credentials for one are then credentials for the other, as requests has it.
bool same_origin(const std::string& from, const std::string& to);

// "host:port" of a prepared URL, the key of per-host limits.
std::string origin_of(const std::string& url);

}  // namespace fiber::http
