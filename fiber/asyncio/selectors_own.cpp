// The descriptors that a selector has for itself: epoll, an eventfd for wake-ups, and the one for
// which a foreign main loop waits. They are made anew in a child process, and when other code has
// closed them.
#include <fiber/asyncio/selectors.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/core/undying.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace fiber::asyncio::detail {

// A child process shares the files behind its parent's descriptors: changes there would affect the
// parent. So the child gets an epoll of its own, empty, under the old number; and no loop runs in
// it.
class Forking {
 public:
  static void add(Selector& selector) {
    static const bool done = (core::at_fork(before, after, in_child), true);
    static_cast<void>(done);
    const std::lock_guard lock(mutex_);
    all_.prepend(selector);
  }
  static void remove(Selector& selector) noexcept {
    const std::lock_guard lock(mutex_);
    all_.remove(selector);
  }
  static bool any_has(int fd) noexcept {
    const std::lock_guard lock(mutex_);
    for (const Selector& each : all_)
      if (fd == each.epoll_ || fd == each.wake_ || fd == each.timer_ || fd == each.outer_)
        return true;
    return false;
  }
  // Calls `visit(selector, place)` for each number that a selector of the process has, until it
  // returns true. Under the lock, so it must not close anything: close() may be patched, and ask
  // whether a number is a selector's.
  template <class F>
  static void visit_until(F visit) noexcept {
    const std::lock_guard lock(mutex_);
    for (Selector& each : all_)
      for (std::atomic<int>* own : {&each.epoll_, &each.wake_, &each.timer_, &each.outer_})
        if (*own >= 0 && visit(each, *own)) return;
  }

 private:
  static void before() { mutex_.lock(); }
  static void after() { mutex_.unlock(); }
  static void in_child() {
    for (Selector& each : all_) each.forked();
    mutex_.unlock();
    AsyncioThread* thread = asyncio_thread_of(core::tls_thread_state);
    if (thread == nullptr) return;
    thread->running = nullptr;
    thread->set = nullptr;  // not released: a thread that does not exist here may have locked it
  }

  static inline std::mutex mutex_;
  static inline core::List<Selector, Selector::AllLinks> all_;
};

bool Selector::is_own(int fd) noexcept { return fd >= 0 && Forking::any_has(fd); }

int Selector::make_way(int fd) noexcept {
  int error = 0;
  bool moved = false;
  Forking::visit_until([&](Selector& selector, std::atomic<int>& own) {
    if (own != fd) return false;
    error = selector.move(own, fd + 1);
    moved = error == 0;
    return true;
  });
  if (moved) ::close(fd);
  return error;
}

void Selector::leave_below(int first) noexcept {
  for (int left = 0; left >= 0;) {
    left = -1;
    Forking::visit_until([&](Selector& selector, std::atomic<int>& own) {
      const int before = own;
      if (before >= first || selector.move(own, first) != 0) return false;
      left = before;
      return true;
    });
    if (left >= 0) ::close(left);
  }
}

// Moves a descriptor, and leaves the old number open. epoll knows descriptors by number and file:
// the new one is registered again.
int Selector::move(std::atomic<int>& own, int first) noexcept {
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

Selector::Selector() {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) raise_os_error(errno, "epoll_create1");
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) {
    const int error = errno;
    ::close(epoll_);
    raise_os_error(error, "eventfd");
  }
  try {
    events_.resize(64);
    if (const int error = watch_own(wake_)) raise_os_error(error, "epoll_ctl");
    Forking::add(*this);
  } catch (...) {
    ::close(epoll_);
    ::close(wake_);
    throw;
  }
}

// Watches a descriptor of the selector's own. Edge-triggered: an event is reported once and need
// not be read. Returns 0 or an errno.
int Selector::watch_own(int fd) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kOwn;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int Selector::watch_inner(int outer) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(outer, EPOLL_CTL_ADD, epoll_, &event) == 0 ? 0 : errno;
}

void Selector::watch_all_own() noexcept {
  watch_own(wake_);
  if (timer_ >= 0) watch_own(timer_);
  if (outer_ >= 0) watch_inner(outer_);
}

