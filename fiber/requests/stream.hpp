// An exchange in progress, driven by the thread that waits for it.
#pragma once

#include <fiber/http/transfer.hpp>
#include <fiber/requests.hpp>
#include <fiber/requests/attempts.hpp>
#include <fiber/requests/connection.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace fiber::requests {

// The state that a session shares with its streamed responses. Each exchange has a connection of
// its own, which is kept for another one afterwards: no two threads use one connection.
struct Session::Core {
  std::shared_ptr<http::Shared> shared = std::make_shared<http::Shared>();

  // Returns a kept connection that is alive; null if there is none.
  std::unique_ptr<Connection> take(const std::string& key);
  void keep(std::unique_ptr<Connection> connection) noexcept;
  void close() noexcept;

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;  // in order of their last use
};

// Throws the exception for a failure.
[[noreturn]] void raise(const http::Failure& failure);
// Returns a number of seconds, for a message.
std::string in_seconds(http::Seconds duration);

class Response::Stream {
 public:
  // Returns the counter of tries for a URL.
  using Adapters = std::function<Attempts(const std::string& url)>;

  Stream(std::shared_ptr<Session::Core> core, http::Outgoing request,
         std::optional<http::Seconds> read_timeout, std::size_t limit);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  http::Transfer& transfer() noexcept { return transfer_; }
  // Returns a response with the head and the earlier heads.
  Response response();

  // Waits for the head of the final answer, through redirects, further tries and the answer to a
  // challenge.
  void read_head(const Adapters& adapters, const std::optional<HTTPDigestAuth>& digest);
  // Waits for the whole body; the limit must allow for it.
  std::string read_all();
  // Waits for n bytes and returns them, fewer only at the end, "" there. `at_once`, and for a body
  // in chunks: returns up to n of the available bytes, at least one; n = 0: all of them.
  std::string read(std::size_t n, bool at_once = false);

 private:
  template <class Enough>
  void drive(Enough enough);
  void connect();
  void leave_connection() noexcept;
  void check();
  int milliseconds_to_wait(
      const std::optional<http::Transfer::Clock::time_point>& redirect_until) const;
  Attempts::Cause cause();
  std::string answer_to_challenge(const HTTPDigestAuth& digest) const;
  void send_again(const CaseInsensitiveDict& fields, bool keep);
  void discard_body();

  std::shared_ptr<Session::Core> core_;
  std::optional<http::Seconds> read_timeout_;
  const std::string first_url_;
  const std::size_t limit_;
  int hops_ = 0;
  http::Transfer transfer_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace fiber::requests
