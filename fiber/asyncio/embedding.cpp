// A loop inside a foreign main loop: see EventLoop::fileno.
//
// While the host has its turn the loop rests: the selector's timer is set to the next deadline, or
// to now if something is ready, and whoever brings work makes the descriptor readable. Other
// threads do so by the selector's eventfd, as if the loop slept; this thread by ring(), which
// push() comes by since `posted_` stays set meanwhile.
#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <algorithm>
#include <limits>

namespace fiber::asyncio {
namespace {

constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMillisecond = 1'000'000;

// As the selector waits: deadlines close together are due in one iteration.
std::int64_t whole_milliseconds(std::int64_t nanoseconds) {
  return (nanoseconds + kMillisecond - 1) / kMillisecond;
}

}  // namespace

namespace detail {

int LoopObject::embed() {
  check_closed();
  if (!embedded_) {
    selector_->add_timer();
    embedded_ = true;
    if (!running_) rest();
  }
  return selector_->fileno();
}

void LoopObject::rest() noexcept {
  resting_ = true;
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::int64_t deadline = next_deadline();
  posted_.store(true, std::memory_order_relaxed);
  if (deadline != kForever) {
    const std::int64_t left = deadline - now();
    if (left <= 0)
      deadline = 0;
    else if (clock_ == nullptr)
      deadline =
          deadline_after(now(), whole_milliseconds(std::min(left, kLatest / 2)) * kMillisecond);
    else  // virtual time passes when the loop would wait, which is now
      deadline = outside_work.load() == 0 ? 0 : kForever;
  }
  selector_->set_timer(deadline);
}

void LoopObject::ring() noexcept { selector_->set_timer(0); }

std::int64_t LoopObject::next_deadline() {
  if (!ready_.empty() || selector_->ready() || signals.load(std::memory_order_relaxed) != 0)
    return std::min<std::int64_t>(now(), kForever - 1);
  {
    const std::lock_guard lock(post_mutex_);
    if (posts_ != nullptr) return now();
  }
  return timers_.empty() ? kForever : timers_.soonest();
}

bool LoopObject::run_ready(std::int64_t budget) {
  const std::int64_t end = budget > 0 ? deadline_after(now(), budget) : 0;
  for (;;) {
    if (clock_ != nullptr && outside_work.load() == 0 && next_deadline() > now())
      clock_->jump(next_deadline());
    run(true);
    if (closed_) return false;
    const bool more = next_deadline() <= now();
    if (!more || budget <= 0 || now() >= end) return more;
  }
}

}  // namespace detail

int EventLoop::fileno() const { return object().embed(); }

bool EventLoop::run_ready(nanoseconds budget) const {
  object().check_closed();
  object().embed();
  return object().run_ready(budget.count());
}

std::optional<nanoseconds> EventLoop::next_deadline() const {
  object().check_closed();
  const std::int64_t deadline = object().next_deadline();
  if (deadline == kForever) return std::nullopt;
  return nanoseconds(deadline);
}

int EventLoop::poll_timeout() const {
  const std::optional<nanoseconds> deadline = next_deadline();
  if (!deadline) return -1;
  const std::int64_t left = std::max<std::int64_t>(0, (*deadline - time()).count());
  return static_cast<int>(
      std::min<std::int64_t>(whole_milliseconds(left), std::numeric_limits<int>::max()));
}

}  // namespace fiber::asyncio
