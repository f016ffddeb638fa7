// A poll() that suspends the task instead of the thread: drives a library with a replaceable poll
// function, or with a list of descriptors and a timeout, by our loop.
#pragma once

#include <fiber/asyncio.hpp>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <span>

// Like poll(): returns the number of ready descriptors; 0 after `timeout` milliseconds, unless
// negative.
inline int poll_in_task(std::span<pollfd> descriptors, int timeout) {
  namespace asyncio = fiber::asyncio;
  const auto poll_now = [&] { return ::poll(descriptors.data(), descriptors.size(), 0); };
  const int ready = poll_now();
  if (ready != 0 || timeout == 0) {
    asyncio::await(asyncio::sleep(0));
    return ready;
  }

  // All descriptors are behind one epoll, which is watched for reading: other readers or writers of
  // a descriptor do not interfere.
  struct Epoll {
    int fd = ::epoll_create1(EPOLL_CLOEXEC);
    ~Epoll() { ::close(fd); }
  } all;
  for (const pollfd& entry : descriptors) {
    if (entry.fd < 0) continue;
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(entry.events);  // the bits are the same
    // A descriptor may be in the list twice: waits for the events of both entries.
    for (const pollfd& other : descriptors)
      if (other.fd == entry.fd) event.events |= static_cast<std::uint32_t>(other.events);
    if (::epoll_ctl(all.fd, EPOLL_CTL_ADD, entry.fd, &event) != 0 && errno != EEXIST)
      return poll_now();
  }
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  const asyncio::Future<void> readable = loop.create_future();
  struct Reading {
    const asyncio::EventLoop& loop;
    int fd;
    ~Reading() { loop.remove_reader(fd); }
  } reading{loop, all.fd};
  loop.add_reader(all.fd, [&] {
    if (!readable.done()) readable.set_result();
  });
  asyncio::TimerHandle timer;
  if (timeout > 0)
    timer = loop.call_later(std::chrono::milliseconds(timeout), [readable] {
      if (!readable.done()) readable.set_result();
    });
  asyncio::await(readable);
  timer.cancel();
  return poll_now();
}
