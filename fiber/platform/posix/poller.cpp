// Readiness by poll() over all registrations, wake-ups by a pair of sockets: what POSIX has, and no
// more. The cost of a wait() grows with the number of registrations.
#include <fiber/platform/poller.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

// The file behind a number: numbers come to stand for other files without notice.
struct Identity {
  dev_t device = 0;
  ino_t inode = 0;

  bool operator==(const Identity&) const = default;
};

// Returns 0 or an errno.
int identify(int fd, struct stat& file, Identity& identity) noexcept {
  if (::fstat(fd, &file) != 0) return errno;
  identity = {file.st_dev, file.st_ino};
  return 0;
}

bool is_file(int fd, const Identity& identity) noexcept {
  struct stat file {};
  Identity now;
  return identify(fd, file, now) == 0 && now == identity;
}

// Makes a pair of sockets for wake-ups. A pipe would do, but for numbers that other code has
// closed: a write to a pipe without a reader ends the program, and a write to a number that stands
// for another file by now spoils the file; send() only fails. Another thread that starts a program
// between the calls lets it inherit the sockets, which does no harm: the owner takes any byte for a
// wake-up.
int make_pair(std::array<int, 2>& ends) noexcept {
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) return errno;
  for (const int end : ends) {
    if (::fcntl(end, F_SETFD, FD_CLOEXEC) == 0 && ::fcntl(end, F_SETFL, O_NONBLOCK) == 0) continue;
    const int error = errno;
    const Uncancelled guard;
    for (const int each : ends) ::close(each);
    return error;
  }
  return 0;
}

short asked_of_poll(std::uint32_t events) noexcept {
  int asked = 0;
  if ((events & Events::in) != 0) asked |= POLLIN;
  if ((events & Events::out) != 0) asked |= POLLOUT;
  if ((events & Events::urgent) != 0) asked |= POLLPRI;
  return static_cast<short>(asked);
}

std::uint32_t told_by_poll(int told) noexcept {
  std::uint32_t events = 0;
  if ((told & POLLIN) != 0) events |= Events::in;
  if ((told & POLLOUT) != 0) events |= Events::out;
  if ((told & POLLPRI) != 0) events |= Events::urgent;
  if ((told & POLLERR) != 0) events |= Events::error;
  if ((told & POLLHUP) != 0) events |= Events::hangup;
  return events;
}

class Poll final : public Poller {
 public:
  Poll() = default;
  ~Poll() override { Poll::close(); }

  int open() noexcept;
  int add(int fd, std::uint32_t events, std::uint64_t key) noexcept override;
  int modify(int fd, std::uint32_t events, std::uint64_t key) noexcept override;
  int remove(int fd) noexcept override;
  int wait(std::span<Event> events, int milliseconds, const Wishes& wishes) override;
  void wake() noexcept override;
  bool renew() noexcept override;
  int revive() noexcept override;
  void forked() noexcept override;
  void close() noexcept override;
  std::span<std::atomic<int>> own() noexcept override { return own_; }
  int move(std::atomic<int>& own, int first) noexcept override;
  int add_timer() noexcept override { return ENOSYS; }
  int fileno() const noexcept override { return -1; }
  void set_timer(std::int64_t /*when*/) noexcept override {}

 private:
  struct Registration {
    bool there = false;
    bool silent = false;  // has reported its one event
    std::uint32_t events = 0;
    std::uint64_t key = 0;
    Identity file;
  };
  Registration* find(int fd) noexcept;
  void forget_all() noexcept;
  void ask(const Wishes& wishes);
  bool drain() noexcept;
  void own_pair(const std::array<int, 2>& ends) noexcept;

  std::array<std::atomic<int>, 2> own_{-1, -1};
  std::atomic<int>& read_end_ = own_[0];
  std::atomic<int>& write_end_ = own_[1];
  Identity read_file_;
  std::vector<Registration> registrations_;  // by number
  std::vector<pollfd> asked_;
};

int Poll::open() noexcept {
  std::array<int, 2> ends{};
  if (const int error = make_pair(ends)) return error;
  own_pair(ends);
  return 0;
}

void Poll::own_pair(const std::array<int, 2>& ends) noexcept {
  struct stat file {};
  identify(ends[0], file, read_file_);
  read_end_ = ends[0];
  write_end_ = ends[1];
}

// --- registrations ------------------------------------------------------------------------------

// Returns the registration of the file that has this number now. If that file has none, removes the
// number's old registration and returns null.
Poll::Registration* Poll::find(int fd) noexcept {
  if (fd < 0 || static_cast<std::size_t>(fd) >= registrations_.size()) return nullptr;
  Registration& registration = registrations_[static_cast<std::size_t>(fd)];
  if (!registration.there) return nullptr;
  if (is_file(fd, registration.file)) return &registration;
  registration.there = false;
  return nullptr;
}

