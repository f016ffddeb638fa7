// Time limits of one length, which share one timer of the loop: the limit that began first ends
// first. Beginning and leaving a limit costs no more than a change of a list.
#pragma once

#include <fiber/aiohttp/times.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/core/list.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace fiber::aiohttp::detail {

class Deadlines {
 public:
  /// A running limit: a part of the object that is limited.
  class Limited {
   public:
    Limited() = default;
    Limited(const Limited&) = delete;
    Limited& operator=(const Limited&) = delete;

   protected:
    virtual ~Limited() = default;
    /// Called by the loop, once. `without_timer`: early, because there is no memory for a timer.
    virtual void out_of_time(bool without_timer) noexcept = 0;

   private:
    friend class Deadlines;
    friend core::OwnLinks;

    std::optional<std::chrono::nanoseconds> end_;  ///< nothing unless listed
    core::Links<Limited> links;
  };

  Deadlines(asyncio::EventLoop loop, std::chrono::nanoseconds length)
      : loop_(std::move(loop)), length_(length) {}
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;
  ~Deadlines() { cancel(timer_); }

  /// Begins a limit. The limit must be over, by leave() or by its time, before the object is
  /// destroyed.
  void begin(Limited& limited) {
    const auto end = loop_.time() + length_;
    if (!timer_) start_timer(end);
    limited.end_ = end;
    running_.append(limited);
  }
  void leave(Limited& limited) noexcept {
    if (!limited.end_) return;
    limited.end_.reset();
    running_.remove(limited);
  }

 private:
  void start_timer(std::chrono::nanoseconds when) {
    timer_ = loop_.call_at(when, [this] { look(); });
  }
  void look() {
    timer_ = {};
    const auto now = loop_.time();
    while (Limited* first = running_.first()) {
      if (*first->end_ > now) break;
      leave(*first);
      first->out_of_time(false);
    }
    if (running_.empty()) return;
    try {
      start_timer(*running_.first()->end_);
    } catch (...) {
      // Without a timer no limit would end.
      while (Limited* first = running_.first()) {
        leave(*first);
        first->out_of_time(true);
      }
    }
  }

  const asyncio::EventLoop loop_;
  const std::chrono::nanoseconds length_;
  core::List<Limited> running_;
  asyncio::TimerHandle timer_;  ///< not before the first end; goes on for a while without limits
};

}  // namespace fiber::aiohttp::detail
