#include <fiber/asyncio/embedding.hpp>

#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <algorithm>
#include <limits>

namespace fiber::asyncio {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

// Rounds up as the selector does: deadlines close together are due in one iteration.
std::int64_t whole_milliseconds(std::int64_t nanoseconds) {
  return nanoseconds / kMillisecond + (nanoseconds % kMillisecond > 0 ? 1 : 0);
}

}  // namespace

namespace detail {

int Embedding::fileno() {
  loop_.check_closed();
  if (!embedded_) {
    loop_.selector().add_timer();
    embedded_ = true;
    if (!loop_.is_running()) rest();
  }
  return loop_.selector().fileno();
}

void Embedding::begin_run() noexcept {
  if (!resting_) return;
  resting_ = false;
  loop_.mailbox().wake_up();
}

void Embedding::rest() noexcept {
  resting_ = true;
  loop_.selector().ask();
  loop_.mailbox().fall_asleep();
  std::int64_t deadline = next_deadline();
  loop_.mailbox().expect_push();
  if (deadline != kForever) {
    const std::int64_t now = loop_.now();
    const std::int64_t left = time_left(now, deadline);
    if (left == 0)
      deadline = 0;
    else if (loop_.timers().clock() == nullptr)
      deadline =
          deadline_after(now, whole_milliseconds(std::min(left, kLatest / 2)) * kMillisecond);
    else  // a virtual clock jumps instead of waiting: run at once
      deadline = loop_.outside_work.load() == 0 ? 0 : kForever;
  }
  loop_.selector().set_timer(deadline);
}

void Embedding::ring() noexcept { loop_.selector().set_timer(0); }

std::int64_t Embedding::next_deadline() noexcept {
  if (!loop_.ready_queue().empty() || loop_.selector().ready() || loop_.signals().any())
    return std::min<std::int64_t>(loop_.now(), kForever - 1);
  if (!loop_.mailbox().empty()) return loop_.now();
  return loop_.timers().empty() ? kForever : loop_.timers().soonest();
}

bool Embedding::run_ready(std::int64_t budget) {
  const std::int64_t end = budget > 0 ? deadline_after(loop_.now(), budget) : 0;
  for (;;) {
    Clock* clock = loop_.timers().clock();
    if (clock != nullptr && loop_.outside_work.load() == 0 && next_deadline() > loop_.now())
      clock->jump(next_deadline());
    loop_.run_iteration();
    if (loop_.is_closed()) return false;
    const bool more = next_deadline() <= loop_.now();
    if (!more || budget <= 0 || loop_.now() >= end) return more;
  }
}

}  // namespace detail

int EventLoop::fileno() const { return object().embedding().fileno(); }

bool EventLoop::run_ready(nanoseconds budget) const {
  const EventLoop held(*this);  // a callback may drop the last handle
  held.object().check_closed();
  try {
    held.object().embedding().fileno();
  } catch (const NotImplementedError&) {
    // Without a descriptor to wait for, the host calls this again and again.
  }
  return held.object().embedding().run_ready(budget.count());
}

std::optional<nanoseconds> EventLoop::next_deadline() const {
  object().check_closed();
  const std::int64_t deadline = object().embedding().next_deadline();
  if (deadline == detail::kForever) return std::nullopt;
  return nanoseconds(deadline);
}

int EventLoop::poll_timeout() const {
  const std::optional<nanoseconds> deadline = next_deadline();
  if (!deadline) return -1;
  const std::int64_t left = detail::time_left(object().now(), deadline->count());
  return static_cast<int>(
      std::min<std::int64_t>(whole_milliseconds(left), std::numeric_limits<int>::max()));
}

}  // namespace fiber::asyncio
