#include <fiber/asyncio/sock.hpp>

#include <fiber/asyncio/idna.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

namespace fiber::asyncio {

gaierror::gaierror(int error_number, std::string_view detail)
    : OSError("[Errno " + std::to_string(error_number) + "] " + ::gai_strerror(error_number) +
              (detail.empty() ? "" : ": " + std::string(detail))),
      code_(error_number) {}
gaierror::~gaierror() = default;

// --- names --------------------------------------------------------------------------------------

namespace detail {

void refuse_null_bytes(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw ValueError("embedded null byte");
}

std::exception_ptr os_error(int error_number, std::string_view detail) {
  try {
    raise_os_error(error_number, detail);
  } catch (...) {
    return std::current_exception();
  }
}

namespace {

void check_address(const std::string& host, int port) {
  refuse_null_bytes(host);
  if (port < 0 || port > 65535)
    throw gaierror(EAI_SERVICE, "port must be 0-65535, not " + std::to_string(port));
}

}  // namespace

std::vector<AddressInfo> look_up(const std::string& host, int port,
                                 const GetaddrinfoOptions& options) {
  check_address(host, port);
  const bool ascii = std::all_of(host.begin(), host.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const std::string name = ascii ? host : to_ascii(host);
  addrinfo hints{};
  hints.ai_family = options.family;
  hints.ai_socktype = options.type;
  hints.ai_protocol = options.proto;
  hints.ai_flags = options.flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.empty() ? nullptr : name.c_str(),
                                  std::to_string(port).c_str(), &hints, &list);
  if (error == EAI_SYSTEM) raise_os_error(errno, host);
  if (error != 0) throw gaierror(error, host);
  struct Free {
    addrinfo* list;
    ~Free() { ::freeaddrinfo(list); }
  } free_list{list};
  std::vector<AddressInfo> found;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next)
    found.push_back({.family = at->ai_family,
                     .type = at->ai_socktype,
                     .proto = at->ai_protocol,
                     .canonname = at->ai_canonname != nullptr ? at->ai_canonname : "",
                     .address = SocketAddress::from_raw(at->ai_addr, at->ai_addrlen)});
  return found;
}

namespace {

bool is_numeric(const std::string& host) {
  in6_addr unused;
  return ::inet_pton(AF_INET, host.c_str(), &unused) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &unused) == 1;
}

}  // namespace

std::vector<AddressInfo> resolve(LoopObject& loop, std::string host, int port,
                                 GetaddrinfoOptions options) {
  check_address(host, port);
  // A name that needs no look at the network needs no thread either.
  if (host.empty() || is_numeric(host)) return look_up(host, port, options);
  return asyncio::await(EventLoop(&loop).run_in_executor(
      nullptr, [host = std::move(host), port, options] { return look_up(host, port, options); }));
}

std::pair<std::string, std::string> name_of(LoopObject& loop, const SocketAddress& address,
                                            int flags) {
  const auto ask = [address, flags] {
    char host[NI_MAXHOST] = "";
    char service[NI_MAXSERV] = "";
    const int error = ::getnameinfo(address.data(), address.size(), host, sizeof host, service,
                                    sizeof service, flags);
    if (error == EAI_SYSTEM) raise_os_error(errno);
    if (error != 0) throw gaierror(error, repr(address));
    return std::pair<std::string, std::string>(host, service);
  };
  if ((flags & NI_NUMERICHOST) != 0 && (flags & NI_NUMERICSERV) != 0) return ask();
  return asyncio::await(EventLoop(&loop).run_in_executor(nullptr, ask));
}

// --- sockets by hand ----------------------------------------------------------------------------

bool begin_connect(int fd, const SocketAddress& address) {
  auto pause = std::chrono::milliseconds(1);
  while (::connect(fd, address.data(), address.size()) != 0) {
    if (errno == EINPROGRESS || errno == EINTR) return true;
    if (errno != EAGAIN) raise_os_error(errno, "Connect call failed " + repr(address));
    // A Unix server whose backlog is full: no event tells when there is room.
    asyncio::await(asyncio::sleep(pause));
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
  return false;
}

void end_connect(int fd, const SocketAddress& address) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) raise_os_error(error, "Connect call failed " + repr(address));
}