int Poll::add(int fd, std::uint32_t events, std::uint64_t key) noexcept {
  struct stat file {};
  Identity identity;
  if (const int error = identify(fd, file, identity)) return error;
  if (S_ISREG(file.st_mode) || S_ISDIR(file.st_mode)) return EPERM;
  if (find(fd) != nullptr) return EEXIST;
  const auto at = static_cast<std::size_t>(fd);
  try {
    if (at >= registrations_.size()) registrations_.resize(at + at / 2 + 16);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  registrations_[at] = {.there = true, .events = events, .key = key, .file = identity};
  return 0;
}

int Poll::modify(int fd, std::uint32_t events, std::uint64_t key) noexcept {
  if (Registration* const registration = find(fd)) {
    registration->events = events;
    registration->key = key;
    registration->silent = false;
    return 0;
  }
  return ::fcntl(fd, F_GETFD) < 0 ? errno : ENOENT;
}

int Poll::remove(int fd) noexcept {
  if (Registration* const registration = find(fd)) {
    registration->there = false;
    return 0;
  }
  return ::fcntl(fd, F_GETFD) < 0 ? errno : ENOENT;
}

void Poll::forget_all() noexcept {
  for (Registration& each : registrations_) each.there = false;
}

bool Poll::renew() noexcept {
  forget_all();
  return true;
}

// --- waiting ------------------------------------------------------------------------------------

// Lists the descriptors for poll(). A registration with `edge` is left out while its owner has not
// used up the last report: poll() would report the same cause for ever.
void Poll::ask(const Wishes& wishes) {
  asked_.clear();
  asked_.push_back({.fd = read_end_, .events = POLLIN, .revents = 0});
  for (std::size_t at = 0; at < registrations_.size(); ++at) {
    const Registration& each = registrations_[at];
    if (!each.there || each.silent) continue;
    const int fd = static_cast<int>(at);
    std::uint32_t events = each.events;
    if ((events & Events::edge) != 0) {
      events = wishes.wanted(fd);
      if (events == 0) continue;
    }
    asked_.push_back({.fd = fd, .events = asked_of_poll(events), .revents = 0});
  }
}

// Reads away the bytes of wake-ups. Returns false if other code has closed one of the ends.
bool Poll::drain() noexcept {
  if (!is_file(read_end_, read_file_)) return false;
  const Uncancelled guard;
  std::array<char, 64> bytes{};
  ssize_t count = 0;
  do {
    count = ::read(read_end_, bytes.data(), bytes.size());
  } while (count > 0);
  return count < 0;
}

int Poll::wait(std::span<Event> events, int milliseconds, const Wishes& wishes) {
  try {
    ask(wishes);
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
    return -1;
  }
  if (::poll(asked_.data(), static_cast<nfds_t>(asked_.size()), milliseconds) < 0) return -1;
  if (asked_[0].revents != 0 && !drain()) {
    errno = EBADF;
    return -1;
  }
  std::size_t reported = 0;
  for (std::size_t i = 1; i < asked_.size() && reported < events.size(); ++i) {
    const pollfd& told = asked_[i];
    if (told.revents == 0) continue;
    Registration* const registration = find(told.fd);
    if (registration == nullptr) continue;  // the number was closed, perhaps opened anew
    std::uint32_t ready = told_by_poll(told.revents);
    // poll() is not asked for urgent data, which it would report until the data has been read.
    // Readable data may contain an urgent byte, so `urgent` is reported with it.
    if ((registration->events & Events::edge) != 0 && (ready & Events::in) != 0)
      ready |= Events::urgent;
    if ((registration->events & Events::once) != 0) registration->silent = true;
    events[reported++] = {registration->key, ready};
  }
  return static_cast<int>(reported);
}

void Poll::wake() noexcept {
  const int fd = write_end_;
  if (fd < 0) return;  // closed
  const Uncancelled guard;
  const char byte = 0;
  // If the buffer is full, earlier wake-ups are still there.
  while (::send(fd, &byte, 1, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// --- the pair -----------------------------------------------------------------------------------

int Poll::revive() noexcept {
  forget_all();
  return open();
}

void Poll::forked() noexcept {
  forget_all();
  std::array<int, 2> ends{};
  if (make_pair(ends) != 0) return;
  const std::array<int, 2> numbers{read_end_, write_end_};
  for (std::size_t i = 0; i < ends.size(); ++i) {
    if (::dup2(ends[i], numbers[i]) >= 0) ::fcntl(numbers[i], F_SETFD, FD_CLOEXEC);
    ::close(ends[i]);
  }
  own_pair(numbers);
}

void Poll::close() noexcept {
  const Uncancelled guard;
  for (std::atomic<int>& own : own_)
    if (const int fd = own.exchange(-1); fd >= 0) ::close(fd);
}

int Poll::move(std::atomic<int>& own, int first) noexcept {
  const int moved = ::fcntl(own, F_DUPFD_CLOEXEC, first);
  if (moved < 0) return errno == EINVAL ? EMFILE : errno;
  own = moved;
  wake();  // a wait() that is under way asks for the old number
  return 0;
}

}  // namespace

std::unique_ptr<Poller> Poller::make() { return opened<Poll>(); }

}  // namespace fiber::platform
