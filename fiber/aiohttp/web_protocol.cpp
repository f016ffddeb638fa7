#include <fiber/aiohttp/web_protocol.hpp>

#include <fiber/aiohttp/times.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_log.hpp>
#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace fiber::aiohttp::web::detail {

using asyncio::await;

// --- the connection -----------------------------------------------------------------------------

Connection::Connection(ServerObject& server, asyncio::StreamReader reader,
                       asyncio::StreamWriter writer, bool secure)
    : server_(server),
      reader_(std::move(reader)),
      writer_(std::move(writer)),
      loop_(asyncio::get_running_loop()),
      task_(asyncio::current_task()),
      parser_(http::MessageParser::Kind::request, server.limits),
      secure_(secure) {}

Connection::~Connection() {
  timer_.cancel();
  end_body();
  if (alive_) *alive_ = false;
  if (entered_) server_.leave(*this);
}

bool Connection::enter() {
  entered_ = server_.enter(*this);
  return entered_ && !server_.closing;
}

void Connection::turn_away() {
  writer_.write(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  writer_.close();
}

bool Connection::handshake(const asyncio::ssl_argument& ssl) {
  asyncio::StartTlsOptions options;
  // A server without a limit gets one that never ends: an option left out means the usual limit.
  const http::Seconds limit = server_.options.head_timeout;
  options.ssl_handshake_timeout =
      aiohttp::detail::nanoseconds(limit.count() > 0 ? limit : http::Seconds::max());
  idle_ = true;
  try {
    await(writer_.start_tls(ssl, options));
  } catch (const asyncio::CancelledError&) {
    writer_.transport().abort();
    throw;
  } catch (const std::exception&) {  // the peer is gone, too slow, or speaks no TLS that suits
    return false;
  }
  idle_ = false;
  return !closing();
}

void Connection::run() {
  if (server_.options.tcp_keepalive) {
    constexpr int kOn = 1;
    ::setsockopt(writer_.fileno(), SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  }
  try {
    limit(Phase::idle, server_.options.head_timeout);
    while (read_head() && serve()) {
      if (closing()) break;
      limit(Phase::idle, server_.options.keepalive_timeout);
    }
    finish_writing();
  } catch (const OSError&) {  // the peer is gone, or a response was cut short
  } catch (const asyncio::CancelledError&) {
    no_limit();
    writer_.transport().abort();
    throw;
  }
  no_limit();
  // Unsent bytes would wait for a peer that does not read, without a time limit.
  if (writer_.transport().get_write_buffer_size() != 0) writer_.transport().abort();
  writer_.close();
}

const std::string& Connection::remote() {
  if (!remote_) remote_ = writer_.peername().host();
  return *remote_;
}

bool Connection::lost() const noexcept {
  return writer_.is_closing() || reader_.exception() != nullptr;
}

void Connection::close_when_idle() {
  closing_ = true;
  if (idle_) writer_.close();
}

// --- heads --------------------------------------------------------------------------------------

// Receives bytes and returns their number; 0 at the end, or when the time is up.
std::size_t Connection::fill() {
  if (begin_ == end_ && begin_ != 0) begin_ = cursor_ = end_ = 0;
  if (end_ == capacity_) {
    if (begin_ != 0) {
      std::memmove(in_.get(), in_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      cursor_ -= begin_;
      begin_ = 0;
    } else {
      std::size_t capacity = std::max(kFirstBuffer, capacity_ * 2);
      // A head needs no more than its limit, and a byte beyond it.
      const std::size_t for_head = server_.limits.head + kFirstBuffer;
      if (capacity_ < for_head) capacity = std::min(capacity, for_head);
      std::unique_ptr<char[]> larger(new char[capacity]);
      if (end_ != 0) std::memcpy(larger.get(), in_.get(), end_);
      in_ = std::move(larger);
      capacity_ = capacity;
    }
  }
  if (expired_) return 0;
  const std::size_t count = receive(reader_, {in_.get() + end_, capacity_ - end_});
  end_ += count;
  return count;
}

namespace {

// Returns the faults that show before the head is complete: there is no need to wait for its end.
const char* fault_of_beginning(std::string_view bytes, std::size_t from) noexcept {
  const auto first = static_cast<unsigned char>(bytes.front());
  if (first <= ' ' || first >= 0x7F) return "this is not HTTP";
  for (std::size_t i = from; i < bytes.size(); ++i) {
    if (bytes[i] == '\0') return "a zero byte in the head";
    if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')) return "a line ends in LF alone";
    if (bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] != '\n')
      return "CR alone in the head";
  }
  return nullptr;
}

}  // namespace

// Reads the next head. Returns false if there is no further request.
bool Connection::read_head() {
  std::size_t scanned = 0;
  int empty_lines = 0;
  for (;;) {
    std::string_view bytes = pending();
    // RFC 9112: skips empty lines before a request, which old clients sent after a body.
    while (scanned == 0 && empty_lines < 2 && bytes.starts_with("\r\n")) {
      begin_ = cursor_ = cursor_ + 2;
      ++empty_lines;
      bytes = pending();
    }
    if (const std::size_t size = http::end_of_head(bytes, scanned)) {
      if (size > server_.limits.head)
        return refuse({431, "the head is larger than " + std::to_string(server_.limits.head)}),
               false;
      no_limit();
      expired_ = false;  // the head has come at the last moment
      cursor_ += size;
      if (parser_.head(bytes.substr(0, size), head_)) return true;
      return refuse(parser_.fault()), false;
    }
    if (!bytes.empty() && bytes != "\r") {
      if (const char* text = fault_of_beginning(bytes, scanned > 0 ? scanned - 1 : 0))
        return refuse({400, text}), false;
      const bool long_line = bytes.find('\n') == std::string_view::npos;
      if (long_line && bytes.size() > server_.limits.line + 1)  // its CR may be there
        return refuse({414, "the request line is too long"}), false;
      if (bytes.size() > server_.limits.head)
        return refuse({431, "the head is larger than " + std::to_string(server_.limits.head)}),
               false;
      if (scanned == 0) limit(Phase::head, server_.options.head_timeout);
    }
    scanned = bytes.size();
    idle_ = bytes.empty();
    const std::size_t count = closing() && idle_ ? 0 : fill();
    idle_ = false;
    if (count != 0) continue;
    if (expired_ && !pending().empty()) refuse({408, "the head did not come in time"});
    return false;
  }
}

// Answers a malformed request, and closes the connection.
void Connection::refuse(const http::ProtocolFault& fault) {
  no_limit();
  const std::string text = std::to_string(fault.status) + ": " +
                           std::string(http::reason_phrase(fault.status)) + "\n" + fault.text;
  std::string out = "HTTP/1.1 " + std::to_string(fault.status) + " ";
  out += http::reason_phrase(fault.status);
  out += "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ";
  out += std::to_string(text.size());
  out += "\r\nConnection: close\r\nDate: ";
  out += http::format_date(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()));
  out += "\r\nServer: fiber\r\n\r\n";
  out += text;
  closing_ = true;
  send(out);
  if (!expired_) linger();  // a client that was too slow loses its place
}

// --- requests -----------------------------------------------------------------------------------

// While this lives, cancels the handler when the client disconnects.
struct Connection::Watcher {
  explicit Watcher(Connection& its_connection) : connection(its_connection) {
    asyncio::detail::ReaderObject& reader = connection.reader_.object();
    reader.on_complete = [this] { cancel(); };
    // A handler that does not wait is not disturbed.
    if (reader.is_complete()) soon = connection.loop_.call_soon([this] { cancel(); });
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() {
    connection.reader_.object().on_complete = nullptr;
    if (soon) soon.cancel();
  }
  // A handler that waits for its body, and a WebSocket, are not cancelled: their reads report the
  // end.
  void cancel() noexcept {
    if (connection.reads_body_ || connection.upgraded_) return;
    try {
      connection.task_.cancel("the client has disconnected");
    } catch (const std::bad_alloc&) {
      // There was no memory to cancel the handler: it goes on.
    }
  }
  Connection& connection;
  asyncio::Handle soon;
};

// Serves one request. Returns false if the connection ends.
bool Connection::serve() {
  ++server_.requests;
  match_.values_.clear();
  match_.route_ = nullptr;
  match_.http_exception_ = 404;
  match_.allowed_.clear();
  match_.apps_.clear();
  begin_body();
  client_max_size = server_.options.client_max_size;
  const asyncio::nanoseconds start =
      server_.log_format.empty() ? asyncio::nanoseconds(0) : loop_.time();
  Request request(*this, head_, match_);
  struct Leave {
    ResponseRef& response;
    ~Leave() {
      if (response.get() != nullptr) response->leave();
      response = {};
    }
  } const leave{response_};
  std::optional<StreamResponse> response;
  {
    std::optional<Watcher> watcher;
    if (server_.options.handler_cancellation) watcher.emplace(*this);
    response = answer(request);
  }
  if (!response || !respond(request, *response, start)) return false;
  if (reads_body_) {  // a task of the handler's: nobody else can read the rest
    closing_ = true;
    finish_writing();
    reader_.set_exception(fiber::detail::error_from(
        [] { return PayloadAccessError("the request was answered already"); }));
    return false;
  }
  if (!parser_.done() && !upgraded_ && !linger_body()) {
    closing_ = true;
    linger();
    return false;
  }
  next_request();
  return !closing_ && !response->object().closes();
}

// Returns the handler's response, or the response of its exception; nothing if the connection ends.
std::optional<StreamResponse> Connection::answer(Request& request) {
  int status = 500;
  std::exception_ptr error;
  try {
    // In a copy of the context: the handler's changes do not reach the next request.
    return contextvars::copy_context().run([&] { return server_.handler(request); });
  } catch (const HTTPException& exception) {
    return exception.response();
  } catch (const RequestPayloadError& exception) {
    return Response({.status = 400, .text = std::string("400: Bad Request\n") + exception.what()});
  } catch (const TimeoutError&) {
    status = 504;
    error = std::current_exception();
  } catch (const ConnectionError&) {
    if (lost()) return std::nullopt;
    error = std::current_exception();
  } catch (const std::exception&) {
    error = std::current_exception();
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (const BaseException&) {
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  return error_response(request, status, error, "Error handling request");
}

StreamResponse Connection::error_response(Request& request, int status, std::exception_ptr error,
                                          const char* text) {
  asyncio::detail::log(asyncio::LogLevel::error, text, error);
  // The head has been sent: only closing the connection can report the error.
  if (request.started_ != nullptr) throw ConnectionResetError("the response was cut short");
  std::string title = std::to_string(status) + " " + std::string(http::reason_phrase(status));
  std::string message;
  if (status == 500) message = "Server got itself in trouble";
  if (server_.options.debug) message = repr(error);
  const bool html = request.headers().get("Accept").find("text/html") != std::string_view::npos;
  std::string page = title + "\n\n" + message;
  if (html)
    page = "<html><head><title>" + title + "</title></head><body>\n<h1>" + title + "</h1>\n" +
           http::html_escape(message) + "\n</body></html>\n";
  Response response({.status = status,
                     .text = std::move(page),
                     .content_type = html ? "text/html" : "text/plain"});
  response.force_close();
  return response;
}

// Sends the response. Returns false if the peer is gone, or the response could not be sent.
bool Connection::respond(Request& request, const StreamResponse& response,
                         asyncio::nanoseconds start) {
  bool sent = true;
  std::optional<StreamResponse> instead;
  try {
    response.object().finish(request);
  } catch (const ConnectionError&) {
    sent = false;
  } catch (const HTTPException& exception) {  // a missing file, or from a signal
    instead = exception.response();
  } catch (const std::exception&) {
    instead = error_response(request, 500, std::current_exception(), "Error handling request");
  }
  if (instead) {
    if (request.started_ != nullptr) throw ConnectionResetError("the response was cut short");
    try {
      instead->object().finish(request);
    } catch (const ConnectionError&) {
      throw;
    } catch (const std::exception&) {  // from a signal, once more
      asyncio::detail::log(asyncio::LogLevel::error, "Error handling request",
                           std::current_exception());
      throw ConnectionResetError("the response was cut short");
    }
    if (instead->object().closes()) closing_ = true;
  }
  end_body();
  if (!server_.log_format.empty())
    log_access(server_, request, instead ? instead->object() : response.object(),
               loop_.time() - start);
  return sent;
}

void Connection::expect(const Request& request) {
  if (!head_.expects) return;
  const std::string_view expected = head_.field("Expect");
  // The client sends its body anyway: RFC 9110, 10.1.1, lets the field be an empty list, and has
  // servers ignore it in HTTP/1.0.
  if (request.version().minor == 0 || expected.empty()) {
    head_.expects = false;
    return;
  }
  if (!http::equal_ignoring_case(expected, "100-continue"))
    throw HTTPExpectationFailed({.text = "Unknown Expect: " + std::string(expected)});
  head_.expects = false;  // the body comes, whether the handler reads it or not
  if (!parser_.done()) send("HTTP/1.1 100 Continue\r\n\r\n");
}

// --- output -------------------------------------------------------------------------------------

void Connection::send(std::string_view bytes) {
  if (lost()) throw ConnectionResetError("Cannot write to closing transport");
  writer_.write(bytes);
}

void Connection::drain(bool all) {
  const asyncio::Transport transport = writer_.transport();
  const std::size_t high = transport.get_write_buffer_limits().second;
  if (transport.get_write_buffer_size() <= (all ? 0 : high)) return;
  // Other tasks than the handler may write a response, and outlive the connection.
  const Draining draining(*this, all);
  const asyncio::StreamWriter writer = writer_;
  await(writer.drain());
  if (!*draining.alive) throw ConnectionResetError("Cannot write to closing transport");
}

Connection::Draining::Draining(Connection& its_connection, bool waits_for_all)
    : connection(its_connection), alive(connection.alive()), all(waits_for_all) {
  deadline = connection.deadline_after(connection.server_.options.write_timeout);
  connection.set_timer(deadline);
  connection.drainings_.append(*this);
  const asyncio::Transport transport = connection.writer_.transport();
  if (all && connection.whole_drains_++ == 0) {
    connection.high_mark_ = transport.get_write_buffer_limits().second;
    transport.set_write_buffer_limits(0);
  }
}

Connection::Draining::~Draining() {
  if (!*alive) return;
  connection.drainings_.remove(*this);
  if (all && --connection.whole_drains_ == 0)
    connection.writer_.transport().set_write_buffer_limits(connection.high_mark_);
}

const std::shared_ptr<bool>& Connection::alive() {
  if (!alive_) alive_ = std::make_shared<bool>(true);
  return alive_;
}

// Sends the buffered data while the connection, with its time limit, still exists. The transport of
// a WebSocket is closing by then.
void Connection::finish_writing() {
  if (reader_.exception() == nullptr) drain(true);
}

std::string Connection::take_rest() {
  std::string rest;
  if (body_here_) {  // the bytes came with a body that the handler has read
    rest.assign(*body_, body_begin_, body_end_ - body_begin_);
    body_begin_ = body_end_;
  } else {
    rest = pending();
    cursor_ = end_;
  }
  return rest;
}

}  // namespace fiber::aiohttp::web::detail
