#include <fiber/aiohttp/web_request.hpp>

#include <fiber/aiohttp/web_app_object.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/parser.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>

namespace fiber::aiohttp::web {
namespace detail {

// The members that most requests do not need.
struct RequestExtras {
  std::optional<std::string> path;
  std::optional<MultiDict> query;
  std::optional<MultiDict> cookies;
  std::optional<std::string> body;
  std::optional<Form> form;
  std::optional<std::string> address;  ///< to which the request was sent
  std::map<std::string, std::any, std::less<>> state;
};

}  // namespace detail

namespace {

// Fields need much more memory than their text.
http::Params fields_of(std::string_view text, bool latin1) {
  constexpr std::size_t kMost = 10'000;
  try {
    return http::parse_form(text, latin1, kMost);
  } catch (const ValueError&) {
    throw HTTPBadRequest({.text = "400: more than 10000 fields"});
  }
}

}  // namespace

// --- match_info ---------------------------------------------------------------------------------

const std::string& UrlMappingMatchInfo::operator[](std::string_view name) const {
  for (const value_type& value : values_)
    if (value.first == name) return value.second;
  throw LookupError("'" + std::string(name) + "'");
}
std::string UrlMappingMatchInfo::get(std::string_view name, std::string_view fallback) const {
  for (const value_type& value : values_)
    if (value.first == name) return value.second;
  return std::string(fallback);
}
bool UrlMappingMatchInfo::contains(std::string_view name) const noexcept {
  return std::any_of(values_.begin(), values_.end(),
                     [&](const value_type& value) { return value.first == name; });
}

const std::string& PostField::text() const {
  if (is_file()) throw TypeError("this field of the form is a file: read it by PostField::file()");
  return std::get<std::string>(value_);
}
const FileField& PostField::file() const {
  if (!is_file()) throw TypeError("this field of the form is a text: read it by PostField::text()");
  return std::get<FileField>(value_);
}

// --- the head -----------------------------------------------------------------------------------

Request::Request(detail::Connection& connection, const http::Head& head,
                 UrlMappingMatchInfo& match_info) noexcept
    : connection_(&connection), head_(&head), headers_(head.fields), match_info_(&match_info) {}
Request::~Request() = default;

detail::RequestExtras& Request::extras() const {
  if (!extras_) extras_ = std::make_unique<detail::RequestExtras>();
  return *extras_;
}

std::string_view Request::method() const noexcept { return head_->method; }
HttpVersion Request::version() const noexcept { return {1, head_->version - 10}; }

// Returns the size of "http://h:1" in a target that begins so, 0 for all others.
std::size_t Request::size_of_origin() const noexcept {
  const std::string_view target = head_->target;
  if (target.starts_with('/')) return 0;
  const std::size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || scheme > target.find_first_of("/?")) return 0;
  return std::min(target.find_first_of("/?", scheme + 3), target.size());
}

// Returns the target as it was sent, without scheme and host.
std::string_view Request::raw_path() const noexcept {
  const std::string_view path = head_->target.substr(size_of_origin());
  return path.empty() ? "/" : path;
}
std::string_view Request::path_qs() const noexcept { return raw_path(); }

std::string_view Request::path() const {
  const std::string_view raw = raw_path();
  const std::string_view path = raw.substr(0, raw.find_first_of("?#"));
  const auto odd = [](char c) { return c == '%' || static_cast<unsigned char>(c) >= 0x80; };
  if (std::none_of(path.begin(), path.end(), odd)) return path;
  std::optional<std::string>& decoded = extras().path;
  if (!decoded) decoded = http::unquote(path);
  return *decoded;
}

std::string_view Request::query_string() const noexcept {
  const std::string_view raw = raw_path();
  const std::size_t mark = raw.find('?');
  if (mark == std::string_view::npos) return {};
  const std::string_view query = raw.substr(mark + 1);
  return query.substr(0, query.find('#'));
}

const MultiDict& Request::query() const {
  std::optional<MultiDict>& query = extras().query;
  if (!query) query.emplace(fields_of(query_string(), false));
  return *query;
}

const MultiDict& Request::cookies() const {
  std::optional<MultiDict>& cookies = extras().cookies;
  if (!cookies) cookies.emplace(http::parse_cookies(headers_.get("Cookie")));
  return *cookies;
}

Application Request::app() const {
  if (app_ == nullptr) throw RuntimeError("this request is served without an Application");
  return Application(app_->shared_from_this());
}

