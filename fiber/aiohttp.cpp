#include <fiber/aiohttp.hpp>

#include <fiber/aiohttp/exchange.hpp>
#include <fiber/http/charset.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace fiber::aiohttp {
namespace {

constexpr std::size_t everything = http::unlimited;

// Python: bytes.strip()
std::string_view strip(std::string_view bytes) { return http::strip(bytes, " \t\n\r\x0b\x0c"); }

// Whether Content-Type is expected: "application/json" stands for application/json and
// TYPE/SUBTYPE+json; any other `expected` must be contained in the type.
bool is_expected(std::string_view type, const std::string& expected) {
  if (expected != "application/json") return type.find(expected) != type.npos;
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (type == expected) return true;
  const auto slash = type.find('/');
  const auto is_name = [](std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_' || c == '.' || c == '-' ||
             c == '+' || c >= 128;
    });
  };
  constexpr std::string_view suffix = "+json";
  return slash != type.npos && type.ends_with(suffix) && is_name(type.substr(0, slash)) &&
         is_name(type.substr(slash + 1, type.size() - slash - 1 - suffix.size()));
}

// An unknown charset that the server names is taken for UTF-8. One that the caller names is an
// error, except where there is nothing to decode, as in Python.
void check_asked(const std::string& encoding, std::string_view bytes) {
  if (!encoding.empty() && !bytes.empty()) http::check_charset(encoding);
}

}  // namespace

detail::Exchange& StreamReader::exchange() const {
  // A response of a history has no exchange.
  if (!exchange_) throw ClientConnectionResetError("Connection closed");
  return *exchange_;
}

asyncio::Coroutine<std::string> StreamReader::read(std::ptrdiff_t n) {
  return asyncio::Coroutine<std::string>(
      [self = *this, n] {
        return n < 0 ? self.exchange().read_rest()
                     : self.exchange().read(static_cast<std::size_t>(n));
      },
      "StreamReader.read");
}

asyncio::Coroutine<std::string> StreamReader::readany() {
  return asyncio::Coroutine<std::string>(
      [self = *this] { return self.exchange().read(everything); }, "StreamReader.readany");
}

asyncio::Coroutine<std::string> StreamReader::readline(std::size_t max_line_length) {
  return readuntil("\n", max_line_length);
}

asyncio::Coroutine<std::string> StreamReader::readuntil(std::string separator,
                                                        std::size_t max_size) {
  return asyncio::Coroutine<std::string>(
      [self = *this, separator = std::move(separator), max_size] {
        if (separator.empty()) throw ValueError("Separator should be at least one-byte string");
        detail::Exchange& exchange = self.exchange();
        return exchange.read_until(separator, max_size ? max_size : 2 * exchange.read_bufsize());
      },
      "StreamReader.readuntil");
}

asyncio::Coroutine<std::string> StreamReader::readexactly(std::size_t n) {
  return asyncio::Coroutine<std::string>(
      [self = *this, n] { return self.exchange().read_exactly(n); }, "StreamReader.readexactly");
}

http::Chunks StreamReader::iter_lines() {
  return http::Chunks([self = *this] {
    detail::Exchange& exchange = self.exchange();
    return exchange.read_until("\n", 2 * exchange.read_bufsize());
  });
}

http::Chunks StreamReader::iter_chunked(std::size_t n) {
  return http::Chunks([self = *this, n] { return self.exchange().read(n); });
}

http::Chunks StreamReader::iter_any() { return iter_chunked(everything); }

bool StreamReader::at_eof() const { return !exchange_ || exchange_->at_eof(); }

ClientResponse::ClientResponse(std::shared_ptr<detail::Exchange> exchange)
    : ClientResponse(exchange->transfer().take_head(), exchange->transfer().request()) {
  for (const http::Hop& hop : exchange->transfer().history())
    history.push_back(ClientResponse(hop));
  content.exchange_ = exchange;
  exchange_ = std::move(exchange);
}

ClientResponse::ClientResponse(http::ResponseHead&& head, const http::Outgoing& request)
    : status(head.status),
      reason(std::move(head.reason)),
      method(request.method),
      url(std::move(head.url)),
      headers(std::move(head.headers)),
      request_info{url, method, request.headers} {}

ClientResponse::ClientResponse(http::Hop hop)
    : status(hop.head.status),
      reason(std::move(hop.head.reason)),
      method(hop.method),
      url(hop.head.url),
      headers(std::move(hop.head.headers)),
      request_info{std::move(hop.head.url), std::move(hop.method), std::move(hop.request_headers)} {
}

detail::Exchange& ClientResponse::exchange() const { return content.exchange(); }

