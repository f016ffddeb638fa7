// One connection of a server: reads heads, calls the handler, reads bodies on demand.
// Python: aiohttp.web_protocol.
//
// Invariants
//  1. `in_` holds received bytes: [begin_, cursor_) is the parsed part of the current request,
//     [cursor_, end_) the bytes after it. `in_` does not move while a request is served, so that
//     views into the head stay valid. If a body needs more room, `body_` takes the unparsed bytes.
//  2. One timer serves all time limits. It fires no later than the first of the deadlines, and then
//     compares with them: a limit that moves with each request needs no new timer. Reading has one
//     deadline, since one task at a time reads; each task that waits for data to leave has its own.
//  3. Other tasks than this connection's may read the body and write: after they have waited, the
//     connection may be gone. They ask `alive_`.
#pragma once

#include <fiber/aiohttp/web_server.hpp>
#include <fiber/aiohttp/web_streams.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/core/list.hpp>
#include <fiber/http/compression.hpp>
#include <fiber/http/parser.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fiber::aiohttp::web::detail {

class Connection;

struct ServerObject {
  ServerObject(Handler its_handler, ServerOptions its_options);

  /// Adds a connection. Returns false if there are too many.
  bool enter(Connection& connection);
  void leave(Connection& connection) noexcept;

  Handler handler;
  ServerOptions options;
  http::HeadLimits limits;
  std::vector<std::function<void(std::string&, const Request&, const ResponseObject&,
                                 asyncio::nanoseconds)>>
      log_format;
  core::List<Connection> connections;
  std::size_t count = 0;  ///< of `connections`
  std::size_t requests = 0;
  std::unordered_map<std::string, std::size_t> addresses;  ///< used only with a limit per address
  bool closing = false;
  std::string scratch;     ///< has bytes only while nobody waits
  asyncio::Event emptied;  ///< set while there are no connections
};

class Connection final : private ByteSource {
 public:
  Connection(ServerObject& server, asyncio::StreamReader reader, asyncio::StreamWriter writer,
             bool secure);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() override;

  /// Takes a place in the server's list. Returns false if there is none, or the server closes.
  bool enter();
  /// Answers 503, and closes.
  void turn_away();
  /// Begins TLS. Returns false if the handshake fails.
  bool handshake(const asyncio::ssl_argument& ssl);
  /// Serves the connection. To be called in a task of its own, after enter().
  void run();

  // --- for the server ---
  // Closes the connection at once if it is idle, else after the current response.
  void close_when_idle();
  void cancel() { task_.cancel(); }
  void abort() { writer_.transport().abort(); }
  core::Links<Connection> links;  ///< in the server's list
  std::string address_key;

  // --- for requests and responses ---
  ServerObject& server() const noexcept { return server_; }
  const asyncio::StreamWriter& writer() const noexcept { return writer_; }
  const asyncio::StreamReader& reader() const noexcept { return reader_; }
  bool secure() const noexcept { return secure_; }
  const std::string& remote();
  /// A buffer for bytes that are sent together; all connections share it.
  std::string& scratch() noexcept { return server_.scratch; }
  /// Throws ConnectionResetError once the connection is lost.
  void send(std::string_view bytes);
  /// Waits while too much data is unsent; `all`: while any data is unsent.
  void drain(bool all = false);
  bool lost() const noexcept;
  /// Keeps the response until the end of the request, and then calls its leave().
  void begin_response(ResponseObject& response) { response_ = ResponseRef(&response); }
  void force_close() noexcept { closing_ = true; }
  /// Whether the connection ends after the response: also if the client was not told to send its
  /// body, since the next bytes of the client may be the body or another request.
  bool closing() const noexcept {
    return closing_ || server_.closing || (head_.expects && !parser_.done());
  }
  /// Removes and returns the bytes received after the head, for another protocol.
  std::string take_rest();
  void upgrade() noexcept { upgraded_ = closing_ = true; }
  /// Handles the field Expect.
  void expect(const Request& request);

  /// Returns the reader of the current request's body.
  const std::shared_ptr<ByteReader>& body();
  bool body_at_eof() const noexcept { return body_reader_ ? body_reader_->at_eof() : ended(); }
  bool body_complete() const noexcept { return parser_.done(); }
  std::size_t client_max_size = 0;  ///< the application's, or the server's

