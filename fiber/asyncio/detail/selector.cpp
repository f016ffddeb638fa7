#include <fiber/asyncio/detail/selector.hpp>

#include <fiber/asyncio/detail/waiter.hpp>
#include <fiber/asyncio/log.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace fiber::asyncio::detail {

// A child process shares what is behind its parent's descriptors: what it did there, its parent
// would feel. So it gets an epoll of its own, with nothing in it, under the same number; and no
// loop runs in it.
class Forking {
 public:
  static void add(Selector& selector) {
    static const int installed = ::pthread_atfork(before, after, in_child);
    static_cast<void>(installed);
    const std::lock_guard lock(mutex_);
    selector.next_live_ = std::exchange(first_, &selector);
  }
  static void remove(Selector& selector) noexcept {
    const std::lock_guard lock(mutex_);
    Selector** at = &first_;
    while (*at != &selector) at = &(*at)->next_live_;
    *at = selector.next_live_;
  }
  static bool any_has(int fd) noexcept {
    const std::lock_guard lock(mutex_);
    for (const Selector* at = first_; at != nullptr; at = at->next_live_)
      if (fd == at->epoll_ || fd == at->wake_ || fd == at->timer_) return true;
    return false;
  }

 private:
  static void before() { mutex_.lock(); }
  static void after() { mutex_.unlock(); }
  static void in_child() {
    for (Selector* at = first_; at != nullptr; at = at->next_live_) at->renew();
    mutex_.unlock();
    if (core::tls_thread_state == nullptr || core::tls_thread_state->asyncio == nullptr) return;
    AsyncioThread& thread = asyncio_thread();
    thread.running = nullptr;
    thread.set = nullptr;  // not given back: it may be locked by a thread that is not here
  }

  static inline std::mutex mutex_;
  static inline Selector* first_ = nullptr;
};

bool Selector::is_own(int fd) noexcept { return fd >= 0 && Forking::any_has(fd); }

Selector::Selector() {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) raise_os_error(errno, "epoll_create1");
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) {
    const int error = errno;
    ::close(epoll_);
    raise_os_error(error, "eventfd");
  }
  interest(wake_);
  watch_own();
  Forking::add(*this);
}

// Edge-triggered: what has come is reported once and need not be read.
void Selector::watch_own() noexcept {
  for (const int fd : {wake_, timer_}) {
    if (fd < 0) continue;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
}

void Selector::renew() noexcept {
  const auto replace = [](int fd, int by) {
    if (by < 0) return;
    ::dup3(by, fd, O_CLOEXEC);
    ::close(by);
  };
  replace(epoll_, ::epoll_create1(0));
  replace(wake_, ::eventfd(0, EFD_NONBLOCK));
  if (timer_ >= 0) replace(timer_, ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  watch_own();
}

// Other code has closed our descriptors. What it had closed as well is told to those who wait for
// it; the numbers of ours may be somebody else's by now.
void Selector::revive() {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) raise_os_error(errno, "epoll_create1");
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int timer = timer_ < 0 ? -1 : ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (wake < 0 || (timer_ >= 0 && timer < 0)) {
    const int error = errno;
    for (const int fd : {epoll, wake})
      if (fd >= 0) ::close(fd);
    raise_os_error(error, "cannot make the descriptors of the event loop anew");
  }
  epoll_ = epoll;
  wake_ = wake;
  timer_ = timer;
  interest(std::max(wake_, timer_));
  watch_own();
  if (timer_ >= 0) set_timer(std::exchange(timer_set_, std::numeric_limits<std::int64_t>::max()));
  for (std::size_t i = 0; i < interests_.size(); ++i) {
    const int fd = static_cast<int>(i);
    Interest& its = interests_[i];
    its.registered = false;
    if (its.watch != nullptr) {
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
      event.data.fd = fd;
      // Its next call says what is wrong with it.
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0)
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
  Forking::remove(*this);
  detach_all();
  for (Interest& interest : interests_) {
    drop(interest.reader);
    drop(interest.writer);
  }
  ::close(epoll_);
  ::close(wake_);
  if (timer_ >= 0) ::close(timer_);
}

void Selector::drop(HandleObject*& handle) noexcept {
  if (handle == nullptr) return;
  handle->cancel();
  handle->release();
  handle = nullptr;
}

// Makes epoll report what is wanted now; returns 0 or an errno, and then reports nothing.
int Selector::arm(int fd, Interest& interest) noexcept {
  if (interest.watch != nullptr) return 0;
  std::uint32_t wanted =
      (interest.reader != nullptr ? EPOLLIN : 0U) | (interest.writer != nullptr ? EPOLLOUT : 0U);
  if (interest.waits != nullptr) {
    // With a handle the event stays until its cause is gone; without, one report is enough.
    if (wanted == 0) wanted = EPOLLONESHOT;
    for (const DescriptorWait* at = interest.waits; at != nullptr; at = at->next)
      wanted |= at->events;
  }
  if (wanted == interest.events) return 0;
  const int operation =
      wanted == 0 ? EPOLL_CTL_DEL : (interest.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD);
  if (interest.events == 0) ++watched_;
  if (wanted == 0) --watched_;
  interest.events = wanted;
  interest.registered = wanted != 0;
  epoll_event event{};
  event.events = wanted;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_, operation, fd, &event) == 0) return 0;
  // A descriptor that was closed, and perhaps opened anew, without our being told.
  if (operation == EPOLL_CTL_DEL) return 0;
  if (operation == EPOLL_CTL_MOD && errno == ENOENT &&
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0)
    return 0;
  if (operation == EPOLL_CTL_ADD && errno == EEXIST &&
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0)
    return 0;
  --watched_;
  interest.events = 0;
  interest.registered = false;
  return errno;
}

