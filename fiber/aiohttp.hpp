// HTTP for tasks of asyncio, with the interface of the client of Python's aiohttp.
//
//   asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
//     asyncio::with(session.get("https://example.com/a.png"), [&](auto& response) {
//       response.raise_for_status();
//       for (const std::string& piece : response.content.iter_chunked(65536)) file << piece;
//     });
//   });
//
// The transfers of a session run on the event loop of the task that uses the session, and suspend
// only the tasks that wait for them. Cancelling a task that waits for a response ends the transfer.
// A slow reader slows the sender down: at most read_bufsize bytes, and one read of at most 256 KiB,
// are kept.
//
// Threads: a session and its responses belong to one loop and to its thread.
//
// Redirects are followed to http and https only; to another origin, Authorization,
// Proxy-Authorization, Host, Cookie, `auth` and `cookies` are dropped. Bodies are decompressed
// (gzip, deflate; br and zstd where the library was built with them). Proxies of the environment
// are used only with trust_env, and never for addresses of this machine.
#pragma once

#include <fiber/aiohttp/client_middlewares.hpp>
#include <fiber/aiohttp/connectors.hpp>
#include <fiber/aiohttp/cookiejar.hpp>
#include <fiber/aiohttp/exceptions.hpp>
#include <fiber/aiohttp/formdata.hpp>
#include <fiber/aiohttp/tracing.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/with.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/http/chunks.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/json.hpp>
#include <fiber/http/verbs.hpp>

#include <any>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::http {
struct Hop;
struct Outgoing;
struct ResponseHead;
}  // namespace fiber::http

namespace fiber::aiohttp {

using CIMultiDict = http::Headers;
using Params = http::Params;
using Body = http::Body;
using Json = http::Json;
/// json.JSONDecodeError of Python, a ValueError.
using JSONDecodeError = http::JSONDecodeError;
using Verify = http::Verify;
using BasicAuth = http::BasicAuth;

/// Each limit is a duration; nothing, zero, a negative number and NaN are no limit.
struct ClientTimeout {
  /// The whole exchange, from the request to the last byte of the body: fiber::TimeoutError.
  std::optional<http::Seconds> total = std::chrono::minutes(5);
  /// The wait for a connection, a free slot included: ServerTimeoutError.
  std::optional<http::Seconds> connect = {};
  /// The time in which the server sends nothing, without waits for the request's own source:
  /// ServerTimeoutError.
  std::optional<http::Seconds> sock_read = {};
  /// Name lookup and handshakes of a new connection: ServerTimeoutError.
  std::optional<http::Seconds> sock_connect = std::chrono::seconds(30);
};

class ClientResponse;
class EventSource;
struct WsConnectOptions;

/// raise_for_status=: whether to raise, or a function that is called with each response. The
/// function may throw any exception, and may await.
class RaiseForStatus {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  RaiseForStatus(bool raises = false) : raises_(raises) {}
  template <class Function>
    requires(std::is_invocable_v<Function&, ClientResponse&> && !std::is_same_v<Function, bool>)
  RaiseForStatus(Function function) : function_(std::move(function)) {}
  // NOLINTEND(google-explicit-constructor)

  bool raises() const noexcept { return raises_; }  ///< true for every status of 400 or above
  /// Called with each response in place of the check; null for true and false.
  const std::function<void(ClientResponse&)>& function() const noexcept { return function_; }

