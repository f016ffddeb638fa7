// The descriptors that a selector's poller has for itself. They are made anew in a child process,
// and when other code has closed them.
#include <fiber/asyncio/selectors.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/platform/own_descriptors.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string>

#include <unistd.h>

namespace fiber::asyncio::detail {

// A child process shares the files behind its parent's descriptors: changes there would affect the
// parent. So the child gets an empty poller of its own, under the old numbers; and no loop runs in
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
      for (const std::atomic<int>& own : each.poller_->own())
        if (own == fd) return true;
    return false;
  }
  static int next(int first) noexcept {
    int next = -1;
    const std::lock_guard lock(mutex_);
    for (const Selector& each : all_)
      for (const std::atomic<int>& own : each.poller_->own())
        if (own >= first && (next < 0 || own < next)) next = own;
    return next;
  }
  // Calls `visit(poller, place)` for each number that a selector of the process owns, until `visit`
  // returns true. The lock is held meanwhile, so `visit` must not close a descriptor: a patched
  // close() asks is_own(), which takes the lock.
  template <class F>
  static void visit_until(F visit) noexcept {
    const std::lock_guard lock(mutex_);
    for (Selector& each : all_)
      for (std::atomic<int>& own : each.poller_->own())
        if (own >= 0 && visit(*each.poller_, own)) return;
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

bool Selector::is_own(int fd) noexcept {
  return fd >= 0 && (platform::is_own(fd) || Forking::any_has(fd));
}

int Selector::next_own(int first) noexcept {
  const int other = platform::next_own(first);
  const int of_poller = Forking::next(first);
  if (other < 0 || of_poller < 0) return std::max(other, of_poller);
  return std::min(other, of_poller);
}

int Selector::make_way(int fd) noexcept {
  // Its owner is told by closing(), and makes another one.
  if (platform::is_own(fd) && platform::leave_own(fd)) return 0;
  int error = 0;
  bool moved = false;
  Forking::visit_until([&](platform::Poller& poller, std::atomic<int>& own) {
    if (own != fd) return false;
    error = poller.move(own, fd + 1);
    moved = error == 0;
    return true;
  });
  if (moved) ::close(fd);
  return error;
}

void Selector::leave_below(int first) noexcept {
  for (int left = 0; left >= 0;) {
    left = -1;
    Forking::visit_until([&](platform::Poller& poller, std::atomic<int>& own) {
      const int before = own;
      if (before >= first || poller.move(own, first) != 0) return false;
      left = before;
      return true;
    });
    if (left >= 0) ::close(left);
  }
}

Selector::Selector() : poller_(platform::Poller::make()) {
  if (poller_ == nullptr) raise_os_error(errno, "cannot make the descriptors of an event loop");
  events_.resize(64);
  Forking::add(*this);
}

void Selector::forked() noexcept {
  forked_ = true;
  poller_->forked();
}

// Registers everything with a poller that has no registrations yet.
void Selector::register_all() noexcept {
  for (std::size_t i = 0; i < interests_.size(); ++i) {
    Interest& its = interests_[i];
    const int fd = static_cast<int>(i);
    its.registered = its.trusted = false;
    if (its.watch != nullptr) {
      // The watch's next system call returns the error.
      if (add_to_poller(fd, its, kWatchEvents) != 0)
        its.watch->ready({.readable = true, .writable = true, .hangup = true});
      continue;
    }
    set_events(its, 0);
    if (const int error = arm(fd, its)) fail(its, error);
  }
}

// Gets rid of registrations that have outlived their numbers: no call can remove one of these, since
// the numbers belong to other files now. If the poller cannot do it, the next event of an outlived
// registration tries again.
void Selector::renew() noexcept {
  if (poller_->renew()) register_all();
}

// Makes the selector's descriptors anew after other code has closed them. Waits for other
// descriptors that it has closed are woken; the old numbers may belong to other code by now.
void Selector::revive() {
  if (const int error = poller_->revive())
    raise_os_error(error, "cannot make the descriptors of the event loop anew");
  register_all();
  log(LogLevel::warning,
      "asyncio: other code has closed descriptors of the event loop (closefrom?); the loop goes on "
      "with new ones");
}

Selector::~Selector() {
  if (!closed_) close();
}

void Selector::close_own() noexcept {
  closed_ = true;
  Forking::remove(*this);
  poller_->close();
}

void Selector::add_timer() {
  if (has_timer_) return;
  const int error = poller_->add_timer();
  if (error == ENOSYS)
    throw NotImplementedError(
        "EventLoop::fileno(): on this platform no descriptor tells of events and of deadlines; "
        "call run_ready() when the main loop of the host is idle");
  if (error != 0) raise_os_error(error, "cannot make a descriptor for a foreign main loop");
  has_timer_ = true;
  ++watched_;
  ++reporting_;
}

}  // namespace fiber::asyncio::detail
