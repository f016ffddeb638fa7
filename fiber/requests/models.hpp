// A request as it is sent, and the response. Python: requests.models.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/chunks.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/json.hpp>
#include <fiber/requests/exceptions.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::requests {

using CaseInsensitiveDict = http::Headers;
using Params = http::Params;
using Body = http::Body;
using Json = http::Json;

class Response;

/// requests.PreparedRequest: what was sent for a response, and what an `auth` may change before.
class FIBER_API PreparedRequest {
 public:
  std::string method;           ///< "GET"
  std::string url;              ///< with its parameters, quoted
  CaseInsensitiveDict headers;  ///< but for Host, Cookie, the length of the body and what to accept
  Body body;

  /// The part of the URL that the request line has: "/path?query".
  std::string path_url() const;
};

/// Called with every response, the redirects on its way included. It may change it; what it throws
/// leaves the call.
using Hook = std::function<void(Response&)>;

/// hooks=: {.response = {hook, ...}}
struct Hooks {
  std::vector<Hook> response = {};
};

/// requests.Response. A value but for the rest of a streamed body, which copies share.
class FIBER_API Response {
 public:
  /// What a Link field says of one link, "url" among it.
  using Link = std::map<std::string, std::string>;

  int status_code = 0;
  std::string reason;                   ///< "Not Found"
  std::string url;                      ///< after redirects
  CaseInsensitiveDict headers;          ///< repeated fields joined by ", "
  std::string content;                  ///< the body, decompressed; empty when streamed
  std::string encoding;                 ///< charset of text(); from Content-Type, "" if not known
  std::chrono::microseconds elapsed{};  ///< from sending until the head had arrived
  Params cookies;                       ///< names and values that this response sets
  /// The answers on the way here, the first one first: redirects, and what HTTPDigestAuth answered
  /// to. Of their bodies no more than 64 KiB are kept; they have no history.
  std::vector<Response> history;
  PreparedRequest request;  ///< that it answers

  /// Whether the status is below 400.
  bool ok() const noexcept { return status_code < 400; }
  /// Whether this is a redirect that was not followed, or one of a history.
  bool is_redirect() const;
  /// Whether it is one for good, 301 or 308.
  bool is_permanent_redirect() const;
  /// The links of the field Link by what they are ("next"), or by their URL.
  std::map<std::string, Link> links() const;
  /// `content` decoded from `encoding` to UTF-8, malformed characters as U+FFFD. Without an
  /// encoding it is taken for UTF-8 (Python guesses).
  std::string text() const;
#ifdef FIBER_HTTP_JSON
  /// `content` as a nlohmann::json (nlohmann::ordered_json:
  /// response.json<nlohmann::ordered_json>()). Without an encoding that of the bytes is guessed:
  /// UTF-8, 16 or 32. Throws JSONDecodeError.
  template <class Value = nlohmann::json>
  Value json() const {
    return http::detail::parse_json<Value>(json_text(), &refuse_json);
  }
#endif
  /// Throws HTTPError, "404 Client Error: Not Found for url: ...", unless ok().
  void raise_for_status() const;

  /// The body in pieces of chunk_size bytes, the last one shorter; 0: as they arrive. To be gone
  /// through once, and outlived by the response, when streamed. Throws as get() does.
  http::Chunks iter_content(std::size_t chunk_size);
  /// The body line by line, without the ends of the lines (LF, CR, CR LF); with a delimiter, what
  /// stands between delimiters. Otherwise as iter_content().
  http::Lines iter_lines(std::size_t chunk_size = 512,
                         std::optional<std::string> delimiter = std::nullopt);
  /// Gives up what is left of a streamed body. So does the destructor of the last copy.
  void close() noexcept { stream_.reset(); }

 private:
  friend class Session;
  class Stream;

  std::string json_text() const;
  [[noreturn]] static void refuse_json(std::string_view text);

  std::shared_ptr<Stream> stream_;
};

/// "<Response [200]>"
FIBER_API std::ostream& operator<<(std::ostream& out, const Response& response);

}  // namespace fiber::requests
