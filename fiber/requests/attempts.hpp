// Counts what a Retry allows for one request.
#pragma once

#include <fiber/requests/adapters.hpp>
#include <fiber/requests/models.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace fiber::requests {

class Attempts {
 public:
  enum class Cause { connect, read, other };

  explicit Attempts(std::optional<Retry> retry) : retry_(std::move(retry)) {}

  // Whether there may be several.
  explicit operator bool() const noexcept { return retry_.has_value(); }

  // To be called while an exception is handled. Waits, and returns, for another try; throws what is
  // to be told if there is none.
  void after_error(Cause cause, const std::string& method, const std::string& url);
  // For several: whether to drop this answer and try again after pause(). Throws RetryError,
  // InvalidHeader.
  bool after_answer(const std::string& method, const Response& response);
  void pause();

 private:
  bool is_exhausted() const noexcept;

  std::optional<Retry> retry_;
  int errors_ = 0;
  http::Seconds wait_{};
};

}  // namespace fiber::requests