 private:
  static constexpr asyncio::nanoseconds kNever = asyncio::nanoseconds::max();
  enum class Phase : unsigned char { none, idle, head, body, linger };
  struct Watcher;
  struct Reading;
  /// A task that waits for data to leave, as long as it waits.
  struct Draining {
    Draining(Connection& its_connection, bool waits_for_all);
    Draining(const Draining&) = delete;
    Draining& operator=(const Draining&) = delete;
    ~Draining();

    Connection& connection;
    const std::shared_ptr<bool> alive;
    const bool all;
    asyncio::nanoseconds deadline = kNever;
    core::Links<Draining> links;
  };

  // --- input ---
  std::string_view pending() const noexcept { return {in_.get() + cursor_, end_ - cursor_}; }
  std::size_t fill();
  bool read_head();
  void next_request();
  std::string next() override;
  bool ended() const noexcept override;
  std::string next_raw();
  static std::size_t receive(const asyncio::StreamReader& reader, std::span<char> to);
  void make_room_for_body();
  void limit_body();
  std::size_t fill_body();
  void begin_body();
  void end_body() noexcept;
  const std::shared_ptr<bool>& alive();

  // --- serving ---
  bool serve();
  std::optional<StreamResponse> answer(Request& request);
  StreamResponse error_response(Request& request, int status, std::exception_ptr error,
                                const char* text);
  bool respond(Request& request, const StreamResponse& response, asyncio::nanoseconds start);
  void refuse(const http::ProtocolFault& fault);
  bool linger_body();
  void linger();
  void finish_writing();

  // --- time ---
  asyncio::nanoseconds deadline_after(http::Seconds time) const;
  void limit(Phase phase, http::Seconds time);
  void no_limit() noexcept { deadline_ = kNever; }
  void set_timer(asyncio::nanoseconds when);
  void on_timer();
  void expire();

  static constexpr std::size_t kFirstBuffer = 2048;
  static constexpr std::size_t kBodyBuffer = 64 * 1024;

  ServerObject& server_;
  asyncio::StreamReader reader_;
  asyncio::StreamWriter writer_;
  asyncio::EventLoop loop_;
  asyncio::FutureRef task_;
  http::MessageParser parser_;
  http::Head head_;
  UrlMappingMatchInfo match_;

  std::unique_ptr<char[]> in_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t cursor_ = 0;
  std::size_t end_ = 0;

  std::shared_ptr<ByteReader> body_reader_;  ///< made on demand, one for each request
  std::shared_ptr<std::string> body_;        ///< kBodyBuffer bytes, while they are needed
  std::size_t body_begin_ = 0;
  std::size_t body_end_ = 0;
  bool body_here_ = false;           ///< the unparsed bytes are in `body_`
  bool reads_body_ = false;          ///< a task waits for bytes of the body
  std::uint64_t body_received_ = 0;  ///< bytes received, for the time limit
  std::uint64_t body_taken_ = 0;     ///< bytes that readers have taken, before decompression
  asyncio::nanoseconds body_waited_{0};
  std::optional<http::Decompressor> decompressor_;
  std::string compressed_;
  std::string_view compressed_rest_;
  bool more_output_ = false;

  ResponseRef response_;         ///< to the current request, once it is begun
  std::shared_ptr<bool> alive_;  ///< false once this is gone; for tasks that wait meanwhile
  std::optional<std::string> remote_;
  asyncio::nanoseconds deadline_ = kNever;  ///< of the task that reads
  asyncio::nanoseconds timer_when_ = kNever;
  asyncio::nanoseconds linger_end_ = kNever;
  asyncio::TimerHandle timer_;
  Phase phase_ = Phase::none;
  bool expired_ = false;
  bool closing_ = false;
  bool upgraded_ = false;
  bool idle_ = false;
  bool entered_ = false;
  bool secure_;
  bool body_over_ = false;          ///< the request is answered: nobody gets its body any more
  core::List<Draining> drainings_;  ///< the first one has the first deadline
  std::size_t whole_drains_ = 0;    ///< how many of them wait until nothing is unsent
  std::size_t high_mark_ = 0;       ///< of the transport, which it gets back after these
};

}  // namespace fiber::aiohttp::web::detail
