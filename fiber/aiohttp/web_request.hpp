// A request as a handler sees it. Python: aiohttp.web_request.
#pragma once

#include <fiber/aiohttp/multipart.hpp>
#include <fiber/aiohttp/web_streams.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/http/headers_view.hpp>
#include <fiber/http/multidict.hpp>

#include <any>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#if __has_include(<nlohmann/json_fwd.hpp>)
#include <nlohmann/json_fwd.hpp>
#define FIBER_WEB_JSON = nlohmann::json
#else
#define FIBER_WEB_JSON
#endif

namespace fiber::http {
struct Head;
}

namespace fiber::aiohttp::web {

class AbstractRoute;
class Application;
namespace detail {
class Connection;
class BodyResponseObject;
class ResponseObject;
struct ApplicationObject;
struct RequestExtras;
}  // namespace detail

using CIMultiDictProxy = http::HeadersView;  ///< Python: multidict.CIMultiDictProxy
using http::MultiDict;

/// The values of a route's variables. Python: aiohttp.web.UrlMappingMatchInfo.
class FIBER_API UrlMappingMatchInfo {
 public:
  using value_type = std::pair<std::string_view, std::string>;

  /// Throws LookupError, Python's KeyError, if the route has no such variable.
  const std::string& operator[](std::string_view name) const;
  std::string get(std::string_view name, std::string_view fallback = {}) const;  ///< or `fallback`
  bool contains(std::string_view name) const noexcept;  ///< whether the route has the variable
  /// Name and value of each variable, in the order of the path.
  auto begin() const noexcept { return values_.begin(); }
  auto end() const noexcept { return values_.end(); }           ///< behind the last one
  std::size_t size() const noexcept { return values_.size(); }  ///< the number of variables
  /// The matching route; null if there is none (in middlewares: a 404 or 405 follows).
  const AbstractRoute* route() const noexcept { return route_; }

 private:
  friend class Application;
  friend class UrlDispatcher;
  friend class detail::Connection;
  friend struct detail::ApplicationObject;

  std::vector<value_type> values_;
  const AbstractRoute* route_ = nullptr;
  int http_exception_ = 404;  ///< the status if there is no route
  std::vector<std::string> allowed_;
  std::vector<detail::ApplicationObject*> apps_;  ///< the applications inside the outermost one
};

/// A file among the fields of a form. The content is in memory, bounded by client_max_size.
/// Python: aiohttp.web.FileField.
struct FileField {
  std::string name = {};          ///< of the field
  std::string filename = {};      ///< as the client has sent it: it may have slashes in it
  std::string file = {};          ///< the content
  std::string content_type = {};  ///< as the client has sent it
  http::Headers headers = {};     ///< of the part
};
/// One field of post(): a text or a file.
class FIBER_API PostField {
 public:
  PostField() = default;
  explicit PostField(std::string text) : value_(std::move(text)) {}
  explicit PostField(FileField file) : value_(std::move(file)) {}
  /// False for a text.
  bool is_file() const noexcept { return std::holds_alternative<FileField>(value_); }
  /// Returns the text. Throws TypeError for a file.
  const std::string& text() const;
  const FileField& file() const;  ///< throws TypeError for a text

 private:
  std::variant<std::string, FileField> value_;
};
using Form = http::MultiDictOf<PostField>;  ///< the fields of a form

/// A range [start, stop) of a file; a negative start counts from the end.
struct HttpRange {
  std::optional<std::int64_t> start = {};  ///< nothing: the beginning
  std::optional<std::int64_t> stop = {};   ///< nothing: the end
};

/// The version of HTTP.
struct HttpVersion {
  int major;  ///< 1 of 1.0
  int minor;  ///< 0 of 1.0
  friend bool operator==(const HttpVersion&, const HttpVersion&) = default;
};

/// A request. It, and all texts that it returns, live until its handler has returned. Belongs to
/// one loop and its thread. Python: aiohttp.web.Request.
class FIBER_API Request {
 public:
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();

  std::string_view method() const noexcept;        ///< "GET"
  HttpVersion version() const noexcept;            ///< {1, 1}
  std::string_view raw_path() const noexcept;      ///< as sent: "/my%20path?a=b"
  std::string_view path() const;                   ///< "/my path"
  std::string_view path_qs() const noexcept;       ///< with the query, quoted
  std::string_view query_string() const noexcept;  ///< "a=b"
  const MultiDict& query() const;                  ///< decoded
  /// Repeated fields by getall().
  const CIMultiDictProxy& headers() const noexcept { return headers_; }
  const MultiDict& cookies() const;  ///< names and values
  /// The variables of the route.
  UrlMappingMatchInfo& match_info() const noexcept { return *match_info_; }
  /// Returns the application whose code asks: in a middleware its own, in a handler the innermost.
  Application app() const;

