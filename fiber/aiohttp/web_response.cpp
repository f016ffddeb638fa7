#include <fiber/aiohttp/web_response.hpp>

#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>

namespace fiber::aiohttp::web {
namespace detail {

void ResponseReference::retain(ResponseObject* object) noexcept { object->retain(); }
void ResponseReference::release(ResponseObject* object) noexcept { object->release(); }

void prepare(ResponseObject& response, Request& request) { response.prepare(request); }
void write(ResponseObject& response, std::string_view data) { response.write(data); }
void write_eof(ResponseObject& response, std::string_view data) { response.write_eof(data); }
void drain(ResponseObject& response) { response.drain(); }

namespace {

void check_status(int status) {
  if (status < 100 || status > 999)
    throw ValueError("a status has three digits, not " + std::to_string(status));
  if (status < 200)
    throw ValueError("the status " + std::to_string(status) +
                     " announces another response: a handler's is from 200 on");
}

template <class Object, class Options>
ResponseRef make(Options& options) {
  check_status(options.status);
  auto* object = new Object;
  ResponseRef ref(object);
  object->status = options.status;
  object->reason = std::move(options.reason);
  object->headers = std::move(options.headers);
  return ref;
}

BodyResponseObject& with_body(ResponseObject& object) noexcept {
  return static_cast<BodyResponseObject&>(object);
}

// A type without a charset would be read in the receiver's own.
void say_charset(CIMultiDict& headers) {
  const std::string& type = headers["Content-Type"];
  if (http::parse_media_type(type).parameter("charset").empty())
    headers.set("Content-Type", type + "; charset=utf-8");
}

// Returns the bytes of characters up to U+00FF.
std::string to_latin1(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    constexpr unsigned char kLastOfTwo = 0xC3;
    if (first > kLastOfTwo)
      throw ValueError("a text with characters beyond U+00FF cannot be encoded in ISO-8859-1");
    if (first < 0x80)
      bytes += text[i];
    else
      bytes += static_cast<char>(first << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F));
  }
  return bytes;
}

// Returns the text in the charset that the head names to the receiver.
std::string encoded(std::string text, std::string_view charset) {
  const std::string name = http::lower(charset);
  if (name.empty() || name == "utf-8" || name == "utf8") return text;
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  // Most charsets have ASCII in them.
  if (ascii && !name.starts_with("utf")) return text;
  if (http::is_latin1(name) && http::is_valid_utf8(text)) return to_latin1(text);
  throw ValueError("the text cannot be encoded in '" + name + "': give its bytes as `body`");
}

std::string charset_of(const ResponseObject& response) {
  if (!response.headers.contains("Content-Type")) return response.charset;
  return std::string(http::parse_media_type(response.headers["Content-Type"]).parameter("charset"));
}

ResponseRef make_response(ResponseOptions& options) {
  if (options.body && options.text) throw ValueError("body and text are not allowed together");
  const bool typed = !options.content_type.empty() || !options.charset.empty();
  if (typed && options.headers.contains("Content-Type"))
    throw ValueError(
        "passing both Content-Type header and content_type or charset params is forbidden");
  if (options.content_type.find("charset=") != std::string::npos)
    throw ValueError("charset must not be in content_type argument");
  ResponseRef ref = make<BodyResponseObject>(options);
  BodyResponseObject& object = with_body(*ref.get());
  object.content_type = std::move(options.content_type);
  object.charset = std::move(options.charset);
  if (options.text) {
    object.body = encoded(std::move(*options.text), charset_of(object));
    object.has_body = true;
    if (object.headers.contains("Content-Type")) say_charset(object.headers);
    if (object.charset.empty()) object.charset = "utf-8";
    if (object.content_type.empty()) object.content_type = "text/plain";
  } else if (options.body) {
    object.body = std::move(*options.body);
    object.has_body = true;
  }
  return ref;
}

}  // namespace
}  // namespace detail

StreamResponse::StreamResponse(StreamResponseOptions options)
    : object_(detail::make<detail::ResponseObject>(options)) {}

int StreamResponse::status() const noexcept { return object().status; }
const std::string& StreamResponse::reason() const noexcept {
  detail::ResponseObject& response = object();
  if (response.reason.empty()) response.reason = http::reason_phrase(response.status);
  return response.reason;
}
void StreamResponse::set_status(int status, std::string reason) const {
  object().check_fresh("the status");
  detail::check_status(status);
  object().status = status;
  object().reason = std::move(reason);
}
CIMultiDict& StreamResponse::headers() const noexcept { return object().headers; }

// --- cookies ------------------------------------------------------------------------------------

