#include <fiber/asyncio/selectors.hpp>

#include <fiber/asyncio/waiter.hpp>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::asyncio::detail {
namespace {

// Takes a handle out of its place, and cancels it in the destructor of this object, at the end of
// the caller's scope: the user's objects in the handle may call the selector from their
// destructors.
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

// Whether the poller's own numbers stand for other files, or for none.
bool is_lost(platform::Poller& poller) noexcept {
  int ends[2];
  if (::pipe(ends) != 0) return false;
  const int error = poller.remove(ends[0]);
  for (const int fd : ends) ::close(fd);
  return error == EINVAL || error == EBADF;
}

// Whether a registration has failed because other code has closed the poller's own descriptors.
bool is_lost(platform::Poller& poller, int fd, int error) noexcept {
  const bool perhaps = error == EINVAL || (error == EBADF && ::fcntl(fd, F_GETFD) >= 0);
  return perhaps && is_lost(poller);
}

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

// The events that are worth a report: see Wishes.
std::uint32_t Selector::wanted(int fd) const noexcept {
  const Interest& its = interests_[static_cast<std::size_t>(fd)];
  std::uint32_t events = 0;
  if (its.watch != nullptr) {
    const Watch::Readiness unknown = its.watch->used_up();
    events = (unknown.readable ? Events::in : 0U) | (unknown.writable ? Events::out : 0U);
  }
  if (its.reader.step != nullptr && !its.reader.step->queued) events |= Events::in;
  if (its.writer.step != nullptr && !its.writer.step->queued) events |= Events::out;
  for (const DescriptorWait& wait : its.waits) events |= wait.events & (Events::in | Events::out);
  return events;
}

void Selector::set_events(Interest& interest, std::uint32_t events) noexcept {
  if (interest.events != 0) --reporting_;
  if (events != 0) ++reporting_;
  interest.events = events;
}

void Selector::count(Interest& interest, bool watched) noexcept {
  if (interest.counted == watched) return;
  interest.counted = watched;
  if (watched)
    ++watched_;
  else
    --watched_;
}

// Returns the events to ask the poller for; 0 if nobody waits.
std::uint32_t Selector::all_wanted(const Interest& interest) noexcept {
  std::uint32_t wanted =
      (interest.reader.taken() ? Events::in : 0U) | (interest.writer.taken() ? Events::out : 0U);
  // With a handle the event stays until its cause is gone; without, one report is enough.
  const bool stays = interest.reader.handle != nullptr || interest.writer.handle != nullptr;
  if (!interest.waits.empty()) {
    if (!stays) wanted |= Events::once;
    for (const DescriptorWait& wait : interest.waits) wanted |= wait.events;
  } else if (!stays && wanted != 0) {
    wanted |= Events::edge;
  }
  return wanted;
}

// Makes the poller report the wanted events; returns 0, or an errno if it reports nothing.
int Selector::arm(int fd, Interest& interest, Ask ask) noexcept {
  if (interest.watch != nullptr) return 0;
  std::uint32_t wanted = all_wanted(interest);
  count(interest, wanted != 0);
  const bool changed = wanted != interest.events;
  const bool more = (wanted & ~interest.events) != 0;
  // A registration for steps outlives them, and may report more events than are wanted now.
  const bool for_steps =
      (interest.events & Events::edge) != 0 && (wanted == 0 || (wanted & Events::edge) != 0);
  if (ask != Ask::always && (!changed || (ask == Ask::if_needed && for_steps && !more))) return 0;
  const bool registered = interest.registered;
  set_events(interest, wanted);
  interest.registered = wanted != 0;
  // Errors tell that the descriptor was closed, and perhaps opened anew, without a call of the
  // selector.
  if (wanted == 0) {
    remove_from_poller(fd, interest);
    return 0;
  }
  int error =
      registered ? modify_in_poller(fd, interest, wanted) : add_to_poller(fd, interest, wanted);
  if (registered && error == ENOENT) {
    drop_asked(interest);
    wanted = all_wanted(interest);
    set_events(interest, wanted);
    error = wanted != 0 ? add_to_poller(fd, interest, wanted) : error;
  } else if (!registered && error == EEXIST) {
    error = modify_in_poller(fd, interest, wanted);
  }
  if (error == 0) {
    note_asked(interest);
    return 0;
  }
  if (is_lost(*poller_, fd, error)) [[unlikely]] {
    try {
      revive();  // which registers this descriptor as well
      return 0;
    } catch (const std::exception&) {
      // The next wait of the poller tries again.
    }
  }
  count(interest, false);
  set_events(interest, 0);
  interest.registered = false;
  return wanted != 0 ? error : 0;
}

void Selector::update(int fd, Interest& interest, Ask ask) {
  const int error = arm(fd, interest, ask);
  if (error == 0) return;
  const Dropped reader(interest.reader.handle);
  const Dropped writer(interest.writer.handle);
  fail(interest, error);
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
  if ((!its.registered && its.watch == nullptr) || is_still_its_file(fd, its))
    throw RuntimeError("File descriptor " + std::to_string(fd) + " is used by a transport");
}

// Asks the poller, which reports the state of the descriptor once more. Returns false if the number
// has been reused for another file: its watch or reservation has ended then.
bool Selector::is_still_its_file(int fd, Interest& interest) noexcept {
  const std::uint32_t events = interest.watch != nullptr ? kWatchEvents : interest.events;
  if (modify_in_poller(fd, interest, events) != ENOENT) return true;
  interest.owner = nullptr;
  if (interest.watch == nullptr) return false;
  Watch& stale = *interest.watch;
  interest.watch = nullptr;
  set_events(interest, 0);
  count(interest, false);
  stale.fd_ = -1;
  drop_again(stale);
  stale.lost_descriptor();
  return false;
}

void Selector::check_open() const {
  if (!open_) throw RuntimeError("Event loop is closed");
}

Selector::Interest& Selector::interest_for_adding(int fd) {
  check_open();
  if (fd < 0) throw ValueError("Invalid file descriptor: " + std::to_string(fd));
  Interest& its = open_interest(fd);
  refuse_watched(fd);
  return its;
}

// Returns whether the registration belongs to another file that had this number before, as far as
// one call can tell.
bool Selector::is_other_file(int fd, const Interest& interest) noexcept {
  return interest.registered && interest.waits.empty() &&
         modify_in_poller(fd, interest, interest.events) == ENOENT;
}

void Selector::add(int fd, For what, core::Ref<HandleObject> handle) {
  Interest& its = interest_for_adding(fd);
  const bool writing = what == For::writing;
  Place& place = its.place(writing);
  Place& other = its.place(!writing);
  core::Ref<HandleObject> none;
  const bool stale = other.handle != nullptr && is_other_file(fd, its);
  const Dropped replaced(place.handle);
  const Dropped stale_other(stale ? other.handle : none);
  unlist(place);
  if (!writing) its.tells = false;
  place.handle = std::move(handle);
  update(fd, its, Ask::always);
}

void Selector::add(DescriptorStep& step) {
  Interest& its = interest_for_adding(step.fd);
  Place& place = its.place(step.writing);
  Place& other = its.place(!step.writing);
  core::Ref<HandleObject> none;
  const bool stale = other.handle != nullptr && is_other_file(step.fd, its);
  const Dropped replaced(place.handle);
  const Dropped stale_other(stale ? other.handle : none);
  unlist(place);
  place.step = &step;
  step.listed = true;
  step.asked = false;
  unasked_.append(step);
  const bool relies = its.trusted && (its.events & Events::edge) != 0 && !other.handle;
  const int error = arm(step.fd, its, relies ? Ask::if_needed : Ask::always);
  if (error == 0) return;
  unlist(place);
  const Dropped lost(other.handle);
  fail(its, error);
  raise_os_error(error, "cannot watch descriptor " + std::to_string(step.fd));
}

bool Selector::remove(int fd, For what) {
  if (!open_ || fd < 0 || static_cast<std::size_t>(fd) >= interests_.size()) return false;
  refuse_watched(fd);
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  Place& place = its.place(what == For::writing);
  if (!place.taken()) return false;
  if (what == For::reading) its.tells = false;
  const Dropped removed(place.handle);
  unlist(place);
  update(fd, its, Ask::if_needed);
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
  const Dropped reader(its.reader.handle);
  const Dropped writer(its.writer.handle);
  unlist(its.reader);
  unlist(its.writer);
  set_events(its, 0);
  count(its, false);
  its.registered = false;
  int error = add_to_poller(fd, its, kWatchEvents);
  if (is_lost(*poller_, fd, error)) [[unlikely]] {
    revive();
    error = add_to_poller(fd, its, kWatchEvents);
  }
  if (error == EEXIST) error = modify_in_poller(fd, its, kWatchEvents);
  watch.always_ready_ = error == EPERM && watch.may_be_always_ready_;
  if (watch.always_ready_) error = 0;
  if (error != 0) {
    wake_waits(its, 0, error);
    raise_os_error(error, "cannot watch descriptor " + std::to_string(fd));
  }
  set_events(its, kWatchEvents);
  count(its, true);
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
  set_events(its, 0);
  count(its, false);
  drop_again(watch);
  // Closing removes the registration, unless the descriptor was duplicated, for instance in a child
  // process.
  const int error = remove_from_poller(fd, its);
  // A lack of memory says nothing about the number.
  const bool still_its =
      error == 0 || error == ENOMEM || error == ENOSPC || forked_ || watch.always_ready_;
  if (!its.waits.empty())
    if (const int failed = arm(fd, its)) fail(its, failed);
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

// --- waiting ------------------------------------------------------------------------------------

// Throws if waiting would fail the next time, too: a loop that went on would spin for ever.
void Selector::wait_failed(int error) {
  if (error == EBADF || error == EINVAL)
    revive();
  else if (error != EINTR && error != ENOMEM)
    raise_os_error(error, "cannot wait for the descriptors of an event loop");
}

void Selector::select(LoopObject& loop, std::int64_t timeout) {
  constexpr int kMostUnasked = 64;
  if (!unasked_.empty() && ++selects_unasked_ > kMostUnasked) ask();
  // All ready descriptors belong to this iteration, whatever their number, if memory allows.
  if (events_.size() <= reporting_) [[unlikely]] {
    try {
      events_.resize(reporting_ + reporting_ / 2 + 64);
    } catch (const std::bad_alloc&) {
      // The other events are reported in the next iteration.
    }
  }
  // Rounded up to milliseconds, as CPython does: deadlines close together fire in one batch.
  constexpr std::int64_t kMillisecond = 1'000'000;
  constexpr std::int64_t kLongest = std::numeric_limits<int>::max();
  std::int64_t wait =
      timeout < 0 ? -1 : timeout / kMillisecond + (timeout % kMillisecond > 0 ? 1 : 0);
  if (!again_.empty()) [[unlikely]] {
    wait = 0;
    // A watch that calls again() while it is being told of its event is told again in the next
    // iteration.
    core::List<Watch, Watch::AgainLinks> told(std::move(again_));
    while (Watch* watch = told.pop()) {
      watch->again_ = false;
      watch->ready({.readable = true});
    }
  }
  const int count =
      poller_->wait(events_, static_cast<int>(std::min<std::int64_t>(wait, kLongest)), *this);
  bool stale = false;
  if (count < 0) [[unlikely]]
    wait_failed(errno);  // ready descriptors are seen in the next iteration
  for (int i = 0; i < count; ++i) {
    const platform::Event& event = events_[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.key & 0xffffffffU);
    const std::uint32_t ready = event.events;
    // Other code may have replaced the poller's own descriptors by descriptors of its own.
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
    bool has_taker = false;
    for (const Place* place : {(ready & Events::in) != 0 || failed ? &its.reader : nullptr,
                               (ready & Events::out) != 0 || failed ? &its.writer : nullptr}) {
      if (place == nullptr || !place->taken()) continue;
      has_taker = true;
      if (place->step != nullptr) {
        queue(*place->step);
        continue;
      }
      // Without memory for the entry, the event is reported again.
      if (!loop.ready_queue().try_claim()) continue;
      place->handle->retain();
      loop.push(Entry(place->handle.get()));
    }
    if ((its.events & Events::edge) != 0) {
      if (!has_taker && !narrow(fd, its)) stale = true;
      continue;
    }
    if (its.waits.empty() && (its.events & Events::once) == 0) continue;
    if ((its.events & Events::once) != 0) set_events(its, 0);  // the kernel reports no more events
    wake_waits(its, ready, 0);
    if (const int error = arm(fd, its)) fail(its, error);
  }
  if (stale) [[unlikely]]
    renew();
}

// --- the end ------------------------------------------------------------------------------------

void Selector::close() noexcept {
  detach_all();
  for (std::size_t fd = 0; fd < interests_.size(); ++fd) {
    const Dropped reader(interests_[fd].reader.handle);
    const Dropped writer(interests_[fd].writer.handle);
    fail(interests_[fd], EBADF);
    forget_woken(interests_[fd]);
    interests_[fd] = Interest();
  }
  watched_ = reporting_ = 0;
  close_own();
}

}  // namespace fiber::asyncio::detail
