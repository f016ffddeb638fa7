// Limits the number of connections, in all and per host; first come, first served.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace fiber::aiohttp::detail {

class Limiter {
  struct Host {
    std::size_t taken = 0;
    std::size_t slots = 0;  ///< slots and waiters
  };
  using Entry = std::pair<const std::string, Host>;

 public:
  /// 0: no limit.
  Limiter(std::size_t limit, std::size_t limit_per_host)
      : limit_(limit), limit_per_host_(limit_per_host) {}

  /// A place in the queue, and then a slot until it is destroyed. The limiter must live longer.
  class Slot {
   public:
    /// Takes a slot or a place in the queue. `granted`, which must not throw, is called when a
    /// waiter gets its slot, not for a slot that is free at once.
    Slot(Limiter& limiter, std::string host, std::function<void()> granted)
        : limiter_(limiter),
          on_grant_(std::move(granted)),
          place_{this},
          at_(place_.begin()),
          host_(&*limiter.hosts_.try_emplace(std::move(host)).first) {
      ++host_->second.slots;
      granted_ = limiter_.take(*host_);
      if (!granted_) limiter_.waiting_.splice(limiter_.waiting_.end(), place_);
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
      if (granted_) {
        --limiter_.taken_;
        --host_->second.taken;
      } else {
        limiter_.waiting_.erase(at_);
      }
      if (--host_->second.slots == 0) limiter_.hosts_.erase(limiter_.hosts_.find(host_->first));
      if (granted_) limiter_.serve();
    }

    bool granted() const noexcept { return granted_; }

   private:
    friend class Limiter;

    Limiter& limiter_;
    std::function<void()> on_grant_;
    std::list<Slot*> place_;  ///< its node while not in the queue: granting needs no memory
    std::list<Slot*>::iterator at_;
    Entry* host_;
    bool granted_ = false;
  };

 private:
  bool take(Entry& host) noexcept {
    if (full(taken_, limit_) || full(host.second.taken, limit_per_host_)) return false;
    ++taken_;
    ++host.second.taken;
    return true;
  }
  /// Gives the freed slot to the oldest waiter whose host is below its limit, if there is one. A
  /// waiter whose host is at its limit holds up no other.
  void serve() {
    for (auto next = waiting_.begin(); next != waiting_.end(); ++next) {
      Slot& slot = **next;
      if (full(taken_, limit_)) return;
      if (!take(*slot.host_)) continue;
      slot.granted_ = true;
      slot.place_.splice(slot.place_.begin(), waiting_, next);
      slot.on_grant_();
      return;
    }
  }
  static bool full(std::size_t taken, std::size_t limit) { return limit != 0 && taken >= limit; }

  std::size_t limit_;
  std::size_t limit_per_host_;
  std::size_t taken_ = 0;
  std::unordered_map<std::string, Host> hosts_;
  std::list<Slot*> waiting_;
};

}  // namespace fiber::aiohttp::detail