 private:
  bool raises_ = false;
  std::function<void(ClientResponse&)> function_;
};

/// The keyword arguments of ClientSession, in the order of Python's signature.
struct SessionOptions {
  /// The base of relative URLs: "https://example.com/api/", with a slash at its end. The
  /// constructor throws ValueError for a base without one.
  std::string base_url = {};
  TCPConnector connector = {};  ///< or a UnixConnector
  Params cookies = {};          ///< put into the jar, for every host
  CIMultiDict headers = {};     ///< sent with every request
  /// For requests without credentials of their own; with a base_url, to its origin only.
  std::optional<BasicAuth> auth = {};
  std::optional<CookieJar> cookie_jar = {};     ///< to share or to save; a new one by default
  RaiseForStatus raise_for_status = false;      ///< applies to every request
  ClientTimeout timeout = {};                   ///< for requests without `timeout`
  std::vector<TraceConfig> trace_configs = {};  ///< observers: see aiohttp/tracing.hpp
  ClientMiddlewares middlewares = {};           ///< around each request, the first one outermost
  bool trust_env = false;                       ///< proxies from the environment
  std::string proxy = {};                    ///< for requests without `proxy`: "http://proxy:3128"
  std::optional<BasicAuth> proxy_auth = {};  ///< for the proxy, unless its URL has them
  std::size_t read_bufsize = 64 * 1024;      ///< bytes of a body to keep for a slow reader; not 0
  /// The most bytes that a body may have after decompression; nothing for no limit. Reading beyond
  /// the limit throws ClientPayloadError. (Not in Python.)
  std::optional<std::size_t> max_body_size = {};
};

/// The keyword arguments of every request, in the order of Python's signature.
struct RequestOptions {
  Params params = {};  ///< appended to the query
  /// Bytes as they are, Params or a FormData for a form, or a source that is read while it is sent:
  /// std::ifstream, a function or a range of strings. Functions and ranges may await.
  Body data = {};
  Json json = {};                            ///< a nlohmann::json, instead of `data`
  Params cookies = {};                       ///< for this request alone
  CIMultiDict headers = {};                  ///< added to the session's, or replacing them
  std::optional<BasicAuth> auth = {};        ///< replaces the session's
  std::optional<bool> allow_redirects = {};  ///< yes, except for head()
  /// This number of redirects throws TooManyRedirects; 0: no limit; a negative number: the first
  /// redirect throws.
  long max_redirects = 10;
  std::optional<RaiseForStatus> raise_for_status = {};  ///< in place of the session's
  /// "http://proxy:3128". Has priority over the session's proxy, and that over the environment's.
  std::string proxy = {};
  std::optional<BasicAuth> proxy_auth = {};           ///< in place of the session's
  std::optional<ClientTimeout> timeout = {};          ///< in place of the session's
  std::optional<Ssl> ssl = {};                        ///< in place of the connector's
  std::any trace_request_ctx = {};                    ///< for the TraceConfigs
  std::optional<ClientMiddlewares> middlewares = {};  ///< in place of the session's
  std::optional<std::size_t> max_body_size = {};      ///< in place of the session's
};

namespace detail {
class Exchange;
class SessionCore;
class Traces;
}  // namespace detail

/// The body of a response, decompressed as it arrives. Functions that wait throw
/// ClientPayloadError, ServerTimeoutError, TimeoutError (total) or ClientConnectionError (closed)
/// once the bytes received before have been read; after release() they throw at once. One task at a
/// time may wait.
/// Python: aiohttp.StreamReader.
class FIBER_API StreamReader {
 public:
  /// Returns up to n bytes, at least one, "" at the end; n < 0: all the rest.
  asyncio::Coroutine<std::string> read(std::ptrdiff_t n = -1);
  /// Returns the available bytes, at least one, "" at the end.
  asyncio::Coroutine<std::string> readany();
  /// Returns a line with its "\n", which the last one may lack; "" at the end. Throws ValueError,
  /// "Chunk too big", for a line of more than max_line_length bytes, by default twice read_bufsize.
  asyncio::Coroutine<std::string> readline(std::size_t max_line_length = 0);
  /// Like readline(), with another separator. Throws ValueError for "".
  asyncio::Coroutine<std::string> readuntil(std::string separator = "\n", std::size_t max_size = 0);
  /// Returns n bytes. Throws asyncio::IncompleteReadError if there are fewer.
  asyncio::Coroutine<std::string> readexactly(std::size_t n);
  /// for (const std::string& line : content.iter_lines()): Python's `async for line in content`.
  http::Chunks iter_lines();
  /// for (const std::string& piece : content.iter_chunked(n)): the results of read(n).
  http::Chunks iter_chunked(std::size_t n);
  /// for (const std::string& piece : content.iter_any()): the results of readany().
  http::Chunks iter_any();
  /// Whether everything has arrived and been read.
  bool at_eof() const;

 private:
  friend class ClientResponse;

  detail::Exchange& exchange() const;

  std::shared_ptr<detail::Exchange> exchange_;
};

/// The request that a response answers. Python: aiohttp.RequestInfo.
struct RequestInfo {
  std::string url = {};      ///< with its parameters
  std::string method = {};   ///< "GET"
  CIMultiDict headers = {};  ///< as they were sent
};

/// The keyword arguments of ClientResponse::json().
struct JsonOptions {
  std::string encoding = {};  ///< replaces the charset of Content-Type, and UTF-8
  /// A text that Content-Type must contain; "application/json" also allows
  /// "application/vnd.api+json". "" allows every type.
  std::string content_type = "application/json";
};

/// A response whose head has arrived. A cheap handle to one connection, which the last copy, or the
/// end of the `with`, gives up. Python: aiohttp.ClientResponse.
class FIBER_API ClientResponse {
 public:
  explicit ClientResponse(std::shared_ptr<detail::Exchange> exchange);

  int status = 0;            ///< 404, for example
  std::string reason;        ///< "Not Found"
  std::string method;        ///< of the request that was answered, after redirects
  std::string url;           ///< after redirects
  CIMultiDict headers;       ///< repeated fields by getall()
  StreamReader content;      ///< the body, to be read in pieces
  RequestInfo request_info;  ///< the last request, after redirects
  /// The redirects before this response, the first one first. They are closed and have no body.
  std::vector<ClientResponse> history;

  /// Whether the status is below 400.
  bool ok() const noexcept { return status < 400; }
  /// Returns the media type in lower case, "application/octet-stream" if none was sent.
  std::string content_type() const;
  /// Returns the charset that Content-Type names, or "".
  std::string charset() const;

