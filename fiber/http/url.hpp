// Making a URL fit to be sent.
#pragma once

#include <fiber/http/arguments.hpp>

#include <string>
#include <string_view>

namespace fiber::http {

// The URL with `params` appended to its query and with what must be quoted quoted, as
// requests.PreparedRequest.prepare_url does it. Throws Failure (missing_schema, invalid_schema,
// invalid_url), with Python's texts.
std::string prepare_url(std::string_view url, const Params& params);

// "host:port" of a prepared URL, the key of per-host limits.
std::string origin_of(const std::string& url);

}  // namespace fiber::http
