// HTTP for tasks of asyncio, as the client of Python's aiohttp does it.
//
//   asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
//     asyncio::with(session.get("https://example.com/a.png"), [&](auto& response) {
//       response.raise_for_status();
//       for (const std::string& piece : response.content.iter_chunked(65536)) file << piece;
//     });
//   });
//
// The transfers of a session run on the event loop of the task that uses it, beside everything
// else that runs there, and suspend nothing but the tasks that wait for them. A task that is
// cancelled while it waits for a response ends the transfer. A reader that is slow slows the
// sender down: no more than read_bufsize bytes, and one read of at most 256 KiB, are kept.
//
// Threads: a session and its responses belong to one loop and to its thread.
//
// Redirects lead to http and https alone; to another origin they take neither Authorization,
// Proxy-Authorization, Host nor Cookie along, nor `auth` and `cookies`. Bodies are decompressed
// (gzip, deflate; br and zstd where the library was built with them). Proxies of the environment are
// used with trust_env alone, and never for addresses of this machine.
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
}

namespace fiber::aiohttp {

using CIMultiDict = http::Headers;
using Params = http::Params;
using Body = http::Body;
using Json = http::Json;
/// json.JSONDecodeError of Python, a ValueError.
using JSONDecodeError = http::JSONDecodeError;
using Verify = http::Verify;
using BasicAuth = http::BasicAuth;

/// Each limit is a duration; nothing, or zero, is no limit.
struct ClientTimeout {
  /// The whole of it, from the request to the last byte of the body: fiber::TimeoutError.
  std::optional<http::Seconds> total = std::chrono::minutes(5);
  /// Until a connection is there, the wait for a free one included: ServerTimeoutError.
  std::optional<http::Seconds> connect = {};
  /// The server sends nothing: ServerTimeoutError.
  std::optional<http::Seconds> sock_read = {};
  /// Name lookup and handshakes of a new connection: ServerTimeoutError.
  std::optional<http::Seconds> sock_connect = std::chrono::seconds(30);
};

class ClientResponse;
class EventSource;
struct WsConnectOptions;

/// raise_for_status=: whether, or a function that is called with each response, and throws what it
/// likes. It may await.
class RaiseForStatus {
 public:
  RaiseForStatus(bool raises = false) : raises_(raises) {}
  template <class Function>
    requires(std::is_invocable_v<Function&, ClientResponse&> && !std::is_same_v<Function, bool>)
  RaiseForStatus(Function function) : function_(std::move(function)) {}

  bool raises() const noexcept { return raises_; }
  const std::function<void(ClientResponse&)>& function() const noexcept { return function_; }

