// Serving connections, below applications; and what bounds them. Python: aiohttp.web_server.
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

/// What a request is given to. It may wait, at any depth of calls, and throw: HTTPException becomes
/// the response it stands for, TimeoutError 504, anything else 500 and a line in the log.
using Handler = std::function<StreamResponse(Request&)>;

/// Something that may be called with a request, and returns a response or a coroutine of one.
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

/// The keyword arguments of aiohttp's AppRunner and Server, with its defaults; then ours. What one
/// connection may hold is the sum of: 64 KiB (a head), 64 KiB (a body on its way), 64 KiB (a
/// response on its way), what the handler holds, and a stack. Zero as a time or a number is no
/// limit.
struct ServerOptions {
  http::Seconds keepalive_timeout =
      std::chrono::seconds(75);   ///< from an answer to the next request
  bool tcp_keepalive = true;      ///< SO_KEEPALIVE
  access_logger access_log = {};  ///< empty: none is written
  /// As aiohttp's: %a remote, %t time, %P process, %r request line, %s status, %b bytes, %T and %Tf
  /// seconds, %D microseconds, %{Name}i and %{Name}o header fields.
  std::string access_log_format = "%a %t \"%r\" %s %b \"%{Referer}i\" \"%{User-Agent}i\"";
  bool debug = false;  ///< error pages say what was thrown
  std::size_t max_line_size = 8190;
  std::size_t max_headers = 128;
  std::size_t max_field_size = 8190;
  /// How long a body that nobody reads, and what follows a malformed request, is read on.
  http::Seconds lingering_time = std::chrono::seconds(10);
  bool auto_decompress = true;  ///< bodies with Content-Encoding gzip or deflate
  /// Cancels a handler whose client has gone. As aiohttp since 3.7, not unless asked for; noticed
  /// from when the body has been received on, and while no more than 2 KiB of the next request
  /// came.
  bool handler_cancellation = false;

  std::size_t max_head_size = 64 * 1024;                  ///< bytes
  http::Seconds head_timeout = std::chrono::seconds(60);  ///< from its first byte, or connecting
  /// A body may take so long, and a second more for each min_body_rate bytes that came; what the
  /// handler does meanwhile does not count.
  http::Seconds body_timeout = std::chrono::seconds(60);
  std::size_t min_body_rate = 500;
  /// So long may a peer take that does not read what is sent, for each 48 KiB.
  http::Seconds write_timeout = std::chrono::seconds(60);
  std::size_t max_connections = 10'000;  ///< more are answered by 503 and closed
  std::size_t max_connections_per_address = 0;
  std::size_t client_max_size = 1024 * 1024;  ///< of Request::read(), text(), json() and post()
};

/// A counted reference to what serves connections: give it to asyncio::start_server(). Belongs to
/// one loop and its thread. aiohttp.web.Server.
class FIBER_API Server {
 public:
  template <handler_like F>
    requires(!std::same_as<std::remove_cvref_t<F>, Server>)
  explicit Server(F&& handler, ServerOptions options = {})
      : Server(detail::as_handler(std::forward<F>(handler)), std::move(options), 0) {}

  /// Serves a connection to its end. Does not throw but CancelledError.
  void operator()(asyncio::StreamReader& reader, asyncio::StreamWriter& writer) const {
    serve(reader, writer, false);
  }
  /// `secure`: it is encrypted, so that files are not sent by the kernel, and scheme() is https.
  void serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer, bool secure) const;

  /// How many there are, and how many requests were served.
  std::size_t connections() const noexcept;
  std::size_t requests_count() const noexcept;
  /// Closes idle connections, and the others after their current response.
  void pre_shutdown() const;
  /// The same; waits for them, for so long; then cancels their handlers, and waits for their end as
  /// long again at most. Await it.
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
