#include <fiber/aiohttp/web_log.hpp>

#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/exceptions/repr.hpp>

#include <cmath>
#include <cstdio>
#include <ctime>

#include <unistd.h>

namespace fiber::aiohttp::web::detail {
namespace {

// Escapes text of a client: it must not look like another line.
void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || c == '"' || c == '\\') {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
}

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  // The names of strftime's %b are those of the locale.
  const std::string format = std::string("[%d/") + kMonths[parts.tm_mon] + "/%Y:%H:%M:%S %z]";
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, format.c_str(), &parts));
}

double seconds(asyncio::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

// Returns a field of the response as it was sent, "-" if it was not. Type and length are no fields
// of `headers` unless the handler has put them there.
std::string field_of(const ResponseObject& response, const std::string& name) {
  const bool empty = response.status < 200 || response.status == 204 || response.status == 304;
  if (http::equal_ignoring_case(name, "Content-Length")) {
    if (empty || response.chunked) return "-";
    const auto* whole = dynamic_cast<const BodyResponseObject*>(&response);
    if (whole != nullptr && (whole->has_body || !response.length))
      return std::to_string(whole->body.size());
    return response.length ? std::to_string(*response.length) : "-";
  }
  const bool is_type = http::equal_ignoring_case(name, "Content-Type");
  if (!is_type || empty || response.headers.contains(name)) return response.headers.get(name, "-");
  const std::string& type = response.content_type;
  const std::string& charset = response.charset;
  return (type.empty() ? "application/octet-stream" : type) +
         (charset.empty() ? "" : "; charset=" + charset);
}

LogPart header_atom(const std::string& name, char kind) {
  if (kind == 'i')
    return [name](std::string& out, const Request& request, const ResponseObject&,
                  asyncio::nanoseconds) { append_escaped(out, request.headers().get(name, "-")); };
  return [name](std::string& out, const Request&, const ResponseObject& response,
                asyncio::nanoseconds) { append_escaped(out, field_of(response, name)); };
}

LogPart atom(char kind) {
  switch (kind) {
    case 'a':
      return [](std::string& out, const Request& request, const ResponseObject&,
                asyncio::nanoseconds) { out += request.remote().empty() ? "-" : request.remote(); };
    case 't':
      return [](std::string& out, const Request&, const ResponseObject&, asyncio::nanoseconds) {
        out += local_time();
      };
    case 'P':
      return [](std::string& out, const Request&, const ResponseObject&, asyncio::nanoseconds) {
        out += "<" + std::to_string(::getpid()) + ">";
      };
    case 'r':
      return [](std::string& out, const Request& request, const ResponseObject&,
                asyncio::nanoseconds) {
        append_escaped(out, request.method());
        out += ' ';
        append_escaped(out, request.path_qs());
        out += request.version().minor == 0 ? " HTTP/1.0" : " HTTP/1.1";
      };
    case 's':
      return [](std::string& out, const Request&, const ResponseObject& response,
                asyncio::nanoseconds) { out += std::to_string(response.status); };
    case 'b':
      return [](std::string& out, const Request&, const ResponseObject& response,
                asyncio::nanoseconds) { out += std::to_string(response.sent()); };
    case 'T':
      return [](std::string& out, const Request&, const ResponseObject&,
                asyncio::nanoseconds time) { out += std::to_string(std::llround(seconds(time))); };
    case 'F':  // %Tf
      return [](std::string& out, const Request&, const ResponseObject&,
                asyncio::nanoseconds time) { out += fiber::detail::fixed(seconds(time), 6); };
    case 'D':
      return
          [](std::string& out, const Request&, const ResponseObject&, asyncio::nanoseconds time) {
            out += std::to_string(std::llround(seconds(time) * 1e6));
          };
    case '%':
      return [](std::string& out, const Request&, const ResponseObject&, asyncio::nanoseconds) {
        out += '%';
      };
    default: throw ValueError(std::string("Unknown atom of the access log: %") + kind);
  }
}

}  // namespace

std::vector<LogPart> compile_log_format(std::string_view format) {
  std::vector<LogPart> parts;
  while (!format.empty()) {
    const std::size_t percent = format.find('%');
    if (percent != 0)
      parts.push_back([text = std::string(format.substr(0, percent))](
                          std::string& out, const Request&, const ResponseObject&,
                          asyncio::nanoseconds) { out += text; });
    if (percent == std::string_view::npos) break;
    format.remove_prefix(percent + 1);
    if (format.starts_with('{')) {
      const std::size_t close = format.find('}');
      const char kind =
          close == std::string_view::npos || close + 1 == format.size() ? '\0' : format[close + 1];
      if (kind != 'i' && kind != 'o')
        throw ValueError("Unknown atom of the access log: %" + std::string(format));
      parts.push_back(header_atom(std::string(format.substr(1, close - 1)), kind));
      format.remove_prefix(close + 2);
    } else if (format.starts_with("Tf")) {
      parts.push_back(atom('F'));
      format.remove_prefix(2);
    } else {
      if (format.empty()) throw ValueError("the access log's format ends in %");
      parts.push_back(atom(format.front() == 'F' ? 'f' : format.front()));
      format.remove_prefix(1);
    }
  }
  return parts;
}

void log_access(ServerObject& server, const Request& request, const ResponseObject& response,
                asyncio::nanoseconds time) {
  try {
    std::string line;
    for (const LogPart& part : server.log_format) part(line, request, response, time);
    server.options.access_log(line);
  } catch (const std::exception&) {
    asyncio::detail::log(asyncio::LogLevel::error, "Error in logging", std::current_exception());
  }
}

}  // namespace fiber::aiohttp::web::detail
