// How often a request is tried. Python: requests.adapters, and urllib3.util.Retry.
//
//   session.mount("https://", requests::HTTPAdapter{
//       .max_retries = requests::Retry{.total = 5, .status_forcelist = {502, 503, 504},
//                                      .backoff_factor = 0.1}});
#pragma once

#include <fiber/http/arguments.hpp>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace fiber::requests {

/// urllib3.util.Retry: its keyword arguments. Each of the numbers is of tries after the first one;
/// nothing is no limit.
///
/// A connection that could not be made is tried again whatever the method is: the server has seen
/// nothing. After that, only a request whose method is allowed goes out again. Redirects are
/// counted by Session::max_redirects alone.
struct FIBER_API Retry {
  std::optional<int> total = 10;    ///< of all kinds; over all others
  std::optional<int> connect = {};  ///< no connection
  std::optional<int> read = {};     ///< the connection ended, or timed out, before an answer came
  std::optional<int> status = {};   ///< the answer's status is in status_forcelist
  std::optional<int> other = {};    ///< the rest: TLS
  /// Methods that may be sent twice, those that are idempotent at first; nothing for any.
  std::optional<std::set<std::string>> allowed_methods =
      std::set<std::string>{"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"};
  std::set<int> status_forcelist = {};  ///< answers with these are no answers
  /// The second try comes at once, the third after backoff_factor * 2 seconds, and each wait after
  /// that is twice as long.
  double backoff_factor = 0;
  http::Seconds backoff_max = std::chrono::seconds(120);
  /// With no try left: RetryError, or the last answer.
  bool raise_on_status = true;
  /// Answers of 413, 429 and 503 that have a Retry-After are tried again, after that time; so long
  /// is waited for those of status_forcelist, too.
  bool respect_retry_after_header = true;
  double backoff_jitter = 0;  ///< up to so many seconds, by chance, are added to a wait
  /// The longest wait that a server may ask for. Six hours are Python's; a session that answers to
  /// somebody should have less.
  http::Seconds retry_after_max = std::chrono::hours(6);

  /// Whether an answer is to be asked for again.
  bool is_retry(std::string_view method, int status_code, bool has_retry_after = false) const;
  /// How long to wait after so many errors in a row.
  http::Seconds get_backoff_time(int errors) const;
  /// Retry-After's value, seconds or a date, never negative, at most retry_after_max. Throws
  /// InvalidHeader for what is neither.
  http::Seconds parse_retry_after(std::string_view retry_after) const;
};

/// max_retries=: a Retry, or how often a connection that could not be made is tried again. With 0,
/// the exceptions are those of the only try.
class MaxRetries {
 public:
  MaxRetries(int total = 0) {
    if (total > 0) retry_.emplace().total = total;
  }
  MaxRetries(Retry retry) : retry_(std::move(retry)) {}
  const std::optional<Retry>& retry() const noexcept { return retry_; }

 private:
  std::optional<Retry> retry_;
};

/// requests.adapters.HTTPAdapter, as Session::mount() takes it.
struct HTTPAdapter {
  MaxRetries max_retries = {};
};

}  // namespace fiber::requests