namespace {

void check_nonblocking(const LoopObject& loop, int fd) {
  if (loop.debug() && (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0)
    throw ValueError("the socket must be non-blocking");
}

using For = Selector::For;

// A task's wait for a system call, which is made again whenever the descriptor is ready, as the
// callback of CPython's sock_ functions does: the task goes on one iteration later. On the waiting
// stack; nothing is allocated.
class Attempts final : private DescriptorStep {
 public:
  // `attempt(call)` makes the call; it returns false if that would block, and throws errors.
  Attempts(LoopObject& its_loop, int its_fd, For what, bool (*attempt)(void*), void* call)
      : DescriptorStep(its_loop, its_fd, what == For::writing),
        attempt_(attempt),
        call_(call),
        waiter_(its_loop) {
    run = step;
    loop.ready_queue().claim();
  }
  Attempts(const Attempts&) = delete;
  Attempts& operator=(const Attempts&) = delete;
  ~Attempts() {
    loop.selector().leave(*this);
    if (!queued) loop.ready_queue().give_back();
  }
  // Suspends until the call has been made. Throws its error.
  void wait() {
    loop.selector().add(*this);
    waiter_.wait();
  }

 private:
  static void step(Leaf* leaf) noexcept {
    auto* self = static_cast<Attempts*>(leaf);
    self->queued = false;
    self->loop.ready_queue().claim_again();
    if (self->waiter_.done()) return;
    const platform::Uncancelled guard;
    try {
      if (self->error != 0) raise_os_error(self->error);
      // Another task may have taken the place meanwhile.
      if (self->listed && self->attempt_(self->call_)) self->waiter_.finish();
    } catch (...) {
      self->waiter_.end_with(std::current_exception());
    }
  }

  bool (*attempt_)(void*);
  void* call_;
  Waiter waiter_;
};

// Returns the result of a system call, made again and again until it does not block.
template <class F>
std::size_t retry(LoopObject& loop, int fd, For what, F&& call) {
  check_nonblocking(loop, fd);
  struct Call {
    LoopObject& loop;
    int fd;
    F& function;
    std::size_t result = 0;
    static bool attempt(void* self) { return static_cast<Call*>(self)->attempt(); }
    bool attempt() {
      std::ptrdiff_t count = 0;
      do {
        count = function();
      } while (count < 0 && errno == EINTR);
      if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
      // The connection has ended, or failed: its number will go to another file soon.
      if (count <= 0) loop.selector().doubt(fd);
      if (count < 0) raise_os_error(errno);
      result = static_cast<std::size_t>(count);
      return true;
    }
  } its{loop, fd, call};
  if (!its.attempt()) Attempts(loop, fd, what, Call::attempt, &its).wait();
  return its.result;
}

}  // namespace

namespace {

bool is_stream(int fd) noexcept {
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  return type == SOCK_STREAM;
}

}  // namespace

std::string sock_recv(LoopObject& loop, int fd, std::size_t n) {
  std::string data;
  if (n == 0) return data;  // like Python's recv(0): no system call is made
  // A stream keeps the rest for the next call; a datagram that is too long loses its rest.
  if (n > Selector::kScratchSize && !is_stream(fd)) return sock_recvfrom(loop, fd, n).first;
  retry(loop, fd, For::reading, [&] {
    const std::size_t size = std::min(n, Selector::kScratchSize);
    const std::ptrdiff_t got = ::recv(fd, loop.selector().scratch(), size, MSG_DONTWAIT);
    if (got > 0) data.assign(loop.selector().scratch(), static_cast<std::size_t>(got));
    return got;
  });
  return data;
}

std::size_t sock_recv_into(LoopObject& loop, int fd, std::span<char> buffer) {
  if (buffer.empty()) return 0;
  return retry(loop, fd, For::reading,
               [&] { return ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT); });
}

