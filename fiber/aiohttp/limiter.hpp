// Limits the number of connections, in all and per host; first come, first served.
#pragma once

#include <fiber/aiohttp/recent_map.hpp>
#include <fiber/core/list.hpp>

#include <cstddef>
#include <functional>
#include <string>

namespace fiber::aiohttp::detail {

class Limiter {
  struct Host {
    std::size_t taken = 0;
    std::size_t slots = 0;  ///< slots and waiters
  };
  using Hosts = RecentMap<std::string, Host>;
  using Entry = Hosts::Entry;

 public:
  /// 0: no limit.
  Limiter(std::size_t limit, std::size_t limit_per_host)
      : limit_(limit), limit_per_host_(limit_per_host) {}

  /// A place in the queue, and then a slot until it is destroyed. The limiter must live longer.
  class Slot {
   public:
    /// Takes a slot or a place in the queue. `granted`, which must not throw, is called when a
    /// waiter gets its slot, not for a slot that is free at once.
    Slot(Limiter& limiter, const std::string& host, std::function<void()> granted)
        : limiter_(limiter), on_grant_(std::move(granted)), host_(&limiter.hosts_.entry(host)) {
      ++host_->second.slots;
      granted_ = limiter_.take(*host_);
      if (!granted_) limiter_.waiting_.append(*this);
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
      if (granted_) {
        --limiter_.taken_;
        --host_->second.taken;
      } else {
        limiter_.waiting_.remove(*this);
      }
      if (--host_->second.slots == 0) limiter_.hosts_.erase(*host_);
      if (granted_) limiter_.serve();
    }

    bool granted() const noexcept { return granted_; }
    const std::string& host() const noexcept { return host_->first; }

   private:
    friend class Limiter;

    friend core::OwnLinks;

    Limiter& limiter_;
    std::function<void()> on_grant_;
    Entry* host_;
    bool granted_ = false;
    core::Links<Slot> links;
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
    if (full(taken_, limit_)) return;
    for (Slot& slot : waiting_) {
      if (!take(*slot.host_)) continue;
      waiting_.remove(slot);
      slot.granted_ = true;
      slot.on_grant_();
      return;
    }
  }
  static bool full(std::size_t taken, std::size_t limit) { return limit != 0 && taken >= limit; }

  std::size_t limit_;
  std::size_t limit_per_host_;
  std::size_t taken_ = 0;
  Hosts hosts_;
  core::List<Slot> waiting_;
};

}  // namespace fiber::aiohttp::detail
