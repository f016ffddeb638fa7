// The number of tries of a request. Python: requests.adapters, and urllib3.util.Retry.
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

/// The keyword arguments of urllib3.util.Retry. Each number limits the tries after the first one;
/// nothing is no limit.
///
/// A connection that could not be made is tried again for every method: the server has seen no
/// request. Afterwards, only a request whose method is allowed is sent again. Redirects are
/// counted by Session::max_redirects alone.
struct FIBER_API Retry {
  std::optional<int> total = 10;    ///< of all kinds; has priority over the other numbers
  std::optional<int> connect = {};  ///< no connection
  std::optional<int> read = {};     ///< the connection ended or timed out before an answer
  std::optional<int> status = {};   ///< the answer's status is in status_forcelist
  std::optional<int> other = {};    ///< the rest: TLS
  /// Methods that may be sent twice, at first the idempotent ones; nothing for every method.
  std::optional<std::set<std::string>> allowed_methods =
      std::set<std::string>{"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"};
  std::set<int> status_forcelist = {};  ///< answers with these are asked for again
  /// The second try comes at once, the third after backoff_factor * 2 seconds, and each further
  /// wait is twice as long.
  double backoff_factor = 0;
  http::Seconds backoff_max = std::chrono::seconds(120);  ///< the longest wait between two tries
  /// With no try left: true throws RetryError, false returns the last answer.
  bool raise_on_status = true;
  /// Whether answers of 413, 429 and 503 with a Retry-After are asked for again, after that time.
  /// The wait of Retry-After applies to the answers of status_forcelist, too.
  bool respect_retry_after_header = true;
  double backoff_jitter = 0;  ///< a random number of seconds up to this one is added to a wait
  /// The longest wait that a server may ask for. Six hours are Python's default; a session with
  /// waiting users should have less.
  http::Seconds retry_after_max = std::chrono::hours(6);

  /// Whether to ask for an answer again.
  bool is_retry(std::string_view method, int status_code, bool has_retry_after = false) const;
  /// Returns how long to wait after `errors` errors in a row.
  http::Seconds get_backoff_time(int errors) const;
  /// Returns the wait for a value of Retry-After, which is seconds or a date: never negative, at
  /// most retry_after_max. Throws InvalidHeader for any other value.
  http::Seconds parse_retry_after(std::string_view retry_after) const;
};

/// max_retries=: a Retry, or how often a connection that could not be made is tried again. With 0,
/// the exception of the only try is thrown.
class MaxRetries {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  MaxRetries(int total = 0) {
    if (total > 0) retry_.emplace().total = total;
  }
  MaxRetries(Retry retry) : retry_(std::move(retry)) {}
  // NOLINTEND(google-explicit-constructor)
  const std::optional<Retry>& retry() const noexcept { return retry_; }  ///< nothing for 0

 private:
  std::optional<Retry> retry_;
};

/// The adapter that Session::mount() takes. Python: requests.adapters.HTTPAdapter.
struct HTTPAdapter {
  MaxRetries max_retries = {};  ///< for all requests below the mounted prefix
};

}  // namespace fiber::requests