void Selector::update(int fd, Interest& interest) {
  const int error = arm(fd, interest);
  if (error == 0) return;
  drop(interest.reader);
  drop(interest.writer);
  wake_waits(interest, 0, error);
  raise_os_error(error, "cannot watch descriptor " + std::to_string(fd));
}

Selector::Interest& Selector::interest(int fd) {
  if (static_cast<std::size_t>(fd) >= interests_.size())
    interests_.resize(static_cast<std::size_t>(fd) + static_cast<std::size_t>(fd) / 2 + 16);
  return interests_[static_cast<std::size_t>(fd)];
}

void Selector::refuse_watched(int fd) const {
  if (interests_[static_cast<std::size_t>(fd)].watch != nullptr)
    throw RuntimeError("File descriptor " + std::to_string(fd) + " is used by a transport");
}

void Selector::add(int fd, bool writer, HandleObject* handle) {
  struct Release {
    HandleObject* handle;
    ~Release() {
      if (handle != nullptr) handle->release();
    }
  } unused{handle};
  if (fd < 0) throw ValueError("Invalid file descriptor: " + std::to_string(fd));
  Interest& its = interest(fd);
  refuse_watched(fd);
  HandleObject*& slot = writer ? its.writer : its.reader;
  drop(slot);
  slot = std::exchange(unused.handle, nullptr);
  update(fd, its);
}

bool Selector::remove(int fd, bool writer) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= interests_.size()) return false;
  refuse_watched(fd);
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  HandleObject*& slot = writer ? its.writer : its.reader;
  if (slot == nullptr) return false;
  drop(slot);
  update(fd, its);
  return true;
}

// --- watches ------------------------------------------------------------------------------------

void Selector::watch(Watch& watch, int fd) {
  Interest& its = interest(fd);
  refuse_watched(fd);
  // Handles of a descriptor that was closed without our being told.
  drop(its.reader);
  drop(its.writer);
  if (its.events != 0) --watched_;
  its.events = 0;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0 &&
      (!std::exchange(its.registered, false) || errno != EEXIST ||
       ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) != 0)) {
    const int error = errno;
    wake_waits(its, 0, error);
    raise_os_error(error, "cannot watch descriptor " + std::to_string(fd));
  }
  its.registered = false;
  ++watched_;
  its.watch = &watch;
  watch.fd_ = fd;
  watch.previous_ = nullptr;
  watch.next_ = watches_;
  if (watches_ != nullptr) watches_->previous_ = &watch;
  watches_ = &watch;
}

void Selector::unwatch(Watch& watch) noexcept {
  const int fd = watch.fd_;
  if (fd < 0) return;
  watch.fd_ = -1;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  its.watch = nullptr;
  --watched_;
  if (watch.again_) {
    watch.again_ = false;
    std::erase(again_, &watch);
  }
  // Closing would do it, unless the descriptor was duplicated, in a child process for example.
  epoll_event unused{};
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
  if (its.waits == nullptr) return;
  if (const int error = arm(fd, its)) wake_waits(its, 0, error);
}

void Selector::forget(Watch& watch) noexcept {
  if (watches_ != &watch && watch.previous_ == nullptr) return;
  (watch.previous_ != nullptr ? watch.previous_->next_ : watches_) = watch.next_;
  if (watch.next_ != nullptr) watch.next_->previous_ = watch.previous_;
  watch.previous_ = watch.next_ = nullptr;
}

void Selector::again(Watch& watch) {
  if (watch.again_) return;
  again_.push_back(&watch);
  watch.again_ = true;
}

void Selector::detach_all() noexcept {
  while (watches_ != nullptr) {
    Watch& watch = *watches_;
    const int fd = watch.fd_;
    unwatch(watch);
    forget(watch);
    watch.detached(fd);
  }
}

