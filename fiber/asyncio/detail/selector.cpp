#include <fiber/asyncio/detail/selector.hpp>

#include <cerrno>

#include <sys/epoll.h>
#include <sys/eventfd.h>
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
}

Selector::~Selector() {
  for (Interest& interest : interests_) {
    drop(interest.reader);
    drop(interest.writer);
  }
  ::close(epoll_);
  ::close(wake_);
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

void Selector::add(int fd, bool writer, HandleObject* handle) {
  if (fd < 0) {
    handle->release();
    throw ValueError("Invalid file descriptor: " + std::to_string(fd));
  }
  if (static_cast<std::size_t>(fd) >= interests_.size())
    interests_.resize(static_cast<std::size_t>(fd) + 16);
  Interest& interest = interests_[static_cast<std::size_t>(fd)];
  HandleObject*& slot = writer ? interest.writer : interest.reader;
  drop(slot);
  slot = handle;
  update(fd, interest);
}

bool Selector::remove(int fd, bool writer) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= interests_.size()) return false;
  Interest& interest = interests_[static_cast<std::size_t>(fd)];
  HandleObject*& slot = writer ? interest.writer : interest.reader;
  if (slot == nullptr) return false;
  drop(slot);
  update(fd, interest);
  return true;
}

void Selector::select(LoopObject& loop, std::int64_t timeout) {
  constexpr int kMaxEvents = 256;
  epoll_event events[kMaxEvents];
  // Rounded up to milliseconds, as CPython does: deadlines close together fire in one batch.
  constexpr std::int64_t kMillisecond = 1'000'000;
  const std::int64_t wait = timeout < 0 ? -1 : (timeout + kMillisecond - 1) / kMillisecond;
  const int count = ::epoll_wait(epoll_, events, kMaxEvents, static_cast<int>(wait));
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    const std::uint32_t ready = events[i].events;
    if (fd == wake_) {
      std::uint64_t drained = 0;
      (void)!::read(wake_, &drained, sizeof drained);
      continue;
    }
    const Interest& interest = interests_[static_cast<std::size_t>(fd)];
    const bool failed = (ready & (EPOLLERR | EPOLLHUP)) != 0;
    for (HandleObject* handle : {(ready & EPOLLIN) || failed ? interest.reader : nullptr,
                                 (ready & EPOLLOUT) || failed ? interest.writer : nullptr}) {
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

}  // namespace fiber::asyncio::detail
