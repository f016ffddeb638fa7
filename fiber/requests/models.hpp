// The prepared request and the response. Python: requests.models.
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

/// The request that is sent; an `auth` may change it before. Python: requests.PreparedRequest.
class FIBER_API PreparedRequest {
 public:
  std::string method;           ///< "GET"
  std::string url;              ///< with its parameters, quoted
  CaseInsensitiveDict headers;  ///< without Host, Cookie, lengths and Accept-Encoding
  Body body;                    ///< what is sent after the head

  /// Returns the part of the URL for the request line: "/path?query".
  std::string path_url() const;
};

/// A function that is called with every response, redirects included. It may change the response;
/// its exceptions leave the call.
using Hook = std::function<void(Response&)>;

/// hooks=: {.response = {hook, ...}}
struct Hooks {
  std::vector<Hook> response = {};  ///< called in this order
};

/// A response. A value, except that copies share the rest of a streamed body.
/// Python: requests.Response.
class FIBER_API Response {
 public:
  /// The parameters of one link of the field Link, and its "url".
  using Link = std::map<std::string, std::string>;

  int status_code = 0;                  ///< 404, for example
  std::string reason;                   ///< "Not Found"
  std::string url;                      ///< after redirects
  CaseInsensitiveDict headers;          ///< repeated fields joined by ", "
  std::string content;                  ///< the body, decompressed; empty when streamed
  std::string encoding;                 ///< charset of text(); from Content-Type, "" if not known
  std::chrono::microseconds elapsed{};  ///< from sending until the head had arrived
  Params cookies;                       ///< names and values that this response sets
  /// The earlier answers, the first one first: redirects, and challenges that HTTPDigestAuth has
  /// answered. Their bodies are cut off after 64 KiB; they have no history.
  std::vector<Response> history;
  PreparedRequest request;  ///< the request that was answered

  /// Whether the status is below 400.
  bool ok() const noexcept { return status_code < 400; }
  /// Whether this is a redirect that was not followed, or one of a history.
  bool is_redirect() const;
  /// Whether this is a permanent redirect, 301 or 308.
  bool is_permanent_redirect() const;
  /// Returns the links of the field Link, by relation ("next") or else by URL.
  std::map<std::string, Link> links() const;
  /// Returns `content` converted from `encoding` to UTF-8, malformed characters as U+FFFD. Without
  /// an encoding, `content` is taken for UTF-8 (Python guesses).
  std::string text() const;
#ifdef FIBER_HTTP_JSON
  /// Returns `content` as a nlohmann::json (nlohmann::ordered_json:
  /// response.json<nlohmann::ordered_json>()). Without an encoding, one is guessed from the bytes:
  /// UTF-8, 16 or 32. Throws JSONDecodeError.
  template <class Value = nlohmann::json>
  Value json() const {
    return http::detail::parse_json<Value>(json_text(), &refuse_json);
  }
#endif
  /// Throws HTTPError, "404 Client Error: Not Found for url: ...", unless ok().
  void raise_for_status() const;

  /// Returns the body in pieces of chunk_size bytes, the last one shorter; 0: pieces as they
  /// arrive. A streamed body allows one pass; one that the server sends in chunks is returned as it
  /// arrives, in pieces of up to chunk_size bytes. The range does not need the response: it has a
  /// copy of `content`, which a response that ends with the call gives away. Throws like get().
  http::Chunks iter_content(std::size_t chunk_size) &;
  http::Chunks iter_content(std::size_t chunk_size) &&;
  /// Returns the body line by line, without the ends of the lines (LF, CR, CR LF); with a
  /// delimiter, the parts between delimiters. A line of a streamed body is returned once it has
  /// arrived. Otherwise like iter_content().
  http::Lines iter_lines(std::size_t chunk_size = 512,
                         std::optional<std::string> delimiter = std::nullopt) &;
  http::Lines iter_lines(std::size_t chunk_size = 512,
                         std::optional<std::string> delimiter = std::nullopt) &&;
  /// Gives up the rest of a streamed body, as the destructor of the last copy does.
  void close() noexcept { stream_.reset(); }

 private:
  friend class Session;
  class Stream;

  http::Chunks chunks_of(std::string body, std::size_t chunk_size, bool at_once) const;
  std::string json_text() const;
  [[noreturn]] static void refuse_json(std::string_view text);

  std::shared_ptr<Stream> stream_;
};

/// "<Response [200]>"
FIBER_API std::ostream& operator<<(std::ostream& out, const Response& response);

}  // namespace fiber::requests
