// An exchange in progress, driven by whoever waits for it.
#pragma once

#include <fiber/http/transfer.hpp>
#include <fiber/requests.hpp>
#include <fiber/requests/attempts.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace fiber::requests {

// What a session and the responses still being streamed from it share. Each exchange has a multi
// handle to itself, so that threads never meet in one; its connections stay in it for the next.
struct Session::Core {
  std::shared_ptr<http::Shared> shared = std::make_shared<http::Shared>();
  std::mutex mutex;
  std::vector<http::Multi> idle;

  Core() { idle.reserve(10); }  // so many are kept, and release() does not allocate

  http::Multi acquire() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return http::new_multi();
    http::Multi multi = std::move(idle.back());
    idle.pop_back();
    return multi;
  }

  void release(http::Multi multi) noexcept {
    const std::lock_guard lock(mutex);
    if (idle.size() < idle.capacity()) idle.push_back(std::move(multi));
  }
};

// Throws the exception for a failure.
[[noreturn]] void raise(const http::Failure& failure);
// A number of seconds, for a message.
std::string in_seconds(http::Seconds duration);

class Response::Stream {
 public:
  // How often requests to an URL are tried.
  using Adapters = std::function<Attempts(const std::string& url)>;

  Stream(std::shared_ptr<Session::Core> core, http::Outgoing request,
         std::optional<http::Seconds> read_timeout, std::size_t limit);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  http::Transfer& transfer() noexcept { return transfer_; }
  // Its head, and those before it.
  Response response();

  // Waits until the head of the final answer is there: after redirects, further tries and the
  // answer to a challenge.
  void read_head(const Adapters& adapters, const std::optional<HTTPDigestAuth>& digest);
  // Waits for the whole body; the limit must allow for it.
  std::string read_all();
  // Up to n bytes, fewer only at the end; n = 0: what there is, at least one. "" at the end.
  std::string read(std::size_t n);

 private:
  template <class Enough>
  void drive(Enough enough);
  void next_hop();
  void check();
  int milliseconds_to_wait() const;
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
  http::Multi multi_;  // last: it is not taken for a request that is refused
};

}  // namespace fiber::requests
