// Readiness by epoll, wake-ups by an eventfd, time by a timerfd.
#include <fiber/platform/poller.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

static_assert(Events::in == EPOLLIN && Events::urgent == EPOLLPRI && Events::out == EPOLLOUT &&
              Events::error == EPOLLERR && Events::hangup == EPOLLHUP &&
              Events::half_closed == EPOLLRDHUP && Events::once == EPOLLONESHOT &&
              Events::edge == EPOLLET);

// The key of events of the wake-up and the timer, whose numbers may change.
constexpr std::uint64_t kOwn = std::numeric_limits<std::uint64_t>::max();
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

int new_epoll() noexcept { return ::epoll_create1(EPOLL_CLOEXEC); }
int new_wake() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
int new_timer() noexcept { return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

// Makes the number `fd` stand for the file `by`, and closes `by`. Returns false, without any
// change, if `by` is negative.
bool replace(int fd, int by) noexcept {
  if (by < 0) return false;
  const Uncancelled guard;
  const bool replaced = ::dup3(by, fd, O_CLOEXEC) >= 0;
  ::close(by);
  return replaced;
}

class Epoll final : public Poller {
 public:
  Epoll() : events_(64) {}
  ~Epoll() override { Epoll::close(); }

  int open() noexcept;
  int add(int fd, std::uint32_t events, std::uint64_t key) noexcept override {
    return control(EPOLL_CTL_ADD, fd, events, key);
  }
  int modify(int fd, std::uint32_t events, std::uint64_t key) noexcept override {
    return control(EPOLL_CTL_MOD, fd, events, key);
  }
  int remove(int fd) noexcept override { return control(EPOLL_CTL_DEL, fd, 0, 0); }
  int wait(std::span<Event> events, int milliseconds, const Wishes& wishes) override;
  void wake() noexcept override;
  bool renew() noexcept override;
  int revive() noexcept override;
  void forked() noexcept override;
  void close() noexcept override;
  std::span<std::atomic<int>> own() noexcept override { return own_; }
  int move(std::atomic<int>& own, int first) noexcept override;
  int add_timer() noexcept override;
  int fileno() const noexcept override { return outer_; }
  void set_timer(std::int64_t when) noexcept override;

 private:
  int control(int operation, int fd, std::uint32_t events, std::uint64_t key) noexcept;
  int watch_own(int fd) noexcept { return control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, kOwn); }
  int watch_inner(int outer) noexcept;
  void watch_all_own() noexcept;
  bool make_room(std::size_t events) noexcept;

  std::array<std::atomic<int>, 4> own_{-1, -1, -1, -1};
  std::atomic<int>& epoll_ = own_[0];
  std::atomic<int>& outer_ = own_[1];  // readable when epoll_ is, which may be replaced
  std::atomic<int>& wake_ = own_[2];
  std::atomic<int>& timer_ = own_[3];
  std::atomic<bool> woken_{false};  // an event of wake_ is on its way
  std::int64_t timer_set_ = kNever;
  std::vector<epoll_event> events_;
};

int Epoll::open() noexcept {
  epoll_ = new_epoll();
  if (epoll_ < 0) return errno;
  wake_ = new_wake();
  return wake_ < 0 ? errno : watch_own(wake_);
}

int Epoll::control(int operation, int fd, std::uint32_t events, std::uint64_t key) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(epoll_, operation, fd, &event) == 0 ? 0 : errno;
}

int Epoll::watch_inner(int outer) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(outer, EPOLL_CTL_ADD, epoll_, &event) == 0 ? 0 : errno;
}

void Epoll::watch_all_own() noexcept {
  watch_own(wake_);
  if (timer_ >= 0) watch_own(timer_);
  if (outer_ >= 0) watch_inner(outer_);
}

bool Epoll::make_room(std::size_t events) noexcept {
  try {
    events_.resize(events);
    return true;
  } catch (const std::bad_alloc&) {
    return false;  // the other events are reported by the next call
  }
}

