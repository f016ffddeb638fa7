// Serves connections, below applications, with limits. Python: aiohttp.web_server.
//
//   web::Server server([](web::Request& request) { return web::Response({.text = "ok"}); });
//   auto listening = await(asyncio::start_server(server, "127.0.0.1", 8080));
#pragma once

#include <fiber/aiohttp/web_request.hpp>
#include <fiber/aiohttp/web_response.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/http/arguments.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fiber::aiohttp::web {

/// A function that answers a request. It may wait, at any depth of calls, and throw: an
/// HTTPException becomes its response, TimeoutError 504, any other exception 500 and a line in the
/// log.
using Handler = std::function<StreamResponse(Request&)>;

/// A function that takes a request and returns a response, or a coroutine of one.
template <class F>
concept handler_like =
    std::invocable<std::decay_t<F>&, Request&> && std::copy_constructible<std::decay_t<F>> &&
    (std::convertible_to<std::invoke_result_t<std::decay_t<F>&, Request&>, StreamResponse> ||
     asyncio::has_await<std::invoke_result_t<std::decay_t<F>&, Request&>>);

namespace detail {

struct ServerObject;

template <handler_like F>
Handler as_handler(F&& function) {
  using Result = std::invoke_result_t<std::decay_t<F>&, Request&>;
  if constexpr (std::convertible_to<Result, StreamResponse>)
    return Handler(std::forward<F>(function));
  else
    return [function = std::decay_t<F>(std::forward<F>(function))](Request& request) mutable {
      return StreamResponse(asyncio::await(function(request)));
    };
}

}  // namespace detail

/// Writes a line for each request. Python: aiohttp.abc.AbstractAccessLogger, and a logger.
using access_logger = std::function<void(std::string_view line)>;

/// The keyword arguments of aiohttp's AppRunner and Server, with its defaults; then our own. One
/// connection holds less than 8 KiB while it is idle, and less than 1 MiB whatever arrives, beside
/// the handler's memory and a stack; WEB.md has the numbers. Zero as a time or a number is no
/// limit.
struct ServerOptions {
  http::Seconds keepalive_timeout =
      std::chrono::seconds(75);   ///< from an answer to the next request
  bool tcp_keepalive = true;      ///< SO_KEEPALIVE
  access_logger access_log = {};  ///< empty: no access log
  /// The format of aiohttp: %a remote, %t time, %P process, %r request line, %s status, %b bytes,
  /// %T and %Tf seconds, %D microseconds, %{Name}i and %{Name}o header fields.
  std::string access_log_format = "%a %t \"%r\" %s %b \"%{Referer}i\" \"%{User-Agent}i\"";
  bool debug = false;                 ///< error pages show the exception
  std::size_t max_line_size = 8190;   ///< bytes of the request line
  std::size_t max_headers = 128;      ///< the number of fields
  std::size_t max_field_size = 8190;  ///< bytes of a field
  /// How long to go on reading a body that the handler has not read, or the bytes after a request
  /// that was malformed or too slow. Zero: not at all.
  http::Seconds lingering_time = std::chrono::seconds(10);
  bool auto_decompress = true;  ///< bodies with Content-Encoding gzip or deflate
  /// Whether to cancel a handler whose client has disconnected; like aiohttp since 3.7, not by
  /// default. A handler that waits for the body gets RequestPayloadError instead. A client that has
  /// sent more than 64 KiB that are not read yet, of the body or further requests, is not noticed.
  bool handler_cancellation = false;

  std::size_t max_head_size = 64 * 1024;                  ///< bytes
  http::Seconds head_timeout = std::chrono::seconds(60);  ///< from its first byte, or connecting
  /// The longest time for a body, plus a second for each min_body_rate bytes received. Only the
  /// time in which bytes are awaited counts.
  http::Seconds body_timeout = std::chrono::seconds(60);
  std::size_t min_body_rate = 500;  ///< bytes per second
  /// The longest time that a slow peer may take to read each 48 KiB.
  http::Seconds write_timeout = std::chrono::seconds(60);
  std::size_t max_connections = 10'000;         ///< further ones get 503 and are closed
  std::size_t max_connections_per_address = 0;  ///< 0: no limit
  std::size_t client_max_size = 1024 * 1024;    ///< of Request::read(), text(), json(), post()
};

/// A server of connections: pass it to asyncio::start_server(). A counted reference. Belongs to one
/// loop and its thread. Python: aiohttp.web.Server.
class FIBER_API Server {
 public:
  template <handler_like F>
    requires(!std::same_as<std::remove_cvref_t<F>, Server>)
  explicit Server(F&& handler, ServerOptions options = {})
      : Server(detail::as_handler(std::forward<F>(handler)), std::move(options), 0) {}
  Server(const Server&) noexcept = default;  ///< moving is copying: never empty
  Server& operator=(const Server&) noexcept = default;

  /// Serves a connection to its end. Throws only CancelledError.
  void operator()(asyncio::StreamReader& reader, asyncio::StreamWriter& writer) const {
    serve(reader, writer, false);
  }
  /// Serves a connection to its end. `secure`: the connection is encrypted; the kernel does not
  /// send files, and scheme() is https.
  void serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer, bool secure) const;
  /// Begins TLS, for which the peer has `head_timeout` (zero: any time), and serves the connection
  /// to its end.
  void serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer,
             const asyncio::ssl_argument& ssl) const;

  /// Returns the number of open connections.
  std::size_t connections() const noexcept;
  std::size_t requests_count() const noexcept;  ///< of requests served since the server was made
  /// Closes idle connections, and all others after their current response.
  void pre_shutdown() const;
  /// Calls pre_shutdown(), and waits up to `timeout` for the connections to end; then cancels their
  /// handlers, waits again up to `timeout`, and aborts what connections are left. To be awaited.
  auto shutdown(http::Seconds timeout = std::chrono::seconds(15)) const {
    return asyncio::detail::Deferred([self = *this, timeout] { self.end(timeout); });
  }

  detail::ServerObject& object() const noexcept { return *object_; }

 private:
  Server(Handler handler, ServerOptions options, int);
  void end(http::Seconds timeout) const;
  std::shared_ptr<detail::ServerObject> object_;
};

}  // namespace fiber::aiohttp::web
