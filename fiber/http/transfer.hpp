// One HTTP exchange, sans I/O: without an opinion on who waits and how.
//
// The owner finds a connection to route(), attaches it, sends output() and hands over what is
// received. In between, head() and the body appear. Nothing here waits.
//
//   attach() ... output() sent() ... received() lost() ... is_over()
//
// Rules that keep it correct:
//  1. Redirects are followed here: each is one hop, with a connection of its own. Once is_over() and
//     is_redirected(), the owner takes the connection away and calls next_hop(). head() is that of
//     the final response.
//  2. No more than `limit` bytes of the body decoded, and one read of the owner's not decoded, are
//     held: beyond that wants_input() is false, and the owner stops reading, which closes TCP's
//     window. take() goes on.
//  3. A request is sent a second time only if its method is idempotent, and the connection had been
//     used before and ended without a byte of an answer.
//  4. After each call of its functions the owner looks at wants_input(), output() and is_over().
//     `on_owner` asks for such a look after calls of others.
#pragma once

#include <fiber/http/answer.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/outgoing.hpp>
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
  Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  const Outgoing& request() const noexcept { return request_; }  // of this hop

  bool has_head() const noexcept { return has_head_; }
  // The final one; after too many redirects the last of them.
  const ResponseHead& head() const noexcept { return parser_.head(); }
  // The redirects on the way there, and the answers before again().
  std::vector<Hop>& history() noexcept { return history_; }
  // From the beginning of this hop to the end of the head.
  std::chrono::microseconds elapsed() const noexcept { return elapsed_; }

  // Bytes of the body that have arrived, are decoded and have not been taken.
  std::size_t available() const noexcept { return body_.size() - taken_; }
  // Up to n of them. May call back into on_change.
  std::string take(std::size_t n);
  // Those bytes, for a look.
  std::string_view peek() const noexcept { return std::string_view(body_).substr(taken_); }
  void set_limit(std::size_t limit);

  // --- for the owner of the connection ---
  const Route& route() const noexcept { return route_; }
  const std::shared_ptr<Shared>& shared() const noexcept { return shared_; }
  // A connection has to be found; after lost() once more.
  bool wants_connection() const noexcept { return !attached_ && !over_ && !done_; }
  // It must be one that nobody has used before.
  bool wants_new_connection() const noexcept { return sendings_ > 0; }
  // It is there. `used`: by an earlier exchange.
  void attach(bool used);
  // There is none.
  void refuse(Failure failure);
  // Bytes to be sent next, "" if there are none now; it stays until sent().
  std::string_view output();
  void sent(std::size_t size);
  // Output waits for an answer to Expect until then; the owner calls stop_expecting() in time.
  std::optional<Clock::time_point> expects_until() const noexcept { return expects_until_; }
  void stop_expecting();
  bool wants_input() const noexcept { return attached_ && !paused_ && !over_; }
  void received(std::string_view bytes);
  // The connection has ended, in good order or not.
  void lost(std::optional<Failure> failure = {});
  // Sending has failed; the answer may be there all the same.
  void sending_lost() noexcept { sends_ = false, may_keep_ = false; }
  // The connection is not needed any more for this hop, and may be used again.
  bool is_over() const noexcept { return over_; }
  bool keeps_connection() const noexcept { return keeps_; }
  // "May I have a look": see rule 4. Must not throw, wait, or destroy this.
  std::function<void()> on_owner;

  // Whether the head was a redirect to be followed; what is left of its body is of no interest.
  bool is_redirected() const noexcept { return redirected_ && !done_; }
  // Goes where it leads, with another connection. False: it cannot, and the exchange is done().
  bool next_hop() noexcept;
  // Sends the request of this hop once more, as next_hop() does, with these fields beside and over
  // its own. False: the exchange is done() with a failure.
  bool again(const Headers& fields, bool keep) noexcept;
  // Whether the answer was 101, to a request with `upgrade`: the connection speaks another protocol,
  // and stands still until its owner takes it away.
  bool is_upgraded() const noexcept { return upgraded_ && !done_; }
  // The bytes of that protocol that have come already. The exchange is done() after it.
  std::string leave_to_upgrade() noexcept;
  // Ends it with an exception.
  void fail(std::exception_ptr error) noexcept;

  bool done() const noexcept { return done_; }
  bool succeeded() const noexcept { return done_ && !failure_ && !error_; }
  // Once done(): what went wrong, if anything did.
  const std::optional<Failure>& failure() const noexcept { return failure_; }
  // Once done(): an exception of the body's source, or for want of memory.
  const std::exception_ptr& error() const noexcept { return error_; }

  // Whether it is the server's turn to send, and since when nothing has come: the read timeout's
  // clock. It stands still while connecting and while paused.
  bool connected() const noexcept { return attached_; }
  bool awaits_server() const noexcept { return attached_ && !paused_ && !done_; }
  Clock::time_point last_activity() const noexcept { return last_activity_; }
  void touch() noexcept { last_activity_ = Clock::now(); }

  // Goes on with a body that `read_body` had nothing to send of.
  void resume_sending();
  // In place of the source of the body: as BodySource::read(), but nothing for "later".
  std::function<std::optional<std::size_t>(char* buffer, std::size_t room)> read_body;

  // Called when the connection stands, when a head is complete, when bytes have come and when it is
  // done. Must not throw, wait or destroy this.
  std::function<void()> on_change;
  // Called once is_redirected() holds. May throw.
  std::function<void()> on_redirect;

 private:
  // How what is left of the body goes out: no more, bytes(), or what its source reads.
  enum class Sending : std::uint8_t { nothing, bytes, counted, chunked };

  void set_up();
  void set_up_body();
  void write_head();
  void fill_output();
  void fill_chunk(std::size_t size);
  std::size_t read_source(char* buffer, std::size_t room);
  void start_hop();
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
  // Whether nothing that has arrived is left to be decoded.
  bool is_decoded() const noexcept { return raw_.empty() && !more_; }
  // Runs `step`, and keeps what it throws; false if it threw.
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

  Outgoing request_;
  std::shared_ptr<Shared> shared_;
  Route route_;

  std::string out_;  // to be sent; the first out_taken_ bytes of it have been
  std::size_t out_taken_ = 0;
  Sending sending_ = Sending::nothing;
  std::uint64_t body_sent_ = 0;  // bytes of the request's body that have been made to be sent
  std::optional<Clock::time_point> expects_until_;
  bool sends_ = false;  // there is, or will be, more to be sent
  bool sending_paused_ = false;

  AnswerParser parser_;
  std::string input_;                           // received, and not looked at
  std::optional<std::optional<Failure>> loss_;  // what comes after input_
  std::unique_ptr<Decoder> decoder_;
  std::string raw_;   // has arrived and is not decoded
  std::string body_;  // is decoded; the first taken_ bytes of it have been taken
  std::size_t taken_ = 0;
  std::size_t limit_;
  std::size_t decoded_ = 0;    // bytes of the whole body so far
  std::size_t discarded_ = 0;  // bytes of a redirect's body
  std::string discarded_body_;
  std::vector<Hop> history_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_activity_ = started_;
  std::chrono::microseconds elapsed_{};
  std::string first_url_;
  long redirects_ = 0;
  int sendings_ = 0;  // of this hop
  std::optional<Failure> failure_;
  std::exception_ptr error_;
  bool attached_ = false;
  bool used_ = false;      // the connection had been, by another exchange
  bool answered_ = false;  // a byte has come
  bool may_keep_ = true;
  bool has_head_ = false;
  bool paused_ = false;
  bool more_ = false;  // the decoder has more, without further input
  bool redirected_ = false;
  bool upgraded_ = false;
  bool over_ = false;  // this hop
  bool keeps_ = false;
  bool done_ = false;
};

}  // namespace fiber::http