int Epoll::wait(std::span<Event> events, int milliseconds, const Wishes& /*wishes*/) {
  if (events_.size() < events.size()) [[unlikely]]
    make_room(events.size());
  const std::size_t room = std::min(events.size(), events_.size());
  const auto most = static_cast<int>(room);
  int count = ::epoll_wait(epoll_, events_.data(), most, milliseconds);
  // A sandbox that was made for other programs may allow epoll_pwait alone.
  if (count < 0 && errno != EINTR && errno != EBADF && errno != EINVAL) [[unlikely]]
    count = ::epoll_pwait(epoll_, events_.data(), most, milliseconds, nullptr);
  int reported = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    // Each write to the eventfd is an edge of its own, so its counter, which 2^64 writes would
    // fill, is not read.
    if (event.data.u64 == kOwn) [[unlikely]] {
      // Acquires what was done before a call of wake() that has relied on this event.
      woken_.exchange(false, std::memory_order_acq_rel);
      continue;
    }
    events[static_cast<std::size_t>(reported++)] = {event.data.u64, event.events};
  }
  return count < 0 ? count : reported;
}

void Epoll::wake() noexcept {
  if (wake_ < 0) return;  // closed
  // One write is enough until the owner sees it: other threads may call a hundred times meanwhile.
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  const Uncancelled guard;
  const std::uint64_t one = 1;
  ssize_t written = 0;
  while ((written = ::write(wake_, &one, sizeof one)) < 0 && errno == EINTR) {
  }
  if (written < 0) woken_.store(false, std::memory_order_relaxed);
}

bool Epoll::renew() noexcept {
  if (!replace(epoll_, new_epoll())) return false;
  watch_all_own();
  return true;
}

int Epoll::revive() noexcept {
  const int epoll = new_epoll();
  const int wake = new_wake();
  const int timer = timer_ < 0 ? -1 : new_timer();
  const int outer = outer_ < 0 ? -1 : new_epoll();
  if (epoll < 0 || wake < 0 || (timer_ >= 0 && timer < 0) || (outer_ >= 0 && outer < 0)) {
    const int error = errno;
    const Uncancelled guard;
    for (const int fd : {epoll, wake, timer, outer})
      if (fd >= 0) ::close(fd);
    return error;
  }
  epoll_ = epoll;
  wake_ = wake;
  woken_.store(false, std::memory_order_relaxed);
  timer_ = timer;
  outer_ = outer;
  watch_all_own();
  if (timer_ >= 0) set_timer(std::exchange(timer_set_, kNever));
  return 0;
}

// A child process shares the files behind its parent's descriptors: changes there would affect the
// parent.
void Epoll::forked() noexcept {
  replace(epoll_, new_epoll());
  replace(wake_, new_wake());
  woken_.store(false, std::memory_order_relaxed);
  if (timer_ >= 0) replace(timer_, new_timer());
  if (outer_ >= 0) replace(outer_, new_epoll());
  watch_all_own();
}

void Epoll::close() noexcept {
  const Uncancelled guard;
  for (std::atomic<int>& own : own_)
    if (const int fd = own.exchange(-1); fd >= 0) ::close(fd);
}

// epoll knows descriptors by number and file: the new one is registered again.
int Epoll::move(std::atomic<int>& own, int first) noexcept {
  const int before = own;
  const int moved = ::fcntl(before, F_DUPFD_CLOEXEC, first);
  if (moved < 0) return errno == EINVAL ? EMFILE : errno;
  const bool is_watched = &own == &wake_ || &own == &timer_;
  if (is_watched)
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, before, nullptr);
  else if (&own == &epoll_ && outer_ >= 0)
    ::epoll_ctl(outer_, EPOLL_CTL_DEL, before, nullptr);
  own = moved;
  if (is_watched)
    watch_own(moved);
  else if (&own == &epoll_ && outer_ >= 0)
    watch_inner(outer_);
  return 0;
}

int Epoll::add_timer() noexcept {
  if (timer_ >= 0) return 0;
  const int outer = new_epoll();
  if (outer < 0) return errno;
  const int timer = new_timer();
  int error = timer < 0 ? errno : watch_own(timer);
  if (error == 0) error = watch_inner(outer);
  if (error != 0) {
    const Uncancelled guard;
    if (timer >= 0) ::close(timer);
    ::close(outer);
    return error;
  }
  outer_ = outer;
  timer_ = timer;
  return 0;
}

void Epoll::set_timer(std::int64_t when) noexcept {
  constexpr std::int64_t kSecond = 1'000'000'000;
  if (when == kNever && timer_set_ == kNever) return;
  timer_set_ = when;
  itimerspec time{};
  if (when != kNever) {
    const std::int64_t at = std::max<std::int64_t>(when, 1);  // 0 would disarm it
    time.it_value.tv_sec = at / kSecond;
    time.it_value.tv_nsec = at % kSecond;
  }
  ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &time, nullptr);
}

}  // namespace

std::unique_ptr<Poller> Poller::make() { return opened<Epoll>(); }

}  // namespace fiber::platform
