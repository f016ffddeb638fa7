// Counts the tries of one request.
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

  // Whether there may be several tries.
  explicit operator bool() const noexcept { return retry_.has_value(); }

  // Counts a failed try. To be called while its exception is handled. Returns if another try is
  // allowed, after pause(); otherwise throws the exception for the caller.
  void after_error(Cause cause, const std::string& method, const std::string& url);
  // Whether to drop this answer and try again after pause(). To be called only if there may be
  // several tries. Throws RetryError, InvalidHeader.
  bool after_answer(const std::string& method, const Response& response);
  void pause();

 private:
  bool is_exhausted() const noexcept;

  std::optional<Retry> retry_;
  int errors_ = 0;
  http::Seconds wait_{};
};

}  // namespace fiber::requests
