// The responses of handlers. Python: aiohttp.web_response.
//
//   return web::Response({.text = "hello"});
//   return web::json_response(nlohmann::json{{"ok", true}});
//
// Responses are cheap handles: all copies refer to one response. They belong to one loop and its
// thread; a response is sent once.
#pragma once

#include <fiber/aiohttp/web_request.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/http/headers.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::aiohttp::web {

using CIMultiDict = http::Headers;  ///< Python: multidict.CIMultiDict

/// Python: aiohttp.web.ContentCoding.
enum class ContentCoding : unsigned char { deflate, gzip, identity };

/// Keyword arguments of set_cookie(). An empty samesite and an empty max_age are not sent.
struct CookieOptions {
  std::string path = "/";                            ///< only URLs below it get the cookie
  std::string domain = {};                           ///< "" for the host of the request alone
  std::string expires = {};                          ///< a date; "" for the end of the session
  std::optional<std::chrono::seconds> max_age = {};  ///< the lifetime
  bool secure = false;                               ///< only for https://
  bool httponly = false;                             ///< not for scripts of browsers
  std::string samesite = {};                         ///< "Strict", "Lax" or "None"
};

namespace detail {
class ResponseObject;

/// Counts references without atomic operations: one thread at a time.
struct FIBER_API ResponseReference {
  static void retain(ResponseObject* object) noexcept;
  static void release(ResponseObject* object) noexcept;
};
using ResponseRef = core::Ref<ResponseObject, ResponseReference>;

FIBER_API void prepare(ResponseObject& response, Request& request);
FIBER_API void write(ResponseObject& response, std::string_view data);
FIBER_API void write_eof(ResponseObject& response, std::string_view data);
FIBER_API void drain(ResponseObject& response);
}  // namespace detail

/// Keyword arguments of StreamResponse. `reason`: "" for the default of the status.
struct StreamResponseOptions {
  int status = 200;          ///< three digits
  std::string reason = {};   ///< "Not Found"
  CIMultiDict headers = {};  ///< repeated fields by add()
};

/// A response whose body is written piece by piece. Python: aiohttp.web.StreamResponse.
///
///   web::StreamResponse response;
///   await(response.prepare(request));
///   for (...) await(response.write(piece));
///   await(response.write_eof());
///   return response;
class FIBER_API StreamResponse {
 public:
  explicit StreamResponse(StreamResponseOptions options = {});
  StreamResponse(const StreamResponse&) noexcept = default;  ///< moving is copying: never empty
  StreamResponse& operator=(const StreamResponse&) noexcept = default;

  int status() const noexcept;                 ///< 404, for example
  const std::string& reason() const noexcept;  ///< "Not Found"
  /// Throws RuntimeError once the head was sent, like all functions that change the head;
  /// ValueError for a status without three digits.
  void set_status(int status, std::string reason = {}) const;
  CIMultiDict& headers() const noexcept;  ///< changes have no effect once the head was sent

  /// Sets a cookie. Throws ValueError for a text that cannot stand in one.
  void set_cookie(std::string_view name, std::string_view value,
                  const CookieOptions& options = {}) const;
  /// Makes the client drop a cookie.
  void del_cookie(std::string_view name, std::string_view path = "/",
                  std::string_view domain = {}) const;

  std::string content_type() const;                ///< the field without its parameters
  void content_type(std::string_view type) const;  ///< replaces the field
  std::string charset() const;                     ///< "" for none
  void charset(std::string_view charset) const;    ///< sets the parameter of the content type
  /// The length of the body. Without a length and without chunks, the end of the connection ends
  /// the body.
  std::optional<std::uint64_t> content_length() const noexcept;
  void content_length(std::optional<std::uint64_t> length) const;
  /// Seconds since 1970.
  void last_modified(std::int64_t seconds) const;
  /// Sets the ETag, without quotes.
  void etag(std::string_view value, bool weak = false) const;

  /// Whether the connection stays open after the response; nothing: as the request asks.
  std::optional<bool> keep_alive() const noexcept;
  /// Closes the connection after the response.
  void force_close() const;
  bool chunked() const noexcept;  ///< whether the body is sent in chunks
  /// For a body of unknown length. Throws RuntimeError with a content length.
  void enable_chunked_encoding() const;
  bool compression() const noexcept;  ///< true after enable_compression()
  /// Compresses the body with a coding that the request accepts, or with `force`.
  void enable_compression(std::optional<ContentCoding> force = {}) const;

