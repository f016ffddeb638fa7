#include <fiber/asyncio/selectors.hpp>

#include <fiber/asyncio/waiter.hpp>

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::asyncio::detail {
namespace {

// Takes a handle out of its place, and cancels it in the destructor, which runs last: objects of
// the user's in the handle may call the selector as they end.
class Dropped {
 public:
  explicit Dropped(core::Ref<HandleObject>& place) noexcept
      : handle_(std::exchange(place, nullptr)) {}
  Dropped(const Dropped&) = delete;
  Dropped& operator=(const Dropped&) = delete;
  ~Dropped() {
    if (handle_) handle_->cancel();
  }

 private:
  core::Ref<HandleObject> handle_;
};

}  // namespace

// --- the events asked of the platform -----------------------------------------------------------

// Registers a descriptor. Returns 0 or an errno.
int Selector::add_to_poller(int fd, Interest& interest, std::uint32_t events) noexcept {
  if (++last_generation_ == 0) ++last_generation_;
  const int error = poller_->add(fd, events, key_of(fd, last_generation_));
  if (error == 0) interest.generation = last_generation_;
  return error;
}

int Selector::modify_in_poller(int fd, const Interest& interest, std::uint32_t events) noexcept {
  return poller_->modify(fd, events, key_of(fd, interest.generation));
}

int Selector::remove_from_poller(int fd, Interest& interest) noexcept {
  interest.generation = 0;
  return poller_->remove(fd);
}

// The events of a watch that are worth a report: see Wishes.
std::uint32_t Selector::wanted(int fd) const noexcept {
  const Interest& its = interests_[static_cast<std::size_t>(fd)];
  std::uint32_t events = 0;
  if (its.watch != nullptr) {
    const Watch::Readiness unknown = its.watch->used_up();
    events = (unknown.readable ? Events::in : 0U) | (unknown.writable ? Events::out : 0U);
  }
  for (const DescriptorWait& wait : its.waits) events |= wait.events & (Events::in | Events::out);
  return events;
}

// Makes the poller report the wanted events; returns 0, or an errno if it reports nothing.
int Selector::arm(int fd, Interest& interest, Ask ask) noexcept {
  if (interest.watch != nullptr) return 0;
  std::uint32_t wanted = (interest.reader != nullptr ? Events::in : 0U) |
                         (interest.writer != nullptr ? Events::out : 0U);
  if (!interest.waits.empty()) {
    // With a handle the event stays until its cause is gone; without, one report is enough.
    if (wanted == 0) wanted = Events::once;
    for (const DescriptorWait& wait : interest.waits) wanted |= wait.events;
  }
  if (wanted == interest.events && ask == Ask::if_changed) return 0;
  const bool registered = interest.registered;
  if (interest.events == 0) ++watched_;
  if (wanted == 0) --watched_;
  interest.events = wanted;
  interest.registered = wanted != 0;
  // Errors tell that the descriptor was closed, and perhaps opened anew, without a call of the
  // selector.
  if (wanted == 0) {
    remove_from_poller(fd, interest);
    return 0;
  }
  int error =
      registered ? modify_in_poller(fd, interest, wanted) : add_to_poller(fd, interest, wanted);
  if (registered && error == ENOENT)
    error = add_to_poller(fd, interest, wanted);
  else if (!registered && error == EEXIST)
    error = modify_in_poller(fd, interest, wanted);
  if (error == 0) return 0;
  --watched_;
  interest.events = 0;
  interest.registered = false;
  return error;
}

void Selector::update(int fd, Interest& interest, Ask ask) {
  const int error = arm(fd, interest, ask);
  if (error == 0) return;
  const Dropped reader(interest.reader);
  const Dropped writer(interest.writer);
  wake_waits(interest, 0, error);
  raise_os_error(error, "cannot watch descriptor " + std::to_string(fd));
}

Selector::Interest& Selector::interest(int fd) {
  if (static_cast<std::size_t>(fd) >= interests_.size())
    interests_.resize(static_cast<std::size_t>(fd) + static_cast<std::size_t>(fd) / 2 + 16);
  return interests_[static_cast<std::size_t>(fd)];
}

// Returns the entry of a descriptor. The table is as long as the largest number: it does not grow
// for a number without a file.
Selector::Interest& Selector::open_interest(int fd) {
  if (static_cast<std::size_t>(fd) >= interests_.size() && ::fcntl(fd, F_GETFD) < 0)
    raise_os_error(errno, "cannot watch descriptor " + std::to_string(fd));
  return interest(fd);
}

void Selector::refuse_watched(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= interests_.size()) return;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  const bool reserved = its.owner != nullptr && its.owner != acting_;
  if (its.watch == nullptr && !reserved) return;
  const std::uint32_t events = its.watch != nullptr ? kWatchEvents : its.events;
  if ((!its.registered && its.watch == nullptr) || modify_in_poller(fd, its, events) != ENOENT)
    throw RuntimeError("File descriptor " + std::to_string(fd) + " is used by a transport");
  its.owner = nullptr;
  if (its.watch == nullptr) return;
  Watch& stale = *its.watch;
  its.watch = nullptr;
  --watched_;
  stale.fd_ = -1;
  drop_again(stale);
  stale.lost_descriptor();
}

