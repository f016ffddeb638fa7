#include <fiber/requests/adapters.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/random.hpp>
#include <fiber/http/set_cookie.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>
#include <fiber/requests/attempts.hpp>
#include <fiber/requests/exceptions.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <exception>
#include <thread>

namespace fiber::requests {
namespace {

bool is_allowed(const Retry& retry, std::string_view method) {
  return !retry.allowed_methods || retry.allowed_methods->empty() ||
         retry.allowed_methods->contains(http::upper(method));
}

// Returns the message of an exhausted Retry:
// "HTTPConnectionPool(host='127.0.0.1', port=80): Max retries exceeded with url: / (Caused by ...)"
std::string exceeded(const std::string& url, const std::string& cause) {
  const std::string origin = http::origin_of(url);
  const auto colon = origin.rfind(':');
  const PreparedRequest request{{}, url, {}, {}};
  return std::string(url.starts_with("https") ? "HTTPS" : "HTTP") + "ConnectionPool(host='" +
         origin.substr(0, colon) + "', port=" + origin.substr(colon + 1) +
         "): Max retries exceeded with url: " + request.path_url() + " (Caused by " + cause + ")";
}

void take_one(std::optional<int>& count) {
  if (count) --*count;
}

}  // namespace

bool Retry::is_retry(std::string_view method, int status_code, bool has_retry_after) const {
  if (!is_allowed(*this, method)) return false;
  if (status_forcelist.contains(status_code)) return true;
  return total.value_or(0) != 0 && respect_retry_after_header && has_retry_after &&
         (status_code == 413 || status_code == 429 || status_code == 503);
}

http::Seconds Retry::get_backoff_time(int errors) const {
  if (errors <= 1) return {};
  double seconds = std::ldexp(backoff_factor, errors - 1);
  if (backoff_jitter != 0) seconds += http::random_fraction() * backoff_jitter;
  return http::Seconds(std::max(0.0, std::min(backoff_max.count(), seconds)));
}

http::Seconds Retry::parse_retry_after(std::string_view given) const {
  const auto first = given.find_first_not_of(" \t");
  const std::string text(first == given.npos
                             ? std::string_view()
                             : given.substr(first, given.find_last_not_of(" \t") - first + 1));
  double seconds = 0;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_digit)) {
    for (const char c : text) seconds = seconds * 10 + (c - '0');
  } else {
    const auto date = http::parse_cookie_date(text);
    if (!date) throw InvalidHeader("Invalid Retry-After header: " + std::string(given));
    seconds = static_cast<double>(*date) - static_cast<double>(std::time(nullptr));
  }
  return http::Seconds(std::max(0.0, std::min(seconds, retry_after_max.count())));
}

bool Attempts::is_exhausted() const noexcept {
  const auto below = [](const std::optional<int>& count) { return count && *count < 0; };
  return below(retry_->total) || below(retry_->connect) || below(retry_->read) ||
         below(retry_->status) || below(retry_->other);
}

void Attempts::after_error(Cause cause, const std::string& method, const std::string& url) {
  if (!retry_) throw;
  if (cause == Cause::read && !is_allowed(*retry_, method)) throw;
  take_one(retry_->total);
  take_one(cause == Cause::connect ? retry_->connect
           : cause == Cause::read  ? retry_->read
                                   : retry_->other);
  ++errors_;
  if (is_exhausted()) {
    const std::string text = exceeded(url, repr(std::current_exception()));
    try {
      throw;
    } catch (const ConnectTimeout&) {
      throw ConnectTimeout(text);
    } catch (const ProxyError&) {
      throw ProxyError(text);
    } catch (const SSLError&) {
      throw SSLError(text);
    } catch (const RequestException&) {
      throw ConnectionError(text);
    }
  }
  wait_ = retry_->get_backoff_time(errors_);
}

bool Attempts::after_answer(const std::string& method, const Response& response) {
  const std::string after = response.headers.get("Retry-After");
  if (!retry_->is_retry(method, response.status_code, !after.empty())) return false;
  take_one(retry_->total);
  take_one(retry_->status);
  ++errors_;
  if (is_exhausted()) {
    if (!retry_->raise_on_status) return false;
    throw RetryError(exceeded(
        response.url,
        "ResponseError('too many " + std::to_string(response.status_code) + " error responses')"));
  }
  wait_ = {};
  if (retry_->respect_retry_after_header && response.headers.contains("Retry-After"))
    wait_ = retry_->parse_retry_after(after);
  if (wait_.count() <= 0) wait_ = retry_->get_backoff_time(errors_);
  return true;
}

void Attempts::pause() {
  constexpr http::Seconds longest = std::chrono::hours(24 * 365);
  if (wait_.count() > 0) std::this_thread::sleep_for(std::min(wait_, longest));
}

}  // namespace fiber::requests
