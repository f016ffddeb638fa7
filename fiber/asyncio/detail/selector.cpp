#include <fiber/asyncio/detail/selector.hpp>

#include <algorithm>
#include <cerrno>

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace fiber::asyncio::detail {

Selector::Selector() {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) raise_os_error(errno, "epoll_create1");
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) {
    const int error = errno;
    ::close(epoll_);
    raise_os_error(error, "eventfd");
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.fd = wake_;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  interest(wake_);
}

Selector::~Selector() {
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

void Selector::update(int fd, Interest& interest) {
  const std::uint32_t wanted = (interest.reader != nullptr ? EPOLLIN : 0U) |
                               (interest.writer != nullptr ? EPOLLOUT : 0U);
  if (wanted == interest.events) return;
  epoll_event event{};
  event.events = wanted;
  event.data.fd = fd;
  const int operation =
      wanted == 0 ? EPOLL_CTL_DEL : (interest.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
  if (interest.events == 0) ++watched_;
  if (wanted == 0) --watched_;
  interest.events = wanted;
  if (::epoll_ctl(epoll_, operation, fd, &event) == 0) return;
  // A descriptor that was closed, and perhaps opened anew, without our being told.
  if (operation == EPOLL_CTL_DEL) return;
  if (operation == EPOLL_CTL_MOD && errno == ENOENT &&
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0)
    return;
  if (operation == EPOLL_CTL_ADD && errno == EEXIST &&
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0)
    return;
  const int error = errno;
  --watched_;
  interest.events = 0;
  drop(interest.reader);
  drop(interest.writer);
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
  if (its.events != 0) {  // handles of a descriptor that was closed without our being told
    drop(its.reader);
    drop(its.writer);
    update(fd, its);
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0)
    raise_os_error(errno, "cannot watch descriptor " + std::to_string(fd));
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
  interests_[static_cast<std::size_t>(fd)].watch = nullptr;
  --watched_;
  if (watch.again_) {
    watch.again_ = false;
    std::erase(again_, &watch);
  }
  // Closing would do it, unless the descriptor was duplicated, in a child process for example.
  epoll_event unused{};
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
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
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    const std::uint32_t ready = event.events;
    const Interest& its = interests_[static_cast<std::size_t>(fd)];
    if (its.watch != nullptr) {
      const bool hangup = (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      its.watch->ready({.readable = (ready & EPOLLIN) != 0 || hangup,
                        .writable = (ready & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0,
                        .hangup = hangup});
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
  // Edge-triggered: what has expired is reported once and need not be read.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.fd = timer_;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event) != 0) {
    const int error = errno;
    ::close(std::exchange(timer_, -1));
    raise_os_error(error, "cannot watch a timer");
  }
  ++watched_;
}

void Selector::arm(std::int64_t when) noexcept {
  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kSecond = 1'000'000'000;
  if (when == kNever && armed_ == kNever) return;
  armed_ = when;
  itimerspec time{};
  if (when != kNever) {
    const std::int64_t at = std::max<std::int64_t>(when, 1);  // 0 would disarm it
    time.it_value.tv_sec = at / kSecond;
    time.it_value.tv_nsec = at % kSecond;
  }
  ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &time, nullptr);
}

}  // namespace fiber::asyncio::detail