void Selector::check_open() const {
  if (!open_) throw RuntimeError("Event loop is closed");
}

void Selector::add(int fd, For what, core::Ref<HandleObject> handle) {
  check_open();
  if (fd < 0) throw ValueError("Invalid file descriptor: " + std::to_string(fd));
  Interest& its = open_interest(fd);
  refuse_watched(fd);
  // The registration belongs to another file that had this number before.
  const bool stale =
      its.registered && its.waits.empty() && modify_in_poller(fd, its, its.events) == ENOENT;
  const bool writer = what == For::writing;
  core::Ref<HandleObject>& slot = writer ? its.writer : its.reader;
  core::Ref<HandleObject>& other = writer ? its.reader : its.writer;
  const Dropped replaced(slot);
  core::Ref<HandleObject> none;
  const Dropped stale_other(stale ? other : none);
  slot = std::move(handle);
  update(fd, its, Ask::always);
}

bool Selector::remove(int fd, For what) {
  if (!open_ || fd < 0 || static_cast<std::size_t>(fd) >= interests_.size()) return false;
  refuse_watched(fd);
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  core::Ref<HandleObject>& slot = what == For::writing ? its.writer : its.reader;
  if (slot == nullptr) return false;
  const Dropped removed(slot);
  update(fd, its, Ask::if_changed);
  return true;
}

void Selector::reserve(int fd, const void* owner) {
  refuse_watched(fd);
  interest(fd).owner = owner;
}

bool Selector::is_still_reserved_by(int fd, const void* owner) noexcept {
  if (!is_reserved_by(fd, owner)) return false;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  if (!its.registered || forked_) return true;
  const int error = modify_in_poller(fd, its, its.events);
  if (error != ENOENT && error != EBADF) return true;
  its.owner = nullptr;
  return false;
}

// --- watches ------------------------------------------------------------------------------------

void Selector::watch(Watch& watch, int fd) {
  check_open();
  Interest& its = open_interest(fd);
  refuse_watched(fd);
  // Handles of a descriptor that was closed without a call of the selector.
  const Dropped reader(its.reader);
  const Dropped writer(its.writer);
  if (its.events != 0) --watched_;
  its.events = 0;
  its.registered = false;
  int error = add_to_poller(fd, its, kWatchEvents);
  if (error == EEXIST) error = modify_in_poller(fd, its, kWatchEvents);
  watch.always_ready_ = error == EPERM && watch.may_be_always_ready_;
  if (watch.always_ready_) error = 0;
  if (error != 0) {
    wake_waits(its, 0, error);
    raise_os_error(error, "cannot watch descriptor " + std::to_string(fd));
  }
  ++watched_;
  its.watch = &watch;
  watch.fd_ = fd;
  watches_.prepend(watch);
}

bool Selector::unwatch(Watch& watch) noexcept {
  const int fd = watch.fd_;
  if (fd < 0) return false;
  watch.fd_ = -1;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  its.watch = nullptr;
  --watched_;
  drop_again(watch);
  // Closing removes the registration, unless the descriptor was duplicated, for instance in a child
  // process.
  const int error = remove_from_poller(fd, its);
  // A lack of memory says nothing about the number.
  const bool still_its =
      error == 0 || error == ENOMEM || error == ENOSPC || forked_ || watch.always_ready_;
  if (!its.waits.empty())
    if (const int failed = arm(fd, its)) wake_waits(its, 0, failed);
  return still_its;
}

void Selector::forget(Watch& watch) noexcept {
  if (watches_.has(watch)) watches_.remove(watch);
}

void Selector::again(Watch& watch) noexcept {
  if (watch.again_) return;
  watch.again_ = true;
  again_.append(watch);
}

void Selector::drop_again(Watch& watch) noexcept {
  if (std::exchange(watch.again_, false)) again_.remove(watch);
}

void Selector::detach_all() noexcept {
  while (!watches_.empty()) {
    Watch& watch = *watches_.first();
    const int fd = watch.fd_;
    const bool still_its = unwatch(watch);
    forget(watch);
    watch.detached(still_its ? fd : -1);
  }
}

// --- waits --------------------------------------------------------------------------------------