 private:
  bool raises_ = false;
  std::function<void(ClientResponse&)> function_;
};

/// The keyword arguments of ClientSession, in the order of Python's signature.
struct SessionOptions {
  /// What relative URLs are relative to: "https://example.com/api/", with a slash at its end.
  /// ValueError (of the constructor) for another.
  std::string base_url = {};
  TCPConnector connector = {};  ///< or a UnixConnector
  Params cookies = {};          ///< sent with every request
  CIMultiDict headers = {};     ///< sent with every request
  std::optional<BasicAuth> auth = {};
  std::optional<CookieJar> cookie_jar = {};  ///< to share, to save; a new one unless given
  RaiseForStatus raise_for_status = false;   ///< have every request do so
  ClientTimeout timeout = {};
  std::vector<TraceConfig> trace_configs = {};
  ClientMiddlewares middlewares = {};
  bool trust_env = false;  ///< proxies from the environment
  std::string proxy = {};  ///< for requests that have none: "http://proxy:3128"
  std::optional<BasicAuth> proxy_auth = {};
  std::size_t read_bufsize = 64 * 1024;  ///< bytes of a body to keep for a slow reader
  /// How many bytes a body may have, after decompression; nothing for any number. Reading beyond
  /// that is ClientPayloadError. (Not in Python.)
  std::optional<std::size_t> max_body_size = {};
};

/// The keyword arguments of every request, in the order of Python's signature.
struct RequestOptions {
  Params params = {};  ///< appended to the query
  /// Bytes as they are, Params or a FormData for a form, or what is read while it is sent:
  /// std::ifstream, a function or a range of strings, which may await.
  Body data = {};
  Json json = {};            ///< a nlohmann::json, in place of `data`
  Params cookies = {};       ///< for this request alone
  CIMultiDict headers = {};  ///< beside and over the session's
  std::optional<BasicAuth> auth = {};
  std::optional<bool> allow_redirects = {};  ///< yes, except for head()
  long max_redirects = 10;                   ///< so many are too many; 0 for any number
  std::optional<RaiseForStatus> raise_for_status = {};
  /// "http://proxy:3128". It goes before that of the session, and that before the environment's.
  std::string proxy = {};
  std::optional<BasicAuth> proxy_auth = {};
  std::optional<ClientTimeout> timeout = {};  ///< in place of the session's
  std::optional<Ssl> ssl = {};
  std::any trace_request_ctx = {};                    ///< for the TraceConfigs
  std::optional<ClientMiddlewares> middlewares = {};  ///< in place of the session's
  std::optional<std::size_t> max_body_size = {};      ///< in place of the session's
};

namespace detail {
class Exchange;
class SessionCore;
class Traces;
}  // namespace detail

/// aiohttp.StreamReader, the body of a response as it arrives, decompressed. What waits throws
/// ClientPayloadError, ServerTimeoutError, TimeoutError (total) or ClientConnectionError (closed)
/// once what had arrived before has been read. One task at a time may wait.
class FIBER_API StreamReader {
 public:
  /// Up to n bytes, at least one, "" at the end; n < 0: all that is left.
  asyncio::Coroutine<std::string> read(std::ptrdiff_t n = -1);
  /// What is there, at least one byte, "" at the end.
  asyncio::Coroutine<std::string> readany();
  /// A line with its "\n", which the last one may lack; "" at the end. Throws ValueError, "Chunk
  /// too big", for one of more than max_line_length bytes, twice read_bufsize unless given.
  asyncio::Coroutine<std::string> readline(std::size_t max_line_length = 0);
  /// The same of another separator. ValueError for "".
  asyncio::Coroutine<std::string> readuntil(std::string separator = "\n", std::size_t max_size = 0);
  /// n bytes. Throws asyncio::IncompleteReadError if there are fewer.
  asyncio::Coroutine<std::string> readexactly(std::size_t n);
  /// for (const std::string& line : content.iter_lines()): Python's `async for line in content`.
  http::Chunks iter_lines();
  /// for (const std::string& piece : content.iter_chunked(n)): the results of read(n).
  http::Chunks iter_chunked(std::size_t n);
  /// The same of readany().
  http::Chunks iter_any();
  /// Whether everything has arrived and been read.
  bool at_eof() const;

 private:
  friend class ClientResponse;

  detail::Exchange& exchange() const;

  std::shared_ptr<detail::Exchange> exchange_;
};

/// What a response answers: aiohttp.RequestInfo.
struct RequestInfo {
  std::string url = {};
  std::string method = {};
  CIMultiDict headers = {};
};

/// The keyword arguments of ClientResponse::json().
struct JsonOptions {
  std::string encoding = {};  ///< in place of that of Content-Type, and of UTF-8
  /// What Content-Type must be, or have in it: "application/json" is "application/vnd.api+json"
  /// too. "" for any.
  std::string content_type = "application/json";
};

/// aiohttp.ClientResponse: a response whose head has arrived. A cheap handle to one connection,
/// which the last copy, or the end of the `with`, gives up.
class FIBER_API ClientResponse {
 public:
  explicit ClientResponse(std::shared_ptr<detail::Exchange> exchange);

  int status = 0;
  std::string reason;   ///< "Not Found"
  std::string method;   ///< of the request that was answered, after redirects
  std::string url;      ///< after redirects
  CIMultiDict headers;  ///< repeated fields by getall()
  StreamReader content;
  RequestInfo request_info;
  /// The redirects on the way here, the first one first. They are closed: of a body there is
  /// nothing.
  std::vector<ClientResponse> history;

  /// Whether the status is below 400.
  bool ok() const noexcept { return status < 400; }
  /// The media type, "application/octet-stream" when none was sent.
  std::string content_type() const;
  /// The charset that Content-Type names, or "".
  std::string charset() const;

