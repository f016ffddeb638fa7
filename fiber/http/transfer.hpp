// One HTTP exchange on libcurl, without an opinion on who waits and how.
//
// The owner adds easy() to a multi handle, drives that, and passes curl's verdict to finish(). In
// between, head() and the body appear. Nothing here waits, and nothing that runs inside a callback
// of curl calls curl's multi interface.
//
// Rules that keep it correct:
//  1. A redirect that is being followed leaves no trace: head() is that of the final response.
//  2. No more than `limit` bytes (and one write of curl's, 16 KiB) of the body are held: beyond
//     that curl is told to pause, which closes TCP's window. take() lets it go on.
//  3. The easy handle is out of its multi handle before the Transfer is destroyed.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

// What the requests of one session share: cookies and TLS sessions. Safe for use from any thread.
class Shared {
 public:
  Shared();
  ~Shared();
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  CURLSH* handle() const noexcept { return share_; }
  Params cookies() const;

 private:
  std::array<std::mutex, CURL_LOCK_DATA_LAST> mutexes_;
  CURLSH* share_;
};

// A request, ready to be sent.
struct Outgoing {
  std::string method = "GET";
  std::string url = {};  // from prepare_url()
  Headers headers = {};
  Body body = {};
  Params cookies = {};  // for this request alone
  std::optional<BasicAuth> auth = {};
  Verify verify = {};
  bool follow_redirects = true;
  bool get_after_302 = true;  // whatever the method was (requests); false: after a POST (aiohttp)
  long max_redirects = 30;
  std::optional<Seconds> connect_timeout = {};
  bool trust_env = false;  // take proxies from the environment (never for this machine itself)
};

// The head of the final response.
struct Head {
  int status = 0;
  std::string reason = {};
  std::string url = {};
  Headers headers = {};
};

class Transfer {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t unlimited = static_cast<std::size_t>(-1);

  // Throws Failure for a header that must not be sent.
  Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* easy() const noexcept { return easy_.get(); }
  const Outgoing& request() const noexcept { return request_; }

  bool has_head() const noexcept { return has_head_; }
  const Head& head() const noexcept { return head_; }
  // From construction to the end of the head.
  std::chrono::microseconds elapsed() const noexcept { return elapsed_; }

  // Bytes of the body that have arrived and not been taken.
  std::size_t available() const noexcept { return body_.size() - taken_; }
  // Up to n of them. May call back into on_change.
  std::string take(std::size_t n);
  void set_limit(std::size_t limit) noexcept { limit_ = limit; }

  // curl's verdict (CURLMSG_DONE); the first one counts.
  void finish(CURLcode code);
  bool done() const noexcept { return done_; }
  bool succeeded() const noexcept { return done_ && result_ == CURLE_OK; }
  // Once done(): what went wrong, if anything did.
  std::optional<Failure> failure() const;
  // Once done(): an exception that a callback could not throw through curl.
  const std::exception_ptr& error() const noexcept { return error_; }

  // Whether it is the server's turn to send, and since when nothing has come: the read timeout's
  // clock. It stands still while connecting and while paused.
  bool connected() const noexcept { return connected_; }
  bool awaits_server() const noexcept { return connected_ && !paused_ && !done_; }
  Clock::time_point last_activity() const noexcept { return last_activity_; }
  void touch() noexcept { last_activity_ = Clock::now(); }

  // Called, inside curl's callbacks among others, when the connection stands, when the head is
  // complete, when bytes have come and when it is done. Must not throw, wait or call curl.
  std::function<void()> on_change;

 private:
  void set_up(std::shared_ptr<Shared> shared);
  void set_up_method();
  void set_up_headers();
  void header_line(std::string_view line);
  void end_of_head();
  bool body_bytes(std::string_view bytes);  // false: later
  void changed() const {
    if (on_change) on_change();
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_write(char* data, std::size_t size, std::size_t count, void* self);
  static int on_connected(void* self, char*, char*, int, int);
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent);

  Outgoing request_;
  std::shared_ptr<Shared> shared_;
  Slist header_list_;
  std::array<char, CURL_ERROR_SIZE> message_{};

  Head head_;
  std::string body_;
  std::size_t taken_ = 0;
  std::size_t limit_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_activity_ = started_;
  std::chrono::microseconds elapsed_{};
  curl_off_t sent_ = 0;
  std::exception_ptr error_;
  CURLcode result_ = CURLE_OK;
  bool has_head_ = false;
  bool connected_ = false;
  bool paused_ = false;
  bool done_ = false;
  Easy easy_;  // last, so that it goes first: it refers to most of the others
};

}  // namespace fiber::http
