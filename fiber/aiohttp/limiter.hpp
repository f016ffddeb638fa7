// Who may have a connection: at most so many in all and per host, first come, first served.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace fiber::aiohttp::detail {

class Limiter {
 public:
  /// 0: no limit.
  Limiter(std::size_t limit, std::size_t limit_per_host)
      : limit_(limit), limit_per_host_(limit_per_host) {}

  /// A place in the queue and then a slot, until it is destroyed. The limiter outlives it.
  class Slot {
   public:
    /// `granted`, which must not throw, is called when the slot is there, unless it is at once.
    Slot(Limiter& limiter, std::string host, std::function<void()> granted)
        : limiter_(limiter), host_(std::move(host)), on_grant_(std::move(granted)) {
      granted_ = limiter_.take(host_);
      if (!granted_) place_ = limiter_.waiting_.insert(limiter_.waiting_.end(), this);
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
      if (!granted_) {
        limiter_.waiting_.erase(place_);
      } else {
        --limiter_.taken_;
        if (const auto host = limiter_.hosts_.find(host_); --host->second == 0)
          limiter_.hosts_.erase(host);
        limiter_.serve();
      }
    }

    bool granted() const noexcept { return granted_; }

   private:
    friend class Limiter;

    Limiter& limiter_;
    std::string host_;
    std::function<void()> on_grant_;
    std::list<Slot*>::iterator place_;
    bool granted_ = false;
  };

 private:
  bool take(const std::string& host) {
    if (full(taken_, limit_)) return false;
    std::size_t& of_host = hosts_[host];
    if (full(of_host, limit_per_host_)) return false;
    ++taken_;
    ++of_host;
    return true;
  }
  /// Gives the freed slot to the oldest waiter whose host is below its limit, if there is one. A
  /// waiter whose host is at its limit holds up no other.
  void serve() {
    for (auto next = waiting_.begin(); next != waiting_.end(); ++next) {
      Slot& slot = **next;
      if (full(taken_, limit_)) return;
      if (!take(slot.host_)) continue;
      slot.granted_ = true;
      waiting_.erase(next);
      slot.on_grant_();
      return;
    }
  }
  static bool full(std::size_t taken, std::size_t limit) { return limit != 0 && taken >= limit; }

  std::size_t limit_;
  std::size_t limit_per_host_;
  std::size_t taken_ = 0;
  std::unordered_map<std::string, std::size_t> hosts_;  ///< slots taken of each
  std::list<Slot*> waiting_;
};

}  // namespace fiber::aiohttp::detail