  /// Returns the rest of the body; further calls return the same bytes, also after release(). Throws
  /// like `content`.
  asyncio::Coroutine<std::string> read();
  /// Like read(), converted from `encoding` (by default charset(), then UTF-8) to UTF-8, malformed
  /// characters as U+FFFD. Throws LookupError for an unknown `encoding`; an unknown charset() is
  /// taken for UTF-8.
  asyncio::Coroutine<std::string> text(std::string encoding = {});

#ifdef FIBER_HTTP_JSON
  /// Like read(), as a nlohmann::json (or response.json<nlohmann::ordered_json>()); null for a body
  /// of blanks only. Throws ContentTypeError for another content type, JSONDecodeError, ValueError
  /// for a body that is not UTF-8, LookupError as text() does, and the exceptions of read().
  template <class Value = nlohmann::json>
  asyncio::Coroutine<Value> json(JsonOptions options = {}) {
    return asyncio::Coroutine<Value>(
        [self = *this, options = std::move(options)]() mutable {
          const std::string text = self.json_text(options);
          return text.empty() ? Value(nullptr)
                              : http::detail::parse_json<Value>(text, &refuse_json);
        },
        "ClientResponse.json");
  }
#endif

  /// Throws ClientResponseError unless ok().
  void raise_for_status() const;
  /// Gives the connection back to the session if the body has been read, else closes it.
  void release() noexcept;
  void close() noexcept { release(); }  ///< does what release() does
  bool closed() const noexcept;         ///< true after release() and close()

 private:
  friend class detail::SessionCore;
  friend class detail::Traces;

  explicit ClientResponse(http::Hop hop);
  ClientResponse(http::ResponseHead&& head, const http::Outgoing& request);
  void give_up_body() noexcept;
  detail::Exchange& exchange() const;
  std::string json_text(const JsonOptions& options);
  [[noreturn]] static void refuse_json(std::string_view text);

  std::shared_ptr<detail::Exchange> exchange_;
};

/// The result of session.get() and its like. Nothing has been sent yet: `await` sends the request
/// and returns the response, asyncio::with() passes the response to its body and releases it.
class FIBER_API RequestContext : public asyncio::Coroutine<ClientResponse> {
 public:
  explicit RequestContext(asyncio::Coroutine<ClientResponse> request)
      : asyncio::Coroutine<ClientResponse>(std::move(request)) {}

  /// For asyncio::with().
  ClientResponse enter();
  bool exit(std::exception_ptr error) noexcept;

 private:
  std::optional<ClientResponse> response_;
};

/// Keeps connections and cookies between requests. get(), post() and so on, from http::Verbs, call
/// request(). After a move, closed() is true and the other functions throw ValueError.
/// Python: aiohttp.ClientSession.
class FIBER_API ClientSession : public http::Verbs<ClientSession, RequestOptions> {
 public:
  explicit ClientSession(SessionOptions options = {});
  ClientSession(ClientSession&&) noexcept;
  ClientSession& operator=(ClientSession&&) noexcept;
  /// Closes the session, without waiting.
  ~ClientSession();

  /// Makes a request, to be awaited. `method` is sent in upper case. The request is sent a second
  /// time only if a kept connection turns out to be closed and the method is idempotent (POST is
  /// not). Awaiting throws, before anything is sent, InvalidURL, ValueError (header, two sources of
  /// credentials, `data` and `json`, a string in `json` that is not UTF-8) and
  /// RuntimeError (closed, or of another loop); then ClientConnectorError, ClientSSLError,
  /// ClientProxyConnectionError, ServerDisconnectedError, ServerTimeoutError, TimeoutError (total),
  /// TooManyRedirects, ClientResponseError (not HTTP, or raise_for_status) and
  /// ClientConnectionError (the session was closed meanwhile).
  RequestContext request(std::string_view method, std::string_view url) const;
  RequestContext request(std::string_view method, std::string_view url,
                         RequestOptions options) const;

  /// Opens a WebSocket as a request of this session: base_url, headers, cookies, connector,
  /// timeout, proxies, redirects, middlewares and traces are as for other requests, and the
  /// WebSocket counts as a connection in use until it is closed. ws:// and wss:// mean http:// and
  /// https://. Needs <fiber/aiohttp/client_ws.hpp>, with WsConnectOptions and the types of the
  /// result, and the library fiber-web. Awaiting it throws as request() does, and
  /// WSServerHandshakeError; asyncio::with() closes it. (A template: other programs need neither.)
  template <class Options = WsConnectOptions>
  auto ws_connect(std::string_view url, std::type_identity_t<Options> options = {}) const {
    return open_websocket(core(), std::string(url), std::move(options));
  }

  /// Ends every transfer and every connection; tasks that wait for a transfer get
  /// ClientConnectionError.
  asyncio::Coroutine<void> close();
  bool closed() const noexcept;  ///< true after close()
  /// Returns the session's cookies, as names and values.
  Params cookies() const;
  /// Returns the session's jar.
  CookieJar cookie_jar() const;

  /// For asyncio::with(), which closes the session, unless its block has moved it away.
  void enter() const noexcept {}
  bool exit(std::exception_ptr error) noexcept;

  /// For the library's own functions that work for a session. Throws ValueError after a move.
  const std::shared_ptr<detail::SessionCore>& core() const;

 private:
  friend class EventSource;

  std::shared_ptr<detail::SessionCore> core_;
};

}  // namespace fiber::aiohttp
