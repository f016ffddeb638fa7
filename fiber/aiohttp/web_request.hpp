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

using CIMultiDictProxy = http::HeadersView;
using http::MultiDict;

/// What the variables of a route stand for. aiohttp.web.UrlMappingMatchInfo.
class FIBER_API UrlMappingMatchInfo {
 public:
  using value_type = std::pair<std::string_view, std::string>;

  /// Throws LookupError, Python's KeyError, if the route has no such variable.
  const std::string& operator[](std::string_view name) const;
  std::string get(std::string_view name, std::string_view fallback = {}) const;
  bool contains(std::string_view name) const noexcept;
  /// Name and value of each variable, in the order of the path.
  auto begin() const noexcept { return values_.begin(); }
  auto end() const noexcept { return values_.end(); }
  std::size_t size() const noexcept { return values_.size(); }
  /// The route that was found; null if none was (in middlewares: a 404 or 405 follows).
  const AbstractRoute* route() const noexcept { return route_; }

 private:
  friend class Application;
  friend class UrlDispatcher;
  friend class detail::Connection;
  friend struct detail::ApplicationObject;

  std::vector<value_type> values_;
  const AbstractRoute* route_ = nullptr;
  int http_exception_ = 404;  ///< while there is no route
  std::vector<std::string> allowed_;
  std::vector<detail::ApplicationObject*> apps_;  ///< those inside the outermost
};

/// A file among the fields of a form. aiohttp.web.FileField; the content is in memory, where
/// client_max_size bounds it.
struct FileField {
  std::string name = {};
  std::string filename = {};
  std::string file = {};  ///< the content
  std::string content_type = {};
  http::Headers headers = {};
};
/// What post() gives for one name: a text or a file.
class FIBER_API PostField {
 public:
  PostField() = default;
  explicit PostField(std::string text) : value_(std::move(text)) {}
  explicit PostField(FileField file) : value_(std::move(file)) {}
  bool is_file() const noexcept { return std::holds_alternative<FileField>(value_); }
  /// Throw TypeError if it is the other.
  const std::string& text() const;
  const FileField& file() const;

 private:
  std::variant<std::string, FileField> value_;
};
using Form = http::MultiDictOf<PostField>;

/// Where a range of a file begins and ends (not included); a negative start counts from the end.
struct HttpRange {
  std::optional<std::int64_t> start = {};
  std::optional<std::int64_t> stop = {};
};

struct HttpVersion {
  int major;
  int minor;
  friend bool operator==(const HttpVersion&, const HttpVersion&) = default;
};

/// aiohttp.web.Request. Lives until its handler has returned, as all texts that it gives; belongs
/// to one loop and its thread.
class FIBER_API Request {
 public:
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();

  std::string_view method() const noexcept;        ///< "GET"
  HttpVersion version() const noexcept;            ///< {1, 1}
  std::string_view raw_path() const noexcept;      ///< as it was sent: "/my%20path?a=b"
  std::string_view path() const;                   ///< "/my path"
  std::string_view path_qs() const noexcept;       ///< with the query, quoted
  std::string_view query_string() const noexcept;  ///< "a=b"
  const MultiDict& query() const;
  const CIMultiDictProxy& headers() const noexcept { return headers_; }
  const MultiDict& cookies() const;
  UrlMappingMatchInfo& match_info() const noexcept { return *match_info_; }
  /// The innermost application that handles it.
  Application app() const;

  std::string_view scheme() const noexcept;  ///< "http" or "https"
  bool secure() const noexcept { return scheme() == "https"; }
  std::string_view host() const;  ///< of the field Host
  /// The address of the other side, "" for a Unix socket.
  const std::string& remote() const;
  std::string url() const;  ///< scheme, host and path_qs

  std::string content_type() const;  ///< "application/octet-stream" if none was sent
  std::string charset() const;       ///< of Content-Type, "" if none was sent
  std::optional<std::uint64_t> content_length() const noexcept;
  bool keep_alive() const noexcept;
  /// Seconds since 1970; nothing if it was not sent, or makes no sense.
  std::optional<std::int64_t> if_modified_since() const;
  std::optional<std::int64_t> if_unmodified_since() const;
  std::optional<std::int64_t> if_range() const;
  /// Of the field Range, of one range. Throws ValueError if it is none.
  HttpRange http_range() const;

  // --- the body ---
  bool body_exists() const noexcept;
  /// Whether there is something left to read.
  bool can_read_body() const noexcept;
  /// The body as it arrives.
  StreamReader content() const noexcept;
  /// All of it, the same again when called again. Throws HTTPRequestEntityTooLarge beyond
  /// client_max_size, RequestPayloadError if it is malformed or ends early; await it.
  auto read() {
    return asyncio::detail::Deferred([this]() -> const std::string& { return read_all(); });
  }
  /// The same as UTF-8, decoded from charset(): UTF-8, US-ASCII or ISO-8859-1. Throws
  /// HTTPUnsupportedMediaType for others, RequestPayloadError for what is malformed; await it.
  auto text() {
    return asyncio::detail::Deferred([this] { return decoded(); });
  }
  /// The same, parsed: `Json` is nlohmann::json or a type like it, which has a static parse().
  /// Throws what that throws. Needs <nlohmann/json.hpp> where it is called; await it.
  template <class Json FIBER_WEB_JSON>
  auto json() {
    return asyncio::detail::Deferred([this] { return Json::parse(decoded()); });
  }
  /// The fields of a form, of either kind. Empty for other content types. Throws as read(); await
  /// it.
  auto post() {
    return asyncio::detail::Deferred([this]() -> const Form& { return read_form(); });
  }
  /// The parts of a multipart body as they arrive. Throws ValueError if it is none; await it.
  auto multipart() {
    return asyncio::detail::Deferred([this] { return open_multipart(); });
  }

  // --- what handlers and middlewares keep with it ---
  // request["user"] = std::string("x"); std::any_cast<std::string&>(request["user"]).
  std::any& operator[](std::string_view key);
  bool contains(std::string_view key) const noexcept;

  /// Whether the other side is still there, as far as is known.
  bool connected() const noexcept;
  detail::Connection& connection() const noexcept { return *connection_; }

 private:
  friend struct detail::ApplicationObject;
  friend class detail::Connection;
  friend class detail::ResponseObject;
  friend class detail::BodyResponseObject;

  Request(detail::Connection& connection, const http::Head& head,
          UrlMappingMatchInfo& match_info) noexcept;
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