std::string ClientResponse::content_type() const {
  const std::string field = headers.get("Content-Type");
  const std::string type = http::lower(http::strip(field.substr(0, field.find(';'))));
  return type.empty() ? "application/octet-stream" : type;
}

std::string ClientResponse::charset() const { return http::charset_of(headers); }

asyncio::Coroutine<std::string> ClientResponse::read() {
  return asyncio::Coroutine<std::string>([reader = content] { return reader.exchange().body(); },
                                         "ClientResponse.read");
}

asyncio::Coroutine<std::string> ClientResponse::text(std::string encoding) {
  return asyncio::Coroutine<std::string>(
      [reader = content, named = charset(), encoding = std::move(encoding)] {
        const std::string& body = reader.exchange().body();
        check_asked(encoding, body);
        return http::decode(body, encoding.empty() ? named : encoding);
      },
      "ClientResponse.text");
}

std::string ClientResponse::json_text(const JsonOptions& options) {
  const std::string& body = exchange().body();
  if (!options.content_type.empty()) {
    const std::string type = http::lower(headers.get("Content-Type"));
    if (!is_expected(type, options.content_type))
      throw ContentTypeError(status, "Attempt to decode JSON with unexpected mimetype: " + type,
                             url, headers);
  }
  const std::string_view bytes = strip(body);
  check_asked(options.encoding, bytes);
  const std::string encoding = options.encoding.empty() ? charset() : options.encoding;
  if (http::is_utf8(encoding))
    if (const std::string error = http::utf8_error(bytes); !error.empty()) throw ValueError(error);
  return http::decode(bytes, encoding);
}

void ClientResponse::refuse_json(std::string_view text) {
  throw JSONDecodeError(http::json_fault(text));
}

void ClientResponse::raise_for_status() const {
  if (!ok()) throw ClientResponseError(status, reason, url, headers);
}

void ClientResponse::release() noexcept {
  if (exchange_) exchange_->close();
}

// Prepares a response for a history: drops the body, and the connection if bytes are unread.
void ClientResponse::give_up_body() noexcept {
  release();
  exchange_.reset();
  content.exchange_.reset();
}

bool ClientResponse::closed() const noexcept { return !exchange_ || exchange_->closed(); }

ClientResponse RequestContext::enter() { return response_.emplace(await_()); }

bool RequestContext::exit(std::exception_ptr) noexcept {
  response_->release();
  return false;
}

ClientSession::ClientSession(SessionOptions options) {
  CIMultiDict headers{{"User-Agent", "fiber-aiohttp"}, {"Accept", "*/*"}};
  headers.update(options.headers);
  options.headers = std::move(headers);
  core_ = std::make_shared<detail::SessionCore>(std::move(options));
}
ClientSession::ClientSession(ClientSession&&) noexcept = default;
ClientSession& ClientSession::operator=(ClientSession&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}
ClientSession::~ClientSession() {
  if (core_) core_->close();
}

const std::shared_ptr<detail::SessionCore>& ClientSession::core() const {
  if (!core_) throw ValueError("this ClientSession was moved from");
  return core_;
}

RequestContext ClientSession::request(std::string_view method, std::string_view url) const {
  constexpr const char* name = "ClientSession._request";
  const std::shared_ptr<detail::SessionCore>& its_core = core();
  if (auto prepared = its_core->find_prepared(method, url))
    return RequestContext(asyncio::Coroutine<ClientResponse>(
        [core = its_core, prepared = std::move(prepared)]() mutable {
          return core->request(std::move(prepared));
        },
        name));
  return RequestContext(asyncio::Coroutine<ClientResponse>(
      [core = its_core, method = std::string(method), url = std::string(url)] {
        return core->request(method, url, {});
      },
      name));
}

RequestContext ClientSession::request(std::string_view method, std::string_view url,
                                      RequestOptions options) const {
  // The options are large, and move several times with the coroutine.
  auto kept = std::make_unique<RequestOptions>(std::move(options));
  return RequestContext(asyncio::Coroutine<ClientResponse>(
      [core = core(), method = std::string(method), url = std::string(url),
       options = std::move(kept)]() mutable {
        return core->request(std::move(method), url, std::move(*options));
      },
      "ClientSession._request"));
}

asyncio::Coroutine<void> ClientSession::close() {
  return asyncio::Coroutine<void>([core = core()] { core->close(); }, "ClientSession.close");
}

bool ClientSession::exit(std::exception_ptr) noexcept {
  if (core_) core_->close();
  return false;
}

bool ClientSession::closed() const noexcept { return !core_ || core_->closed(); }

Params ClientSession::cookies() const { return core()->cookies(); }

CookieJar ClientSession::cookie_jar() const { return core()->cookie_jar(); }

}  // namespace fiber::aiohttp