int Selector::wait(DescriptorWait& wait) {
  if (wait.fd < 0) return EBADF;
  if (static_cast<std::size_t>(wait.fd) >= interests_.size() && ::fcntl(wait.fd, F_GETFD) < 0)
    return errno;
  Interest& its = interest(wait.fd);
  wait.ready = 0;
  wait.error = 0;
  wait.listed = true;
  its.waits.append(wait);
  if (its.waits.first() != &wait && its.events != 0 && its.watch == nullptr) {
    // The other waits may be for a descriptor that was closed without notice: ask the poller.
    its.events = 0;
    --watched_;
  }
  const int error = arm(wait.fd, its);
  if (error != 0) {
    unlist(its, wait);
    // The other waits would have failed as well; the poller has lost handles that were there.
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
  interest.waits.remove(wait);
  wait.listed = false;
}

// Wakes the waits that the events concern, or all if there is an error.
void Selector::wake_waits(Interest& interest, std::uint32_t ready, int error) noexcept {
  for (DescriptorWait& wait : interest.waits) {
    if (error == 0 && (ready & (wait.events | Events::error | Events::hangup)) == 0) continue;
    unlist(interest, wait);
    wait.ready = ready;
    wait.error = error;
    wait.waiter->wake();
  }
}

// --- waiting ------------------------------------------------------------------------------------

void Selector::select(LoopObject& loop, std::int64_t timeout) {
  // All ready descriptors belong to this iteration, whatever their number, if memory allows.
  if (events_.size() <= watched_) [[unlikely]] {
    try {
      events_.resize(watched_ + watched_ / 2 + 64);
    } catch (const std::bad_alloc&) {
      // The other events are reported in the next iteration.
    }
  }
  // Rounded up to milliseconds, as CPython does: deadlines close together fire in one batch.
  constexpr std::int64_t kMillisecond = 1'000'000;
  std::int64_t wait = timeout < 0 ? -1 : (timeout + kMillisecond - 1) / kMillisecond;
  if (!again_.empty()) [[unlikely]] {
    wait = 0;
    // A watch that asks again while it is told is told in the next iteration.
    core::List<Watch, Watch::AgainLinks> told(std::move(again_));
    while (Watch* watch = told.pop()) {
      watch->again_ = false;
      watch->ready({.readable = true});
    }
  }
  const int count = poller_->wait(events_, static_cast<int>(wait), *this);
  bool stale = false;
  if (count < 0 && (errno == EBADF || errno == EINVAL)) [[unlikely]]
    revive();  // ready descriptors are seen in the next iteration
  for (int i = 0; i < count; ++i) {
    const platform::Event& event = events_[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.key & 0xffffffffU);
    const std::uint32_t ready = event.events;
    // The poller's own descriptors may have been replaced by those of other code.
    if (static_cast<std::size_t>(fd) >= interests_.size()) [[unlikely]]
      continue;
    Interest& its = interests_[static_cast<std::size_t>(fd)];
    if (static_cast<std::uint32_t>(event.key >> 32U) != its.generation) [[unlikely]] {
      stale = true;
      continue;
    }
    if (its.watch != nullptr) {
      const bool hangup = (ready & (Events::half_closed | Events::hangup | Events::error)) != 0;
      its.watch->ready({.readable = (ready & Events::in) != 0 || hangup,
                        .writable = (ready & (Events::out | Events::hangup | Events::error)) != 0,
                        .hangup = hangup,
                        .urgent = (ready & Events::urgent) != 0});
      if (!its.waits.empty()) wake_waits(its, ready, 0);
      continue;
    }
    const bool failed = (ready & (Events::error | Events::hangup)) != 0;
    for (HandleObject* handle :
         {(ready & Events::in) != 0 || failed ? its.reader.get() : nullptr,
          (ready & Events::out) != 0 || failed ? its.writer.get() : nullptr}) {
      if (handle == nullptr) continue;
      // Without memory for the entry, the event is reported again.
      if (!loop.ready_queue().try_claim()) continue;
      handle->retain();
      loop.push(Entry(handle));
    }
    if (its.waits.empty() && (its.events & Events::once) == 0) continue;
    if ((its.events & Events::once) != 0) {  // the kernel reports no more events
      its.events = 0;
      --watched_;
    }
    wake_waits(its, ready, 0);
    if (const int error = arm(fd, its)) wake_waits(its, 0, error);
  }
  if (stale) [[unlikely]]
    renew();
}

// --- the end ------------------------------------------------------------------------------------

void Selector::close() noexcept {
  detach_all();
  for (std::size_t fd = 0; fd < interests_.size(); ++fd) {
    const Dropped reader(interests_[fd].reader);
    const Dropped writer(interests_[fd].writer);
    wake_waits(interests_[fd], 0, EBADF);
    interests_[fd] = Interest();
  }
  watched_ = 0;
  close_own();
}

}  // namespace fiber::asyncio::detail