namespace {

// Returns the room to give to the next datagram, at most n bytes. For a large n the kernel is asked
// for the size of the datagram, so that no more memory than needed is allocated. Returns -1 with
// errno for an error of the socket, which the kernel reports only once.
std::ptrdiff_t room_for_datagram(int fd, std::size_t n) noexcept {
  constexpr std::size_t kUsual = 64 * 1024;
  if (n <= kUsual) return static_cast<std::ptrdiff_t>(n);
  const std::ptrdiff_t size = ::recv(fd, nullptr, 0, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
  if (size < 0) return size;
  return static_cast<std::ptrdiff_t>(std::clamp(static_cast<std::size_t>(size), kUsual, n));
}

// Receives a datagram and its sender; room() returns the memory for it, before each try, or nothing
// with errno.
template <class Room>
std::pair<std::size_t, SocketAddress> receive_from(LoopObject& loop, int fd, Room room) {
  sockaddr_storage from{};
  socklen_t size = 0;
  const std::size_t count = retry(loop, fd, For::reading, [&] {
    size = sizeof from;
    const std::optional<std::span<char>> memory = room();
    if (!memory) return std::ptrdiff_t{-1};
    return ::recvfrom(fd, memory->data(), memory->size(), MSG_DONTWAIT,
                      reinterpret_cast<sockaddr*>(&from), &size);
  });
  return {count, SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&from), size)};
}

}  // namespace

std::pair<std::string, SocketAddress> sock_recvfrom(LoopObject& loop, int fd, std::size_t n) {
  std::string buffer;
  auto [count, from] = receive_from(loop, fd, [&]() -> std::optional<std::span<char>> {
    const std::ptrdiff_t room = room_for_datagram(fd, n);
    if (room < 0) return std::nullopt;
    buffer.resize(static_cast<std::size_t>(room));
    return buffer;
  });
  buffer.resize(count);
  return {std::move(buffer), std::move(from)};
}

std::pair<std::size_t, SocketAddress> sock_recvfrom_into(LoopObject& loop, int fd,
                                                         std::span<char> buffer) {
  return receive_from(loop, fd, [&] { return std::optional(buffer); });
}

void sock_sendall(LoopObject& loop, int fd, std::string_view data) {
  if (data.empty()) return;
  // A part was sent, and there is no room for the rest. As in CPython, the rest is sent by a
  // callback of the descriptor, without waking the task for each part.
  retry(loop, fd, For::writing, [&] {
    const std::ptrdiff_t count = ::send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return count;
    data.remove_prefix(static_cast<std::size_t>(count));
    if (data.empty()) return count;
    errno = EAGAIN;
    return std::ptrdiff_t{-1};
  });
}

std::size_t sock_sendto(LoopObject& loop, int fd, std::string_view data,
                        const SocketAddress& address) {
  return retry(loop, fd, For::writing, [&] {
    return ::sendto(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL, address.data(),
                    address.size());
  });
}

void sock_connect(LoopObject& loop, int fd, const SocketAddress& address) {
  check_nonblocking(loop, fd);
  loop.selector().doubt(fd);  // the number of a new file
  if (!begin_connect(fd, address)) return;
  Attempts(
      loop, fd, For::writing, [](void*) { return true; }, nullptr)
      .wait();
  end_connect(fd, address);
}

std::pair<int, SocketAddress> sock_accept(LoopObject& loop, int fd) {
  UniqueFd connection;
  sockaddr_storage peer{};
  socklen_t size = 0;
  retry(loop, fd, For::reading, [&]() -> std::ptrdiff_t {
    size = sizeof peer;
    connection = UniqueFd(
        ::accept4(fd, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    return connection.get();
  });
  loop.selector().doubt(connection.get());
  return {connection.release(),
          SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&peer), size)};
}

}  // namespace detail
}  // namespace fiber::asyncio
