// The waits and the steps of suspended tasks for descriptors.
#include <fiber/asyncio/selectors.hpp>

#include <fiber/asyncio/waiter.hpp>

#include <cerrno>

#include <fcntl.h>

namespace fiber::asyncio::detail {

// --- waits --------------------------------------------------------------------------------------

int Selector::wait(DescriptorWait& wait) {
  if (wait.fd < 0) return EBADF;
  if (static_cast<std::size_t>(wait.fd) >= interests_.size() && ::fcntl(wait.fd, F_GETFD) < 0)
    return errno;
  // A watch is told of changes, and the wait is for a state, which may have lasted for long.
  if (interest(wait.fd).watch != nullptr) is_still_its_file(wait.fd, interest(wait.fd));
  Interest& its = interest(wait.fd);
  wait.ready = 0;
  wait.error = 0;
  wait.listed = true;
  its.waits.append(wait);
  // The earlier waits may be for a descriptor that was closed without notice: ask the poller.
  const bool first = its.waits.first() == &wait;
  const int error = arm(wait.fd, its, first ? Ask::if_needed : Ask::always);
  if (error != 0) {
    unlist(its, wait);
    // The others would have failed as well; the poller has lost handles that were there.
    fail(its, error);
  }
  return error;
}

void Selector::leave(DescriptorWait& wait) noexcept {
  if (!wait.listed && !wait.woken) return;
  Interest& its = interests_[static_cast<std::size_t>(wait.fd)];
  if (std::exchange(wait.woken, false)) {
    its.woken.remove(wait);
    return;
  }
  unlist(its, wait);
  if (const int error = arm(wait.fd, its)) fail(its, error);
}

void Selector::closing(int fd) noexcept {
  if (fd < 0 || !must_know_of_closing(fd)) return;
  Interest& its = interests_[static_cast<std::size_t>(fd)];
  // The number may stand for another file by the time the task goes on.
  for (DescriptorWait& wait : its.woken) wait.error = EBADF;
  fail(its, EBADF);
  arm(fd, its, Ask::if_changed);
}

void Selector::unlist(Interest& interest, DescriptorWait& wait) noexcept {
  interest.waits.remove(wait);
  wait.listed = false;
}

// Ends the list of woken waits, whose tasks outlive the loop.
void Selector::forget_woken(Interest& interest) noexcept {
  while (DescriptorWait* wait = interest.woken.pop()) wait->woken = false;
}

// Wakes the waits that the events concern, or all if there is an error.
void Selector::wake_waits(Interest& interest, std::uint32_t ready, int error) noexcept {
  for (DescriptorWait& wait : interest.waits) {
    if (error == 0 && (ready & (wait.events | Events::error | Events::hangup)) == 0) continue;
    unlist(interest, wait);
    wait.woken = true;
    interest.woken.append(wait);
    wait.ready = ready;
    wait.error = error;
    wait.waiter->wake();
  }
}

// --- steps --------------------------------------------------------------------------------------

void Selector::queue(DescriptorStep& step) noexcept {
  if (step.queued) return;
  step.queued = true;
  step.loop.push(Entry(static_cast<Leaf*>(&step)));
  step.position = step.loop.ready_queue().end() - 1;
}

void Selector::unlist(Place& place) noexcept {
  DescriptorStep* step = std::exchange(place.step, nullptr);
  if (step == nullptr) return;
  step->listed = false;
  if (!std::exchange(step->asked, true)) unasked_.remove(*step);
}

void Selector::leave(DescriptorStep& step) noexcept {
  if (step.listed) {
    Interest& its = interests_[static_cast<std::size_t>(step.fd)];
    unlist(its.place(step.writing));
    if (const int error = arm(step.fd, its)) fail(its, error);
  }
  if (!step.queued) return;
  static Leaf nothing{[](Leaf*) noexcept {}};
  ReadyQueue& ready = step.loop.ready_queue();
  const Entry own(static_cast<Leaf*>(&step));
  if (step.loop.turns().shuffled())
    ready.replace(own, Entry(&nothing));
  else
    ready.replace(step.position, own, Entry(&nothing));
}

// Notes that the registration is that of the file which the number stands for now.
void Selector::note_asked(Interest& interest) noexcept {
  interest.trusted = true;
  for (DescriptorStep* step : {interest.reader.step, interest.writer.step})
    if (step != nullptr && !std::exchange(step->asked, true)) unasked_.remove(*step);
}

// Drops the steps of a file that has lost its number, as far as that is known: they will not run.
void Selector::drop_asked(Interest& interest) noexcept {
  for (Place* place : {&interest.reader, &interest.writer})
    if (place->step != nullptr && place->step->asked) unlist(*place);
}

void Selector::ask() noexcept {
  selects_unasked_ = 0;
  while (DescriptorStep* step = unasked_.first()) {
    const int fd = step->fd;
    Interest& its = interests_[static_cast<std::size_t>(fd)];
    if (const int error = arm(fd, its, Ask::always)) fail(its, error);
  }
}

// Ends all waits and steps for a descriptor of which no more events will be reported.
void Selector::fail(Interest& interest, int error) noexcept {
  wake_waits(interest, 0, error);
  for (Place* place : {&interest.reader, &interest.writer}) {
    DescriptorStep* step = place->step;
    if (step == nullptr) continue;
    unlist(*place);
    step->error = error;
    queue(*step);
  }
  tell_reader(interest);
}

// Queues the reader that is told of the loss of its descriptor, and takes it out of its place.
void Selector::tell_reader(Interest& interest) noexcept {
  if (!std::exchange(interest.tells, false)) return;
  const core::Ref<HandleObject> handle = std::exchange(interest.reader.handle, nullptr);
  if (handle == nullptr || !handle->loop()->ready_queue().try_claim()) return;
  handle->retain();
  handle->loop()->push(Entry(handle.get()));
}

// Ends the reports of events for which no step waits. Returns false if the registration belongs to
// a file that has lost its number.
bool Selector::narrow(int fd, Interest& interest) noexcept {
  if (all_wanted(interest) != 0) {
    if (const int error = arm(fd, interest, Ask::if_changed)) fail(interest, error);
    return true;
  }
  set_events(interest, 0);
  interest.registered = false;
  const int error = remove_from_poller(fd, interest);
  return error != ENOENT && error != EBADF;
}

}  // namespace fiber::asyncio::detail