// --- waits --------------------------------------------------------------------------------------

int Selector::wait(DescriptorWait& wait) {
  if (wait.fd < 0) return EBADF;
  Interest& its = interest(wait.fd);
  wait.ready = 0;
  wait.error = 0;
  wait.listed = true;
  wait.next = nullptr;
  DescriptorWait** end = &its.waits;
  wait.previous = nullptr;
  for (; *end != nullptr; end = &(*end)->next) wait.previous = *end;
  *end = &wait;
  if (wait.previous != nullptr && its.events != 0 && its.watch == nullptr) {
    // The others may wait for a descriptor that was closed without our being told: epoll is asked.
    its.events = 0;
    --watched_;
  }
  const int error = arm(wait.fd, its);
  if (error != 0) {
    unlist(its, wait);
    // The others would have failed as well; handles that were there before are gone from epoll.
    wake_waits(its, 0, error);
  }
  return error;
}

void Selector::leave(DescriptorWait& wait) noexcept {
  if (!wait.listed) return;
  Interest& its = interests_[static_cast<std::size_t>(wait.fd)];
  unlist(its, wait);
  if (const int error = arm(wait.fd, its)) wake_waits(its, 0, error);
}

void Selector::closing(int fd) noexcept {
  if (fd < 0 || !has_waits(fd)) return;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  wake_waits(its, 0, EBADF);
  arm(fd, its);
}

void Selector::unlist(Interest& interest, DescriptorWait& wait) noexcept {
  (wait.previous != nullptr ? wait.previous->next : interest.waits) = wait.next;
  if (wait.next != nullptr) wait.next->previous = wait.previous;
  wait.previous = wait.next = nullptr;
  wait.listed = false;
}

// Those that the events concern, or all if there is an error.
void Selector::wake_waits(Interest& interest, std::uint32_t ready, int error) noexcept {
  DescriptorWait* next = nullptr;
  for (DescriptorWait* at = interest.waits; at != nullptr; at = next) {
    next = at->next;
    if (error == 0 && (ready & (at->events | EPOLLERR | EPOLLHUP)) == 0) continue;
    unlist(interest, *at);
    at->ready = ready;
    at->error = error;
    at->waiter->wake();
  }
}

// --- waiting ------------------------------------------------------------------------------------

void Selector::select(LoopObject& loop, std::int64_t timeout) {
  // All that is ready belongs to this iteration, whatever its number.
  if (events_.size() <= watched_) events_.resize(watched_ + watched_ / 2 + 64);
  // Rounded up to milliseconds, as CPython does: deadlines close together fire in one batch.
  constexpr std::int64_t kMillisecond = 1'000'000;
  std::int64_t wait = timeout < 0 ? -1 : (timeout + kMillisecond - 1) / kMillisecond;
  if (!again_.empty()) [[unlikely]] {
    wait = 0;
    again_now_.clear();
    again_now_.swap(again_);
    for (Watch* watch : again_now_) {
      watch->again_ = false;
      watch->ready({.readable = true});
    }
  }
  const int count = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()),
                                 static_cast<int>(wait));
  if (count < 0 && errno == EBADF) [[unlikely]]
    revive();  // what is ready is seen in the next iteration
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    const std::uint32_t ready = event.events;
    Interest& its = interests_[static_cast<std::size_t>(fd)];
    if (its.watch != nullptr) {
      const bool hangup = (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      its.watch->ready({.readable = (ready & EPOLLIN) != 0 || hangup,
                        .writable = (ready & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0,
                        .hangup = hangup});
      if (its.waits != nullptr) wake_waits(its, ready, 0);
      continue;
    }
    if (fd == wake_) {
      std::uint64_t drained = 0;
      (void)!::read(wake_, &drained, sizeof drained);
      continue;
    }
    const bool failed = (ready & (EPOLLERR | EPOLLHUP)) != 0;
    for (HandleObject* handle : {(ready & EPOLLIN) || failed ? its.reader : nullptr,
                                 (ready & EPOLLOUT) || failed ? its.writer : nullptr}) {
      if (handle == nullptr) continue;
      handle->retain();
      loop.push(Entry(handle));
    }
    if (its.waits == nullptr && (its.events & EPOLLONESHOT) == 0) continue;
    if ((its.events & EPOLLONESHOT) != 0) {  // the kernel will say no more of it
      its.events = 0;
      --watched_;
    }
    wake_waits(its, ready, 0);
    if (const int error = arm(fd, its)) wake_waits(its, 0, error);
  }
}

void Selector::wake() noexcept {
  const std::uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
}

void Selector::add_timer() {
  if (timer_ >= 0) return;
  timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer_ < 0) raise_os_error(errno, "timerfd_create");
  interest(timer_);
  watch_own();
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
