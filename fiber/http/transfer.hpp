// One HTTP exchange. Sans I/O: the owner decides how to wait.
//
// The owner finds a connection to route(), attaches it, sends output() and passes received bytes to
// received(). Meanwhile head() and the body become available. Nothing here waits.
//
//   attach() ... output() sent() ... received() lost() ... is_over()
//
// Rules that keep it correct:
//  1. Redirects are followed here: each is one hop, with a connection of its own. Once is_over()
//     and is_redirected(), the owner takes the connection away and calls next_hop(). head() is the
//     head of the final response.
//  2. At most `limit` decoded bytes of the body are held, and the undecoded bytes of one read of
//     the owner's. At the limit wants_input() is false, and the owner stops reading, which closes
//     TCP's window. take() makes room.
//  3. A request is sent a second time only if its method is idempotent, and the connection had been
//     used before and ended without a byte of an answer.
//  4. The owner checks wants_input(), output() and is_over() after each of its calls. `on_owner`
//     asks the owner to check them after calls by others.
#pragma once

#include <fiber/http/answer.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/outgoing.hpp>
#include <fiber/http/prepared.hpp>
#include <fiber/http/route.hpp>
#include <fiber/http/shared.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::http {

class Transfer {
 public:
  using Clock = std::chrono::steady_clock;

  // Throws Failure for a request that must not be sent.
  Transfer(Outgoing&& request, std::shared_ptr<Shared> shared, std::size_t limit);
  // Sends a request that may be sent many times, also at once: one whose body has no source.
  Transfer(std::shared_ptr<const Prepared> prepared, std::shared_ptr<Shared> shared,
           std::size_t limit);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // The request of this hop.
  const Outgoing& request() const noexcept { return prepared_->request; }

  bool has_head() const noexcept { return has_head_; }
  // The final head; after too many redirects, the head of the last redirect.
  const ResponseHead& head() const noexcept { return parser_.head(); }
  // Gives the final head away: head() loses the members that the caller moves out.
  ResponseHead&& take_head() noexcept { return std::move(parser_.head()); }
  // The URL of the response.
  std::string_view url() const noexcept { return prepared_->answer_url(); }
  // The redirects before the final head, and the answers before again().
  std::vector<Hop>& history() noexcept { return history_; }
  // From the beginning of this hop to the end of the head.
  std::chrono::microseconds elapsed() const noexcept { return elapsed_; }

  // The number of bytes of the body that are decoded and have not been taken.
  std::size_t available() const noexcept { return body_.size() - taken_; }
  // Takes up to n of the available bytes. May call on_change.
  std::string take(std::size_t n);
  // Returns the available bytes without taking them.
  std::string_view peek() const noexcept { return std::string_view(body_).substr(taken_); }
  void set_limit(std::size_t limit);

  // --- for the owner of the connection ---
  const Route& route() const noexcept { return prepared_->route; }
  const std::shared_ptr<Shared>& shared() const noexcept { return shared_; }
  // Whether a connection must be found; after lost(), perhaps once more.
  bool wants_connection() const noexcept { return !attached_ && !over_ && !done_; }
  // Whether the connection must be a new one.
  bool wants_new_connection() const noexcept { return sendings_ > 0; }
  // Says that a connection is there. `used`: an earlier exchange has used it.
  void attach(bool used);
  // Says that no connection could be made.
  void refuse(Failure failure);
  // Returns the bytes to send next, "" if there are none now; valid until sent().
  std::string_view output();
  void sent(std::size_t size);
  // The time until which output waits for an answer to Expect: then the owner calls
  // stop_expecting().
  std::optional<Clock::time_point> expects_until() const noexcept { return expects_until_; }
  void stop_expecting();
  bool wants_input() const noexcept { return attached_ && !paused_ && !over_; }
  void received(std::string_view bytes);
  // Says that the connection has ended, in order or by a failure.
  void lost(std::optional<Failure> failure = {});
  // Says that sending has failed; an answer may still be received.
  void sending_lost() noexcept { sends_ = false, may_keep_ = false; }
  // Whether this hop needs its connection no more, and whether the connection may be used again.
  bool is_over() const noexcept { return over_; }
  bool keeps_connection() const noexcept { return keeps_; }
  // Asks the owner for a check, see rule 4. Must not throw, wait, or destroy this.
  std::function<void()> on_owner;

  // Whether the head is a redirect to be followed; the rest of its body is not needed.
  bool is_redirected() const noexcept { return redirected_ && !done_; }
  // Follows the redirect, on another connection. Returns false if the exchange is done() instead,
  // with a failure.
  bool next_hop() noexcept;
  // Sends the request of this hop once more, like next_hop(), with these fields added to, or
  // replacing, its own. Returns false if the exchange is done() with a failure.
  bool again(const Headers& fields, bool keep) noexcept;
  // Whether the answer to a request with `upgrade` was 101: the connection has another protocol
  // now, and waits until its owner takes it away.
  bool is_upgraded() const noexcept { return upgraded_ && !done_; }
  // Returns the bytes of that protocol that were received already. The exchange is done() then.
  std::string leave_to_upgrade() noexcept;
  // Ends the exchange with an exception.
  void fail(std::exception_ptr error) noexcept;