  std::string_view scheme() const noexcept;                     ///< "http" or "https"
  bool secure() const noexcept { return scheme() == "https"; }  ///< true with TLS
  /// The field Host; of a target with a host of its own, that host without its port, as in Python.
  std::string_view host() const;
  /// Returns the address of the peer, "" for a Unix socket.
  const std::string& remote() const;
  std::string url() const;  ///< scheme, host and path_qs

  std::string content_type() const;  ///< "application/octet-stream" if none was sent
  std::string charset() const;       ///< the charset of Content-Type, "" if none was sent
  std::optional<std::uint64_t> content_length() const noexcept;  ///< nothing if unknown
  bool keep_alive() const noexcept;                              ///< whether the client asks for it
  /// Returns seconds since 1970; nothing if the field was not sent, or is malformed.
  std::optional<std::int64_t> if_modified_since() const;
  std::optional<std::int64_t> if_unmodified_since() const;  ///< as above
  std::optional<std::int64_t> if_range() const;             ///< as above; nothing for an ETag
  /// Returns the range of the field Range. Throws ValueError if it is not one range.
  HttpRange http_range() const;

  // --- the body ---
  bool body_exists() const noexcept;  ///< also if it has been read
  /// Whether there are bytes left to read.
  bool can_read_body() const noexcept;
  /// The body as it arrives.
  StreamReader content() const;
  /// Returns the whole body; further calls return the same bytes. To be awaited. Throws
  /// HTTPRequestEntityTooLarge beyond client_max_size, RequestPayloadError if the body is malformed
  /// or ends early.
  auto read() {
    return asyncio::detail::Deferred([this]() -> const std::string& { return read_all(); });
  }
  /// Like read(), converted from charset() to UTF-8; to be awaited. Knows UTF-8, US-ASCII and
  /// ISO-8859-1. Throws HTTPUnsupportedMediaType for other charsets, RequestPayloadError for
  /// malformed text.
  auto text() {
    return asyncio::detail::Deferred([this] { return decoded(); });
  }
  /// Like text(), parsed; to be awaited. `Json` is nlohmann::json or another type with a static
  /// parse(), whose exceptions are thrown. The caller must include <nlohmann/json.hpp>.
  template <class Json FIBER_WEB_JSON>
  auto json() {
    return asyncio::detail::Deferred([this] { return Json::parse(decoded()); });
  }
  /// Returns the fields of a form, urlencoded or multipart; empty for other content types. To be
  /// awaited. Throws like read().
  auto post() {
    return asyncio::detail::Deferred([this]() -> const Form& { return read_form(); });
  }
  /// Returns a reader of a multipart body; to be awaited. Throws ValueError for any other body.
  auto multipart() {
    return asyncio::detail::Deferred([this] { return open_multipart(); });
  }

  // --- state of handlers and middlewares ---
  // request["user"] = std::string("x"); std::any_cast<std::string&>(request["user"]).
  std::any& operator[](std::string_view key);
  bool contains(std::string_view key) const noexcept;  ///< whether operator[] has made a value

  /// Whether the peer is still connected, as far as is known.
  bool connected() const noexcept;
  /// For the layers above.
  detail::Connection& connection() const noexcept { return *connection_; }

 private:
  friend struct detail::ApplicationObject;
  friend class detail::Connection;
  friend class detail::ResponseObject;
  friend class detail::BodyResponseObject;

  Request(detail::Connection& connection, const http::Head& head,
          UrlMappingMatchInfo& match_info) noexcept;
  std::size_t size_of_origin() const noexcept;
  const std::string& read_all();
  std::string decoded();
  const Form& read_form();
  MultipartReader open_multipart();
  void read_multipart_form();
  std::optional<std::int64_t> date_of(std::string_view name) const;
  detail::RequestExtras& extras() const;

  detail::Connection* connection_;
  const http::Head* head_;
  CIMultiDictProxy headers_;
  UrlMappingMatchInfo* match_info_;
  detail::ApplicationObject* app_ = nullptr;
  detail::ResponseObject* started_ = nullptr;  ///< the response that was prepared
  mutable std::unique_ptr<detail::RequestExtras> extras_;
};

#undef FIBER_WEB_JSON

}  // namespace fiber::aiohttp::web