  /// Whether the head has been sent, at least in part.
  bool prepared() const noexcept;
  /// Sends the head. To be awaited, like the functions below. Throws ValueError for headers that
  /// cannot be sent.
  auto prepare(Request& request) const {
    return asyncio::detail::Deferred(
        [self = *this, &request] { detail::prepare(*self.object_.get(), request); });
  }
  /// Sends a piece of the body; waits while more than 64 KiB are unsent. A temporary string is
  /// kept, any other text must live until this is done. Throws RuntimeError before prepare() and
  /// after write_eof(), ConnectionResetError if the peer is gone.
  auto write(std::string_view data) const {
    return asyncio::detail::Deferred(
        [self = *this, data] { detail::write(*self.object_.get(), data); });
  }
  template <std::same_as<std::string> Text>
  auto write(Text&& data) const {
    return asyncio::detail::Deferred([self = *this, data = std::forward<Text>(data)] {
      detail::write(*self.object_.get(), data);
    });
  }
  /// Sends the last piece, which lives as for write(). Further calls do nothing.
  auto write_eof(std::string_view data = {}) const {
    return asyncio::detail::Deferred(
        [self = *this, data] { detail::write_eof(*self.object_.get(), data); });
  }
  template <std::same_as<std::string> Text>
  auto write_eof(Text&& data) const {
    return asyncio::detail::Deferred([self = *this, data = std::forward<Text>(data)] {
      detail::write_eof(*self.object_.get(), data);
    });
  }
  /// Waits while more than 64 KiB are unsent.
  auto drain() const {
    return asyncio::detail::Deferred([self = *this] { detail::drain(*self.object_.get()); });
  }
  /// The number of bytes of the body that were sent, after compression.
  std::uint64_t body_length() const noexcept;

  detail::ResponseObject& object() const noexcept { return *object_.get(); }
  friend bool operator==(const StreamResponse& a, const StreamResponse& b) noexcept {
    return a.object_.get() == b.object_.get();
  }

 protected:
  explicit StreamResponse(detail::ResponseRef object) noexcept : object_(std::move(object)) {}

 private:
  detail::ResponseRef object_;
};

/// Keyword arguments of Response. `body` is bytes; `text` is UTF-8, with the default content type
/// text/plain; charset=utf-8. With another charset, of `charset` or of the field Content-Type, a
/// text is sent in that: ISO-8859-1, or what ASCII can say. Only one of the two may be given.
struct ResponseOptions {
  std::optional<std::string> body = {};  ///< bytes
  int status = 200;                      ///< three digits
  std::string reason = {};               ///< "" for the default
  std::optional<std::string> text = {};  ///< UTF-8
  CIMultiDict headers = {};              ///< repeated fields by add()
  std::string content_type = {};         ///< "": see above
  std::string charset = {};              ///< "": see above
};

/// A response with its whole body. Python: aiohttp.web.Response.
class FIBER_API Response : public StreamResponse {
 public:
  /// Throws ValueError for two bodies, for a content type that is given twice, and for a text that
  /// cannot be encoded in its charset.
  explicit Response(ResponseOptions options = {});

  const std::string& body() const noexcept;                    ///< the bytes to send
  void body(std::string bytes) const;                          ///< replaces the body
  const std::string& text() const noexcept { return body(); }  ///< as encoded
  /// Sets the charset to utf-8 if there is none, and the content type to text/plain likewise.
  /// Throws ValueError for a text that cannot be encoded in the charset.
  void text(std::string text) const;
};

/// Keyword arguments of FileResponse.
struct FileResponseOptions {
  std::size_t chunk_size = 256 * 1024;  ///< bytes per step without sendfile
  int status = 200;                     ///< 200; a range makes it 206
  std::string reason = {};              ///< "" for the default
  CIMultiDict headers = {};             ///< added to those of the file
};

/// A file, sent by the kernel. Answers conditions (If-Match, If-None-Match, If-Modified-Since,
/// If-Unmodified-Since, If-Range) and a range; sends NAME.gz, if it exists, to clients that accept
/// gzip. A missing file becomes 404, one that cannot be read 403.
/// Python: aiohttp.web.FileResponse.
class FIBER_API FileResponse : public StreamResponse {
 public:
  explicit FileResponse(std::string path, FileResponseOptions options = {});
};

/// Keyword arguments of json_response.
struct JSONResponseOptions {
  int status = 200;                               ///< three digits
  std::string reason = {};                        ///< "" for the default
  CIMultiDict headers = {};                       ///< added to Content-Type
  std::string content_type = "application/json";  ///< with charset=utf-8
};

/// Returns a response with the JSON of a value that has dump(), such as nlohmann::json.
/// Python: aiohttp.web.json_response.
template <class Json>
  requires requires(const Json& value) { std::string(value.dump()); }
Response json_response(const Json& value, JSONResponseOptions options = {}) {
  return Response({.status = options.status,
                   .reason = std::move(options.reason),
                   .text = value.dump(),
                   .headers = std::move(options.headers),
                   .content_type = std::move(options.content_type)});
}
/// Returns a response with a JSON text. Python: json_response(text=...).
FIBER_API Response json_response(std::string text, JSONResponseOptions options = {});

/// Returns the content type for a file's name, "" if unknown.
FIBER_API std::string_view guess_type(std::string_view path) noexcept;

}  // namespace fiber::aiohttp::web
