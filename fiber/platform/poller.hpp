// The poller that a platform has to give: it waits for descriptors, and tells which of them are
// ready. One implementation is built: of linux/ or of posix/.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>

namespace fiber::platform {

// Events of descriptors: a set of bits. The values are those of Linux's epoll; another platform
// translates them.
struct Events {
  static constexpr std::uint32_t in = 0x001;
  static constexpr std::uint32_t urgent = 0x002;
  static constexpr std::uint32_t out = 0x004;
  // Reported whether they were asked for or not.
  static constexpr std::uint32_t error = 0x008;
  static constexpr std::uint32_t hangup = 0x010;
  // The other side sends no more. A platform that cannot tell reports `in`.
  static constexpr std::uint32_t half_closed = 0x2000;
  // The registration reports once, and nothing until it is changed.
  static constexpr std::uint32_t once = std::uint32_t{1} << 30U;
  // The registration reports each new cause once: see Wishes.
  static constexpr std::uint32_t edge = std::uint32_t{1} << 31U;
};

// The events of one registration, and the key that it was given.
struct Event {
  std::uint64_t key = 0;
  std::uint32_t events = 0;
};

// Serves a platform whose kernel reports the state of descriptors, not its changes. For a
// registration with `edge`, wanted() returns the events (`in`, `out`) whose last report has been
// used up. Only these are asked of the kernel, which would report any other one again and again.
class Wishes {
 public:
  virtual std::uint32_t wanted(int fd) const noexcept = 0;

 protected:
  ~Wishes() = default;
};

// The registrations of one owner. All functions are for the owner's thread, except wake() and those
// whose comment says otherwise. Results are 0 or an errno.
class Poller {
 public:
  // Returns null, with errno, if no descriptors can be opened. Throws std::bad_alloc.
  static std::unique_ptr<Poller> make();
  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  virtual ~Poller() = default;

  // Registers a descriptor. EEXIST: the number and its file are registered; EPERM: the file is
  // always ready, as files on disks are. A number that came to stand for another file may be added
  // again.
  virtual int add(int fd, std::uint32_t events, std::uint64_t key) noexcept = 0;
  // Changes a registration, which may report at once. ENOENT, EBADF: the number stands for another
  // file than the one that was registered, or for none.
  virtual int modify(int fd, std::uint32_t events, std::uint64_t key) noexcept = 0;
  // Errors as modify().
  virtual int remove(int fd) noexcept = 0;
  // Waits for events, at most for `milliseconds`; for ever if negative. Returns the number of
  // reports in `events`, or -1 with errno: EBADF or EINVAL mean that other code has closed
  // descriptors of the poller's own, so that revive() is due. Events for which `events` has no room
  // are reported by the next call.
  virtual int wait(std::span<Event> events, int milliseconds, const Wishes& wishes) = 0;

  // Ends a wait(). From any thread and from signal handlers, also after close().
  virtual void wake() noexcept = 0;

  // Removes all registrations, also those of files that have lost their numbers. Returns false,
  // without any change, if that is impossible.
  virtual bool renew() noexcept = 0;
  // Makes the poller's own descriptors anew, without registrations and without closing the old
  // numbers: they may be other code's by now.
  virtual int revive() noexcept = 0;
  // In a child process: makes the poller's own descriptors anew under their old numbers, without a
  // change to those of the parent, and forgets all registrations.
  virtual void forked() noexcept = 0;
  virtual void close() noexcept = 0;

  // The poller's own descriptors; -1: none. Their numbers may change on any thread.
  virtual std::span<std::atomic<int>> own() noexcept = 0;
  // Gives the descriptor `own` a number of at least `first`, and leaves the old number open. From
  // any thread.
  virtual int move(std::atomic<int>& own, int first) noexcept = 0;

  // For a foreign main loop: makes fileno(), a descriptor that is readable when there are events,
  // or when the time of set_timer() has come. ENOSYS: the platform has no such descriptor.
  virtual int add_timer() noexcept = 0;
  virtual int fileno() const noexcept = 0;
  // Sets the time, on steady_clock, in nanoseconds; INT64_MAX: never. After add_timer().
  virtual void set_timer(std::int64_t when) noexcept = 0;

 protected:
  // Returns an opened poller of the platform's type; null, with errno, if open() fails.
  template <class P>
  static std::unique_ptr<Poller> opened() {
    auto poller = std::make_unique<P>();
    if (const int error = poller->open()) {
      poller.reset();
      errno = error;
    }
    return poller;
  }
};

}  // namespace fiber::platform