  /// What is left of the body; the same again when called again. Throws as `content` does.
  asyncio::Coroutine<std::string> read();
  /// The same, decoded from `encoding` (by default charset(), then UTF-8) to UTF-8, malformed
  /// characters as U+FFFD.
  asyncio::Coroutine<std::string> text(std::string encoding = {});

#ifdef FIBER_HTTP_JSON
  /// The same as a nlohmann::json (or response.json<nlohmann::ordered_json>()); null when there are
  /// but blanks. Throws ContentTypeError for another content type, JSONDecodeError, ValueError for
  /// what is not UTF-8, and as read() does.
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
  /// Gives the connection up: back to the session if the body has been read, else it is closed.
  void release() noexcept;
  void close() noexcept { release(); }
  bool closed() const noexcept;

 private:
  friend class detail::SessionCore;
  friend class detail::Traces;

  explicit ClientResponse(http::Hop hop);
  void give_up_body() noexcept;
  detail::Exchange& exchange() const;
  std::string json_text(const JsonOptions& options);
  [[noreturn]] static void refuse_json(std::string_view text);

  std::shared_ptr<detail::Exchange> exchange_;
};

/// What session.get() and its like return. Nothing has been sent yet: `await` sends it and gives
/// the response, asyncio::with() lends it to its body and releases it.
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

/// aiohttp.ClientSession: keeps connections and cookies between requests.
class FIBER_API ClientSession {
 public:
  explicit ClientSession(SessionOptions options = {});
  ClientSession(ClientSession&&) noexcept;
  ClientSession& operator=(ClientSession&&) noexcept;
  /// Closes it, which never waits here.
  ~ClientSession();

  /// A request is sent a second time only if a connection that was kept proves dead, and only if
  /// its method is idempotent: a POST never is. `method` goes out in upper case.
  /// Awaiting it throws, before anything is sent, InvalidURL, ValueError (header, timeout, two
  /// sources of credentials, `data` and `json`, a string in `json` that is not UTF-8) and
  /// RuntimeError (closed, or of another loop); then ClientConnectorError, ClientSSLError,
  /// ClientProxyConnectionError, ServerDisconnectedError, ServerTimeoutError, TimeoutError (total),
  /// TooManyRedirects, ClientResponseError (not HTTP, or raise_for_status) and
  /// ClientConnectionError (the session was closed meanwhile).
  RequestContext request(std::string_view method, std::string_view url,
                         RequestOptions options = {});

  RequestContext get(std::string_view url, RequestOptions options = {});
  RequestContext head(std::string_view url, RequestOptions options = {});
  RequestContext post(std::string_view url, RequestOptions options = {});
  RequestContext put(std::string_view url, RequestOptions options = {});
  RequestContext patch(std::string_view url, RequestOptions options = {});
  RequestContext delete_(std::string_view url, RequestOptions options = {});
  RequestContext options(std::string_view url, RequestOptions options = {});

  /// Opens a WebSocket as a request of this session: base_url, headers, cookies, connector, timeout,
  /// proxies, redirects, middlewares and traces are as for others, and it counts as a connection in
  /// use until it is closed. ws:// stands for http://, wss:// for https://. Needs
  /// <fiber/aiohttp/client_ws.hpp>, with WsConnectOptions and what it gives, and the library
  /// fiber-web. Awaiting it throws as request() does, and WSServerHandshakeError; asyncio::with()
  /// closes it. (A template, so that programs without WebSockets need none of these.)
  template <class Options = WsConnectOptions>
  auto ws_connect(std::string_view url, std::type_identity_t<Options> options = {}) const {
    return open_websocket(core_, std::string(url), std::move(options));
  }

  /// Ends every transfer, their waiting tasks with ClientConnectionError, and every connection.
  asyncio::Coroutine<void> close();
  bool closed() const noexcept;
  /// The cookies held, as names and values.
  Params cookies() const;
  /// The jar that they are in.
  CookieJar cookie_jar() const;

  /// For asyncio::with(), which closes it.
  void enter() const noexcept {}
  bool exit(std::exception_ptr error) noexcept;

 private:
  friend class EventSource;

  std::shared_ptr<detail::SessionCore> core_;
};

}  // namespace fiber::aiohttp