namespace {

// Puts the file `by` under the number `fd`; returns false, without any change, if `by` is none.
bool replace(int fd, int by) noexcept {
  if (by < 0) return false;
  const bool replaced = ::dup3(by, fd, O_CLOEXEC) >= 0;
  ::close(by);
  return replaced;
}

}  // namespace

void Selector::forked() noexcept {
  forked_ = true;
  replace(epoll_, ::epoll_create1(EPOLL_CLOEXEC));
  replace(wake_, ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (timer_ >= 0) replace(timer_, ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (outer_ >= 0) replace(outer_, ::epoll_create1(EPOLL_CLOEXEC));
  watch_all_own();
}

// Makes a new epoll without registrations whose files have lost their numbers: no call can remove
// them, since the numbers stand for other files. Without a descriptor for a new epoll nothing
// changes until the next event of such a registration.
void Selector::renew() noexcept {
  if (!replace(epoll_, ::epoll_create1(EPOLL_CLOEXEC))) return;
  watch_all_own();
  for (std::size_t i = 0; i < interests_.size(); ++i) {
    Interest& its = interests_[i];
    const int fd = static_cast<int>(i);
    its.registered = false;
    if (its.watch != nullptr) {
      control(EPOLL_CTL_ADD, fd, its, kWatchEvents);
    } else if (its.events != 0 && control(EPOLL_CTL_ADD, fd, its, its.events) == 0) {
      its.registered = true;
    } else if (its.events != 0) {
      its.events = 0;
      --watched_;
    }
  }
}

// Makes the selector's descriptors anew after other code has closed them. Waits for other
// descriptors that it has closed are woken; the old numbers may belong to other code by now.
void Selector::revive() {
  int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int timer = timer_ < 0 ? -1 : ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  int outer = outer_ < 0 ? -1 : ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0 || wake < 0 || (timer_ >= 0 && timer < 0) || (outer_ >= 0 && outer < 0)) {
    const int error = errno;
    for (const int fd : {epoll, wake, timer, outer})
      if (fd >= 0) ::close(fd);
    raise_os_error(error, "cannot make the descriptors of the event loop anew");
  }
  epoll_ = epoll;
  wake_ = wake;
  timer_ = timer;
  outer_ = outer;
  watch_all_own();
  if (timer_ >= 0) set_timer(std::exchange(timer_set_, std::numeric_limits<std::int64_t>::max()));
  for (std::size_t i = 0; i < interests_.size(); ++i) {
    const int fd = static_cast<int>(i);
    Interest& its = interests_[i];
    its.registered = false;
    if (its.watch != nullptr) {
      // The watch's next system call returns the error.
      if (control(EPOLL_CTL_ADD, fd, its, kWatchEvents) != 0)
        its.watch->ready({.readable = true, .writable = true, .hangup = true});
      continue;
    }
    if (its.events != 0) --watched_;
    its.events = 0;
    if (const int error = arm(fd, its)) wake_waits(its, 0, error);
  }
  log(LogLevel::warning,
      "asyncio: other code has closed descriptors of the event loop (closefrom?); the loop goes on "
      "with new ones");
}

Selector::~Selector() {
  if (epoll_ >= 0) close();
}

void Selector::close_own() noexcept {
  Forking::remove(*this);
  for (std::atomic<int>* own : {&epoll_, &wake_, &timer_, &outer_})
    if (const int fd = own->exchange(-1); fd >= 0) ::close(fd);
}

void Selector::wake() noexcept {
  if (wake_ < 0) return;  // closed
  const std::uint64_t one = 1;
  while (::write(wake_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void Selector::add_timer() {
  if (timer_ >= 0) return;
  const int outer = ::epoll_create1(EPOLL_CLOEXEC);
  if (outer < 0) raise_os_error(errno, "epoll_create1");
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  try {
    if (timer < 0) raise_os_error(errno, "timerfd_create");
    if (const int error = watch_own(timer)) raise_os_error(error, "epoll_ctl");
    if (const int error = watch_inner(outer)) raise_os_error(error, "epoll_ctl");
  } catch (...) {
    if (timer >= 0) ::close(timer);
    ::close(outer);
    throw;
  }
  outer_ = outer;
  timer_ = timer;
  ++watched_;
}

void Selector::set_timer(std::int64_t when) noexcept {
  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
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

}  // namespace fiber::asyncio::detail
