// A session, and one request of it from the wait for a connection to the last byte of the body.
#pragma once

#include <fiber/aiohttp.hpp>
#include <fiber/aiohttp/cookiejar_state.hpp>
#include <fiber/aiohttp/deadlines.hpp>
#include <fiber/aiohttp/engine.hpp>
#include <fiber/aiohttp/limiter.hpp>
#include <fiber/aiohttp/prepared_requests.hpp>
#include <fiber/aiohttp/traces.hpp>
#include <fiber/aiohttp/upgraded.hpp>
#include <fiber/aiohttp/upload.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/http/prepared.hpp>
#include <fiber/http/transfer.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::aiohttp::detail {

/// Throws the exception for a failure.
[[noreturn]] void raise(const http::Failure& failure);
/// Whether a timeout is a limit: zero is none.
bool limits(const std::optional<http::Seconds>& timeout);

/// The state of a ClientSession. Its exchanges own it, too.
class SessionCore : public std::enable_shared_from_this<SessionCore> {
 public:
  explicit SessionCore(SessionOptions options);

  /// Makes a request and waits for the head of its response; with `upgrade`, for an answer 101.
  ClientResponse request(std::string method, const std::string& url, RequestOptions&& options,
                         bool upgrade = false);
  /// Returns an earlier request without options of its own, to be made again; null if there is
  /// none.
  std::shared_ptr<const http::Prepared> find_prepared(std::string_view method,
                                                      std::string_view url) {
    return prepared_.find(method, url);
  }
  ClientResponse request(std::shared_ptr<const http::Prepared> prepared);
  /// Makes a request for another protocol, and waits for the answer 101.
  Upgraded upgrade(UpgradeRequest request);
  void close() noexcept;
  bool closed() const noexcept { return closed_; }
  const CookieJar& cookie_jar() const noexcept { return jar_; }
  Params cookies() const;

 private:
  friend class Exchange;

  Engine& engine();
  bool options_change_requests() const noexcept;
  bool changes_request(const RequestOptions& options) const;
  std::shared_ptr<const http::Prepared> prepared_for(const std::string& method,
                                                     const std::string& url);
  ClientResponse answer_to(std::shared_ptr<const http::Prepared> prepared,
                           const ClientTimeout& timeout, const RaiseForStatus& check);
  http::Outgoing outgoing_of(std::string method, const std::string& url,
                             RequestOptions& options) const;
  ClientResponse response_to(http::Outgoing&& outgoing, const RequestOptions& options,
                             const std::shared_ptr<Traces>& traces);
  ClientResponse send(http::Outgoing&& outgoing, const ClientTimeout& timeout,
                      const std::shared_ptr<Traces>& traces);
  ClientResponse send(std::shared_ptr<const http::Prepared> prepared, const ClientTimeout& timeout,
                      std::shared_ptr<Upload> upload, std::shared_ptr<Traces> traces);
  ClientResponse through_middlewares(http::Outgoing outgoing, const ClientTimeout& timeout,
                                     const std::shared_ptr<Traces>& traces,
                                     const ClientMiddlewares& middlewares);
  std::string build_url(const std::string& url, const Params& params) const;
  std::optional<BasicAuth> auth_for(const std::string& url) const;

  SessionOptions options_;
  CookieJar jar_;
  Limiter limiter_;
  std::optional<Engine> engine_;     ///< made by the first request, which decides the loop
  std::optional<Deadlines> totals_;  ///< for the session's own limit, made with the engine
  core::List<Exchange> exchanges_;
  PreparedRequests prepared_;  ///< empty if requests may differ by more than method and URL
  bool closed_ = false;
};

class Exchange final : private Deadlines::Limited {
 public:
  Exchange(std::shared_ptr<SessionCore> core, std::shared_ptr<const http::Prepared> prepared,
           const ClientTimeout& timeout, std::shared_ptr<Upload> upload,
           std::shared_ptr<Traces> traces);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() { close(); }

  const http::Transfer& transfer() const noexcept { return transfer_; }
  http::Transfer& transfer() noexcept { return transfer_; }
  std::size_t read_bufsize() const noexcept;
  const std::string& method() const noexcept { return transfer_.request().method; }

  /// These functions wait, and throw the exceptions of the public functions.
  void open();                      ///< waits for the head
  std::string read(std::size_t n);  ///< returns up to n bytes of the body, "" at its end
  std::string read_rest();          ///< returns the unread rest of the body
  std::string read_until(std::string_view separator, std::size_t most);
  std::string read_exactly(std::size_t n);
  const std::string& body();  ///< like read_rest(), and keeps the result

  /// Returns the connection of an answer 101, for another protocol; it counts as in use until
  /// close(), which closes it. Throws ServerDisconnectedError if the server has closed it
  /// meanwhile.
  std::pair<asyncio::StreamReader, asyncio::StreamWriter> take_connection();

  /// Whether the whole body has arrived and been read.
  bool at_eof() const noexcept { return transfer_.succeeded() && transfer_.available() == 0; }
  /// Ends the exchange: tasks that wait, or read bytes that have not arrived, get an exception with
  /// the reason. The exception is made in the task: closing needs no memory.
  enum class Why : unsigned char {
    none,
    closed,
    session_closed,
    total_timeout,
    connect_timeout,
    read_timeout,
    memory,
  };
  void end(Why why) noexcept;
  void close() noexcept;
  bool closed() const noexcept { return closed_; }

 private:
  friend core::OwnLinks;
  friend class SessionCore;

  template <class Condition>
  void wait_until(Condition condition);
  void check() const;
  void wake() noexcept;
  void changed() noexcept;
  void give_back() noexcept;
  void wait_for_head_telling();
  void start_sending();
  bool has_head();
  bool take_place();
  void take_turn();
  void start_timers();
  void stop_timers() noexcept;
  void out_of_time(bool without_timer) noexcept override {
    end(without_timer ? Why::memory : Why::total_timeout);
  }
  void watch_for_silence(http::Seconds duration);

  std::shared_ptr<SessionCore> core_;
  Engine& engine_;
  ClientTimeout timeout_;
  http::Transfer transfer_;
  std::shared_ptr<Upload> upload_;
  std::shared_ptr<Traces> traces_;  ///< null without TraceConfigs
  std::optional<Limiter::Slot> slot_;
  bool waits_for_place_ = false;  ///< in slot_, for the next hop
  core::Ref<Ride> ride_;          ///< null unless the engine works for the transfer
  asyncio::TimerHandle total_timer_, connect_timer_, silence_timer_;
  asyncio::detail::Waiter* waiter_ = nullptr;  ///< of the task that waits
  asyncio::Transport taken_connection_;        ///< by take_connection()
  std::optional<std::string> body_;
  std::size_t taken_ = 0;  ///< bytes read since other tasks had a turn
  Why why_ = Why::none;    ///< why the exchange was ended
  bool closed_ = false;
  core::Links<Exchange> links;  ///< among the session's, until close()
};

}  // namespace fiber::aiohttp::detail