  bool done() const noexcept { return done_; }
  bool succeeded() const noexcept { return done_ && !failure_ && !error_; }
  // Once done(): the failure, if there was one.
  const std::optional<Failure>& failure() const noexcept { return failure_; }
  // Once done(): an exception of the body's source, or for want of memory.
  const std::exception_ptr& error() const noexcept { return error_; }

  // The clock of the read timeout: whether bytes of the server are awaited, and when the last ones
  // arrived. The clock stands still while connecting, while paused and while the body is awaited.
  bool connected() const noexcept { return attached_; }
  bool awaits_server() const noexcept {
    return attached_ && !paused_ && !sending_paused_ && !done_;
  }
  Clock::time_point last_activity() const noexcept { return last_activity_; }
  void touch() noexcept { last_activity_ = Clock::now(); }

  // Goes on with a body after `read_body` had no bytes for a while.
  void resume_sending();
  // Replaces the source of the body: like BodySource::read(), but returns nothing for "later".
  std::function<std::optional<std::size_t>(char* buffer, std::size_t room)> read_body;

  // Called when the connection is made, when a head is complete, when bytes were received and when
  // the exchange is done. Must not throw, wait or destroy this.
  std::function<void()> on_change;
  // Called once is_redirected() holds. May throw.
  std::function<void()> on_redirect;

 private:
  using Sending = Prepared::Sending;

  void set_up();
  void fill_output();
  void fill_chunk(std::size_t size);
  std::size_t read_source(char* buffer, std::size_t room);
  void start_hop(Outgoing&& request);
  Hop current_hop();
  std::string codings() const;
  void work(std::string_view& in);
  void work_on_input();
  bool is_full() const noexcept { return available() >= limit_ || !is_decoded(); }
  void head_complete();
  void body_bytes(std::string_view bytes);
  void answer_complete();
  void connection_lost();
  void hop_over(bool keeps);
  void give_up();
  void decode_more();
  void resume();
  void end();
  [[noreturn]] void refuse_more() const;
  void changed() const {
    if (on_change) on_change();
  }
  void ask_owner() const {
    if (on_owner) on_owner();
  }
  // Whether all received bytes are decoded.
  bool is_decoded() const noexcept { return raw_.empty() && !more_; }
  // Runs `step`, and keeps its exception; returns false if there was one.
  template <class Step>
  bool guarded(Step step) noexcept {
    try {
      step();
      return true;
    } catch (...) {
      keep_exception();
      return false;
    }
  }
  void keep_exception() noexcept;

  std::shared_ptr<const Prepared> prepared_;
  std::shared_ptr<Shared> shared_;

  std::string_view head_left_;          // the head's bytes that have not been sent
  std::string out_;                     // the head with cookies, then pieces of the body
  std::size_t out_taken_ = 0;           // bytes of a piece that have been sent
  Sending sending_ = Sending::nothing;  // how the rest of the request's body is sent
  std::uint64_t body_sent_ = 0;         // bytes of the request's body that were put into out_
  std::optional<Clock::time_point> expects_until_;
  bool sends_ = false;  // there are, or will be, more bytes to send
  bool sending_paused_ = false;

  AnswerParser parser_;
  std::string input_;                           // received, not yet parsed
  std::optional<std::optional<Failure>> loss_;  // the end of the connection, after input_
  std::unique_ptr<Decoder> decoder_;
  std::string raw_;   // received, not yet decoded
  std::string body_;  // decoded; its first taken_ bytes have been taken
  std::size_t taken_ = 0;
  std::size_t limit_;
  std::size_t decoded_ = 0;    // decoded bytes of the body so far
  std::size_t discarded_ = 0;  // bytes of a redirect's body
  std::string discarded_body_;
  std::vector<Hop> history_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_activity_ = started_;
  std::chrono::microseconds elapsed_{};
  std::string first_url_;  // before the first redirect
  long redirects_ = 0;
  int sendings_ = 0;  // how often the request of this hop was sent
  std::optional<Failure> failure_;
  std::exception_ptr error_;
  bool attached_ = false;
  bool used_ = false;      // an earlier exchange has used the connection
  bool answered_ = false;  // a byte was received
  bool may_keep_ = true;
  bool has_head_ = false;
  bool paused_ = false;
  bool more_ = false;  // the decoder has more, without further input
  bool redirected_ = false;
  bool upgraded_ = false;
  bool over_ = false;  // this hop needs its connection no more
  bool keeps_ = false;
  bool done_ = false;
};

}  // namespace fiber::http