std::string_view Request::scheme() const noexcept {
  return connection_->secure() ? "https" : "http";
}
// A target with a host of its own takes the place of the field Host (RFC 9112, 3.2.2).
std::string_view Request::host() const {
  std::string_view origin = head_->target.substr(0, size_of_origin());
  if (origin.empty() && headers_.contains("Host")) return headers_["Host"];
  if (origin.empty()) {  // a request of HTTP/1.0
    std::optional<std::string>& address = extras().address;
    if (!address) {
      address = connection_->writer().sockname().host();
      if (address->find(':') != std::string::npos) address = "[" + *address + "]";
    }
    return *address;
  }
  origin.remove_prefix(origin.find("://") + 3);
  origin.remove_prefix(origin.rfind('@') + 1);
  const std::size_t bracket = origin.starts_with('[') ? origin.find(']') : 0;
  return origin.substr(0, origin.find(':', std::min(bracket, origin.size())));
}
const std::string& Request::remote() const { return connection_->remote(); }
std::string Request::url() const {
  if (size_of_origin() != 0) return std::string(head_->target);
  return std::string(scheme()) + "://" + std::string(host()) + std::string(path_qs());
}

std::string Request::content_type() const {
  const std::string type = http::parse_media_type(headers_.get("Content-Type")).type;
  return type.empty() ? "application/octet-stream" : type;
}
std::string Request::charset() const {
  return http::lower(http::parse_media_type(headers_.get("Content-Type")).parameter("charset"));
}
std::optional<std::uint64_t> Request::content_length() const noexcept {
  return head_->content_length;
}
bool Request::keep_alive() const noexcept { return head_->keep_alive; }

std::optional<std::int64_t> Request::date_of(std::string_view name) const {
  return http::parse_date(headers_.get(name));
}
std::optional<std::int64_t> Request::if_modified_since() const {
  return date_of("If-Modified-Since");
}
std::optional<std::int64_t> Request::if_unmodified_since() const {
  return date_of("If-Unmodified-Since");
}
std::optional<std::int64_t> Request::if_range() const { return date_of("If-Range"); }

HttpRange Request::http_range() const {
  if (!headers_.contains("Range")) return {};
  const std::string_view text = headers_["Range"];
  const auto fail = [] { throw ValueError("range not in acceptable format"); };
  if (!text.starts_with("bytes=")) fail();
  const std::string_view range = text.substr(6);
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) fail();
  const auto number = [&](std::string_view digits) -> std::optional<std::int64_t> {
    if (digits.empty()) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::invalid_argument || end != digits.data() + digits.size() ||
        digits.front() == '-')
      fail();
    // The largest number: no file is that long, and the code below adds one to a number.
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() - 1;
    return error == std::errc() ? std::min(value, kMost) : kMost;
  };
  HttpRange result{number(range.substr(0, dash)), number(range.substr(dash + 1))};
  if (!result.start && !result.stop) throw ValueError("No start or end of range specified");
  if (!result.start) {  // the last `stop` bytes
    result.start = -*result.stop;
    result.stop.reset();
  } else if (result.stop) {
    ++*result.stop;
    if (*result.start >= *result.stop) throw ValueError("start cannot be after end");
  }
  return result;
}

std::any& Request::operator[](std::string_view key) {
  auto& state = extras().state;
  const auto found = state.find(key);
  return found != state.end() ? found->second : state[std::string(key)];
}
bool Request::contains(std::string_view key) const noexcept {
  return extras_ != nullptr && extras_->state.find(key) != extras_->state.end();
}
bool Request::connected() const noexcept {
  return !connection_->lost() && !connection_->reader().at_eof();
}

// --- the body -----------------------------------------------------------------------------------

bool Request::body_exists() const noexcept {
  return head_->chunked || head_->content_length.value_or(0) != 0;
}
bool Request::can_read_body() const noexcept {
  return body_exists() && !connection_->body_at_eof();
}
StreamReader Request::content() const { return StreamReader(connection_->body()); }

const std::string& Request::read_all() {
  std::optional<std::string>& body = extras().body;
  if (body) return *body;
  const std::size_t most = connection_->client_max_size;
  const std::uint64_t promised = head_->encoded ? 0 : head_->content_length.value_or(0);
  if (most != 0 && promised > most) throw HTTPRequestEntityTooLarge(most, promised);
  std::string all;
  if (body_exists()) {
    // A task may wait here until the request is gone: then readany() throws.
    const std::shared_ptr<detail::ByteReader> reader = connection_->body();
    for (std::string piece = reader->readany(); !piece.empty(); piece = reader->readany()) {
      if (all.empty()) {
        all = std::move(piece);
        // The length is only announced: memory for it is reserved up to the usual limit.
        constexpr std::uint64_t kBelieved = 1024 * 1024;
        if (promised > all.size())
          all.reserve(static_cast<std::size_t>(std::min(promised, kBelieved)));
      } else {
        all += piece;
      }
      if (most != 0 && all.size() > most) throw HTTPRequestEntityTooLarge(most, all.size());
    }
  }
  return body.emplace(std::move(all));
}