void StreamResponse::set_cookie(std::string_view name, std::string_view value,
                                const CookieOptions& options) const {
  object().check_fresh("cookies");
  if (!http::is_token(name)) throw ValueError("Illegal cookie name '" + std::string(name) + "'");
  std::string text(name);
  text += '=';
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return c > 0x20 && c < 0x7F && std::string_view("\",;\\").find(c) == std::string_view::npos;
  });
  if (plain)
    text += value;
  else
    text += http::quoted_cookie(value, [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte >= 0x20 && byte < 0x7F && c != ',' && c != ';';
    });
  const auto attribute = [&](std::string_view key, std::string_view its_value) {
    if (its_value.empty()) return;
    if (!http::is_field_value(its_value) || its_value.find(';') != std::string_view::npos)
      throw ValueError("Illegal " + std::string(key) + " of the cookie '" + std::string(name) +
                       "'");
    ((text += "; ") += key) += '=';
    text += its_value;
  };
  attribute("Domain", options.domain);
  attribute("expires", options.expires);
  if (options.httponly) text += "; HttpOnly";
  if (options.max_age) attribute("Max-Age", std::to_string(options.max_age->count()));
  attribute("Path", options.path);
  attribute("SameSite", options.samesite);
  if (options.secure) text += "; Secure";
  auto& cookies = object().cookies;
  const auto same = std::find_if(cookies.begin(), cookies.end(),
                                 [&](const auto& cookie) { return cookie.first == name; });
  if (same != cookies.end())
    same->second = std::move(text);
  else
    cookies.emplace_back(name, std::move(text));
}

void StreamResponse::del_cookie(std::string_view name, std::string_view path,
                                std::string_view domain) const {
  set_cookie(name, "",
             {.path = std::string(path),
              .domain = std::string(domain),
              .expires = "Thu, 01 Jan 1970 00:00:00 GMT",
              .max_age = std::chrono::seconds(0)});
}

// --- the body's type and length -----------------------------------------------------------------

std::string StreamResponse::content_type() const {
  const detail::ResponseObject& response = object();
  if (response.headers.contains("Content-Type"))
    return http::parse_media_type(response.headers["Content-Type"]).type;
  return response.content_type.empty() ? "application/octet-stream" : response.content_type;
}
void StreamResponse::content_type(std::string_view type) const {
  object().check_fresh("the content type");
  object().headers.erase("Content-Type");
  object().content_type = type;
}
std::string StreamResponse::charset() const { return detail::charset_of(object()); }
void StreamResponse::charset(std::string_view charset) const {
  const std::string type = content_type();
  content_type(type);
  object().charset = http::lower(charset);
}
std::optional<std::uint64_t> StreamResponse::content_length() const noexcept {
  return object().length;
}
void StreamResponse::content_length(std::optional<std::uint64_t> length) const {
  object().check_fresh("the content length");
  if (length && object().chunked)
    throw RuntimeError("You can't set content length when chunked encoding is enable");
  object().length = length;
}
void StreamResponse::last_modified(std::int64_t seconds) const {
  object().headers.set("Last-Modified", http::format_date(seconds));
}
void StreamResponse::etag(std::string_view value, bool weak) const {
  if (value == "*" && !weak) return object().headers.set("ETag", "*");
  if (value.find('"') != std::string_view::npos || !http::is_field_value(value))
    throw ValueError("Value '" + std::string(value) + "' is not a valid etag");
  object().headers.set("ETag", (weak ? "W/\"" : "\"") + std::string(value) + "\"");
}

// --- how the response is sent -------------------------------------------------------------------

std::optional<bool> StreamResponse::keep_alive() const noexcept { return object().keep_alive; }
void StreamResponse::force_close() const { object().keep_alive = false; }
bool StreamResponse::chunked() const noexcept { return object().chunked; }
void StreamResponse::enable_chunked_encoding() const {
  object().check_fresh("the encoding");
  if (object().length)
    throw RuntimeError("You can't enable chunked encoding when a content length is set");
  object().chunked = true;
}
bool StreamResponse::compression() const noexcept { return object().compresses; }
void StreamResponse::enable_compression(std::optional<ContentCoding> force) const {
  object().check_fresh("the compression");
  object().compresses = true;
  object().coding = force;
}
bool StreamResponse::prepared() const noexcept { return object().prepared(); }
std::uint64_t StreamResponse::body_length() const noexcept { return object().sent(); }

// --- responses with a body ----------------------------------------------------------------------

Response::Response(ResponseOptions options) : StreamResponse(detail::make_response(options)) {}

const std::string& Response::body() const noexcept { return detail::with_body(object()).body; }
void Response::body(std::string bytes) const {
  object().check_fresh("the body");
  detail::with_body(object()).body = std::move(bytes);
  detail::with_body(object()).has_body = true;
}
void Response::text(std::string text) const {
  body(detail::encoded(std::move(text), charset()));
  if (object().headers.contains("Content-Type")) return;
  if (object().content_type.empty()) object().content_type = "text/plain";
  if (object().charset.empty()) object().charset = "utf-8";
}

Response json_response(std::string text, JSONResponseOptions options) {
  return Response({.status = options.status,
                   .reason = std::move(options.reason),
                   .text = std::move(text),
                   .headers = std::move(options.headers),
                   .content_type = std::move(options.content_type)});
}

}  // namespace fiber::aiohttp::web
