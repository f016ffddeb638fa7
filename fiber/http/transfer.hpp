// One HTTP exchange on libcurl, without an opinion on who waits and how.
//
// The owner adds easy() to a multi handle, drives that, and passes curl's verdict to finish(). In
// between, head() and the body appear. Nothing here waits, and nothing that runs inside a callback
// of curl calls curl's multi interface.
//
// Rules that keep it correct:
//  1. Redirects are followed here and not by curl: each is one hop, a transfer of its own on the
//     same easy handle. Once hop_is_over(), the owner takes the handle out of its multi handle,
//     calls next_hop() and puts it back. head() is that of the final response.
//  2. curl hands the body over as it was sent. No more than `limit` bytes of it decoded, and one
//     write of curl's (64 KiB) not decoded, are held: beyond that curl is told to pause, which
//     closes TCP's window. take() goes on.
//  3. A request is sent a second time only if its method is idempotent.
//  4. The easy handle is out of its multi handle before the Transfer is destroyed.
#pragma once

#include <fiber/http/cookies.hpp>
#include <fiber/http/decoder.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/head.hpp>
#include <fiber/http/outgoing.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <curl/curl.h>

namespace fiber::http {

struct FreeCurl {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};
using Easy = std::unique_ptr<CURL, FreeCurl>;
using Slist = std::unique_ptr<curl_slist, FreeCurl>;
using Multi = std::unique_ptr<CURLM, FreeMulti>;

// New handles; libcurl is initialised by the first, whichever thread that is in.
Easy new_easy();
Multi new_multi();
// Of a call of curl_multi_*() that failed: std::bad_alloc, or a RuntimeError with curl's text.
std::exception_ptr error_of(CURLMcode code) noexcept;

// What the requests of one session share: cookies and TLS sessions. Safe for use from any thread.
class Shared {
 public:
  // Without `keeps_cookies` none are.
  explicit Shared(bool keeps_cookies = true);
  ~Shared();
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  CURLSH* handle() const noexcept { return share_; }
  CookieStore& cookies() noexcept { return cookies_; }

 private:
  std::array<std::mutex, CURL_LOCK_DATA_LAST> mutexes_;
  CURLSH* share_ = nullptr;
  CookieStore cookies_;
};

class Transfer {
 public:
  using Clock = std::chrono::steady_clock;

  // Throws Failure for a request that must not be sent.
  Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* easy() const noexcept { return easy_.get(); }
  const Outgoing& request() const noexcept { return request_; }  // of this hop

  bool has_head() const noexcept { return has_head_; }
  // The final one; after too many redirects the last of them.
  const ResponseHead& head() const noexcept { return reader_.head(); }
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

  // curl's verdict (CURLMSG_DONE) on this hop; the first one counts.
  void finish(CURLcode code);
  // Whether the head was a redirect to be followed; what is left of its body is of no interest.
  bool is_redirected() const noexcept { return redirected_ && !done_; }
  // Whether it is, and the connection may be used again.
  bool hop_is_over() const noexcept { return is_redirected() && over_; }
  // Makes a new easy() for it. False: there is none, and the exchange is done().
  bool next_hop() noexcept;
  // Sends the request of this hop once more, as next_hop() does, with these fields beside and over
  // its own. False: the exchange is done() with a failure.
  bool again(const Headers& fields, bool keep) noexcept;
  // Ends it with an exception.
  void fail(std::exception_ptr error) noexcept;

  bool done() const noexcept { return done_; }
  bool succeeded() const noexcept { return done_ && result_ == CURLE_OK && !failure_ && !error_; }
  // Once done(): what went wrong, if anything did.
  std::optional<Failure> failure() const;
  // Once done(): an exception that a callback could not throw through curl.
  const std::exception_ptr& error() const noexcept { return error_; }

  // Whether it is the server's turn to send, and since when nothing has come: the read timeout's
  // clock. It stands still while connecting and while paused. The owner calls touch() whenever
  // the socket was ready: curl tells of whole lines alone.
  bool connected() const noexcept { return connected_; }
  bool awaits_server() const noexcept { return connected_ && !paused_ && !done_; }
  Clock::time_point last_activity() const noexcept { return last_activity_; }
  void touch() noexcept { last_activity_ = Clock::now(); }

  // Goes on with a body that `read_body` had nothing to send of.
  void resume_sending();
  // In place of the source of the body: as BodySource::read(), but nothing for "later".
  std::function<std::optional<std::size_t>(char* buffer, std::size_t room)> read_body;

  // Called, inside curl's callbacks among others, when the connection stands, when a head is
  // complete, when bytes have come and when it is done. Must not throw, wait or call curl.
  std::function<void()> on_change;
  // Called, inside a callback of curl, once is_redirected() holds. May throw.
  std::function<void()> on_redirect;

 private:
  void set_up();
  void set_up_connection();
  void set_up_certificate();
  void set_up_method();
  void set_up_source();
  void start_hop();
  Hop current_hop();
  std::string codings() const;
  void set_up_headers();
  void header_line(std::string_view line);
  bool body_bytes(std::string_view bytes);  // false: later
  void decode_more();
  void resume();
  void end();
  [[noreturn]] void refuse_more() const;
  bool may_send();
  bool is_switched() const noexcept;
  Failure failure_of_curl() const;
  void changed() const {
    if (on_change) on_change();
  }
  // Whether nothing that has arrived is left to be decoded.
  bool is_decoded() const noexcept { return raw_.empty() && !more_; }

  // Runs `step`, and keeps what it throws; false if it threw or said so.
  template <class Step>
  bool guarded(Step step) noexcept;
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_write(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_read(char* data, std::size_t size, std::size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);
  static int on_connected(void* self, char*, char*, int, int);
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent);

  Outgoing request_;
  std::shared_ptr<Shared> shared_;
  Slist header_list_;
  std::array<char, CURL_ERROR_SIZE> message_{};

  HeadReader reader_;
  std::unique_ptr<Decoder> decoder_;
  std::string raw_;   // has arrived and is not decoded
  std::string body_;  // is decoded; the first taken_ bytes of it have been taken
  std::size_t taken_ = 0;
  std::size_t limit_;
  std::size_t decoded_ = 0;    // bytes of the whole body so far
  std::size_t discarded_ = 0;  // bytes of a redirect's body
  std::string discarded_body_;
  std::vector<Hop> history_;
  std::uint64_t body_sent_ = 0;  // bytes of the request's body that its source has given
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_activity_ = started_;
  std::chrono::microseconds elapsed_{};
  curl_off_t sent_ = 0;
  std::string first_url_;
  long redirects_ = 0;
  int sendings_ = 0;  // of this hop
  std::optional<Failure> failure_;
  std::exception_ptr error_;
  CURLcode result_ = CURLE_OK;
  bool has_head_ = false;
  bool connected_ = false;
  bool through_proxy_ = false;
  bool paused_ = false;
  bool sending_paused_ = false;
  bool more_ = false;  // the decoder has more, without further input
  bool redirected_ = false;
  bool over_ = false;  // curl has finished this hop
  bool done_ = false;
  Easy easy_;  // last, so that it goes first: it refers to most of the others
};

}  // namespace fiber::http
