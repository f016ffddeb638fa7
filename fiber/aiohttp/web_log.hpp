// The access log. Python: aiohttp.web_log.
#pragma once

#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/asyncio/events.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::aiohttp::web::detail {

struct ServerObject;

/// Appends its part of a line.
using LogPart =
    std::function<void(std::string&, const Request&, const ResponseObject&, asyncio::nanoseconds)>;

/// Parses a format. Throws ValueError, with its name, for an unknown atom.
std::vector<LogPart> compile_log_format(std::string_view format);
/// Passes the line to the server's access_log; an exception of access_log is reported.
void log_access(ServerObject& server, const Request& request, const ResponseObject& response,
                asyncio::nanoseconds time);

}  // namespace fiber::aiohttp::web::detail