std::string Request::decoded() {
  const std::string& body = read_all();
  const std::string charset = this->charset();
  if (charset.empty() || charset == "utf-8" || charset == "utf8" || charset == "us-ascii" ||
      charset == "ascii") {
    if (!http::is_valid_utf8(body)) throw RequestPayloadError("the body is not UTF-8");
    return body;
  }
  if (http::is_latin1(charset)) return http::from_latin1(body);
  throw HTTPUnsupportedMediaType(
      {.text = "415: the charset '" + http::html_escape(charset) + "' is not known"});
}

MultipartReader Request::open_multipart() {
  return MultipartReader(headers_.get("Content-Type"), connection_->body());
}

const Form& Request::read_form() {
  std::optional<Form>& form = extras().form;
  if (form) return *form;
  const std::string type = content_type();
  if (type == "multipart/form-data") {
    read_multipart_form();
  } else if (type == "application/x-www-form-urlencoded") {
    Form fields;
    // The end of a line behind a form is no part of its last value.
    std::string text = decoded();
    text.erase(text.find_last_not_of(" \t\n\r\v\f") + 1);
    // What the escapes stand for is in the charset, too.
    for (auto& [name, value] : fields_of(text, http::is_latin1(charset())))
      fields.add(std::move(name), PostField(std::move(value)));
    form = std::move(fields);
  } else {
    form.emplace();
  }
  return *form;
}

namespace {

// Returns the value of a field: UTF-8, or the bytes of a part that is no text.
std::string text_of(const BodyPartReader& part, std::string data) {
  const http::MediaType type = http::parse_media_type(part.headers.get("Content-Type"));
  if (!type.type.empty() && !type.type.starts_with("text/")) return data;
  return http::is_latin1(http::lower(type.parameter("charset"))) ? http::from_latin1(data)
                                                                 : http::valid_utf8(data);
}

// Tells the empty name from none.
bool is_named(const BodyPartReader& part) {
  const http::MediaType disposition =
      http::parse_media_type(part.headers.get("Content-Disposition"));
  return std::any_of(disposition.parameters.begin(), disposition.parameters.end(),
                     [](const auto& one) { return http::equal_ignoring_case(one.first, "name"); });
}

}  // namespace

void Request::read_multipart_form() {
  const std::size_t most = connection_->client_max_size;
  constexpr std::size_t kMostParts = 1000;
  Form fields;
  std::size_t total = 0;
  const auto open = [&] {
    try {
      return open_multipart();
    } catch (const ValueError& error) {  // a boundary that is missing, or too long
      throw RequestPayloadError(error.what());
    }
  };
  MultipartReader reader = open();
  while (auto part = asyncio::await(reader.next())) {
    if (fields.size() == kMostParts)
      throw HTTPBadRequest({.text = "400: a form has more than 1000 parts"});
    if (part->name.empty() && !is_named(*part))
      throw RequestPayloadError("a part of a form has no name");
    const auto count = [&](std::size_t size) {
      total += size;
      if (most != 0 && total > most) throw HTTPRequestEntityTooLarge(most, total);
    };
    // Headers are kept as well, and a part may have a MiB of them.
    for (const auto& [name, value] : part->headers) count(name.size() + value.size());
    std::string data;
    for (;;) {
      const std::string piece = asyncio::await(part->read_chunk(64 * 1024));
      if (piece.empty()) break;
      count(piece.size());
      data += piece;
    }
    if (part->filename.empty()) {
      fields.add(part->name, PostField(text_of(*part, std::move(data))));
    } else {
      const std::string type = part->headers.contains("Content-Type") ? part->content_type()
                                                                      : "application/octet-stream";
      fields.add(part->name, PostField(FileField{.name = part->name,
                                                 .filename = part->filename,
                                                 .file = std::move(data),
                                                 .content_type = type,
                                                 .headers = std::move(part->headers)}));
    }
  }
  extras().form = std::move(fields);
}

}  // namespace fiber::aiohttp::web
