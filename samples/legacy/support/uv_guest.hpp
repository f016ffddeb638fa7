// A libuv loop driven by ours. It exposes a descriptor and a timeout, as many libraries do: our
// loop watches the descriptor, sets a timer for the timeout, and lets libuv run its ready
// callbacks.
#pragma once

#include <fiber/asyncio.hpp>
#include <uv.h>

#include <chrono>

class UvGuest {
 public:
  UvGuest(const fiber::asyncio::EventLoop& loop, uv_loop_t* uv) : loop_(loop), uv_(uv) {
    loop_.add_reader(uv_backend_fd(uv_), [this] { turn(); });
    turn();
  }
  UvGuest(const UvGuest&) = delete;
  UvGuest& operator=(const UvGuest&) = delete;
  ~UvGuest() {
    timer_.cancel();
    loop_.remove_reader(uv_backend_fd(uv_));
  }

  // To be called after handles were started outside of libuv's callbacks: libuv finds them in a
  // turn.
  void turn() {
    ++turns_;
    timer_.cancel();
    uv_run(uv_, UV_RUN_NOWAIT);
    // A loop with nothing to do returns 0, because it wants to end.
    const int timeout = uv_loop_alive(uv_) != 0 ? uv_backend_timeout(uv_) : -1;
    if (timeout >= 0)
      timer_ = loop_.call_later(std::chrono::milliseconds(timeout), [this] { turn(); });
  }

  int turns() const { return turns_; }

 private:
  fiber::asyncio::EventLoop loop_;
  uv_loop_t* uv_;
  fiber::asyncio::TimerHandle timer_;
  int turns_ = 0;
};
