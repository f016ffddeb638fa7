#include <fiber/socket.hpp>

#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/exceptiongroup.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <ostream>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace fiber::socket {
namespace {

using asyncio::AddressInfo;
using asyncio::detail::UniqueFd;

// Makes a call, again if a signal has interrupted it.
template <class F>
auto checked(F&& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) raise_os_error(errno);
  }
}

template <class F>
std::size_t count_of(F&& call) {
  return static_cast<std::size_t>(checked(std::forward<F>(call)));
}

std::string room_for(std::size_t n) {
  if (n > std::string().max_size())
    throw MemoryError("a string cannot have " + std::to_string(n) + " bytes");
  return std::string(n, '\0');
}

int int_option(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  checked([&] { return ::getsockopt(fd, level, option, &value, &size); });
  return value;
}

}  // namespace

// --- beginning and end --------------------------------------------------------------------------

socket::socket(int family, int type, int proto) : family_(family), proto_(proto) {
  constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  type_ = type & ~kFlags;
  fd_ = UniqueFd(checked([&] { return ::socket(family, type | SOCK_CLOEXEC, proto); }));
}

socket socket::from_fd(int fd) {
  const int family = int_option(fd, SOL_SOCKET, SO_DOMAIN);
  const int type = int_option(fd, SOL_SOCKET, SO_TYPE);
  return {Adopt(), fd, family, type, int_option(fd, SOL_SOCKET, SO_PROTOCOL)};
}

socket::socket(socket&& other) noexcept = default;
socket& socket::operator=(socket&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  family_ = other.family_;
  type_ = other.type_;
  proto_ = other.proto_;
  return *this;
}

void socket::close() noexcept {
  if (fd_.get() < 0) return;
  if (asyncio::detail::LoopObject* loop = asyncio::detail::asyncio_thread().running)
    loop->selector().closing(fd_.get());
  fd_.reset();
}

socket socket::dup() const {
  const int fd = checked([&] { return ::fcntl(fileno(), F_DUPFD_CLOEXEC, 0); });
  return {Adopt(), fd, family_, type_, proto_};
}

void socket::shutdown(int how) const {
  checked([&] { return ::shutdown(fileno(), how); });
}

// --- connections --------------------------------------------------------------------------------

void socket::bind(const address& given) const {
  // Python's "" is the family's own address of all interfaces.
  const bool any = family_ == AF_INET6 && given == address("", given.port());
  const address where = any ? address("::", given.port()) : given;
  if (::bind(fileno(), where.data(), where.size()) != 0) raise_os_error(errno, where.text());
}

void socket::listen(int backlog) const {
  checked([&] { return ::listen(fileno(), backlog); });
}

std::pair<socket, address> socket::accept() const {
  sockaddr_storage raw{};
  socklen_t size = 0;
  const int fd = checked([&] {
    size = sizeof raw;
    return ::accept4(fileno(), reinterpret_cast<sockaddr*>(&raw), &size, SOCK_CLOEXEC);
  });
  return {socket(Adopt(), fd, family_, type_, proto_),
          address::from_raw(reinterpret_cast<const sockaddr*>(&raw), size)};
}

void socket::connect(const address& to) const {
  if (const int error = connect_ex(to)) raise_os_error(error, to.text());
}

// After a signal the kernel goes on connecting, and a second call would be refused.
int socket::connect_ex(const address& to) const noexcept {
  if (::connect(fileno(), to.data(), to.size()) == 0) return 0;
  if (errno != EINTR) return errno;
  pollfd wait{.fd = fileno(), .events = POLLOUT, .revents = 0};
  while (::poll(&wait, 1, -1) < 0)
    if (errno != EINTR) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fileno(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

// --- data ---------------------------------------------------------------------------------------

std::string socket::recv(std::size_t n, int flags) const {
  std::string data = room_for(n);
  data.resize(recv_into(data, flags));
  return data;
}

std::size_t socket::recv_into(std::span<char> buffer, int flags) const {
  return count_of([&] { return ::recv(fileno(), buffer.data(), buffer.size(), flags); });
}

std::pair<std::string, address> socket::recvfrom(std::size_t n, int flags) const {
  std::string data = room_for(n);
  sockaddr_storage raw{};
  socklen_t size = 0;
  data.resize(count_of([&] {
    size = sizeof raw;
    return ::recvfrom(fileno(), data.data(), n, flags, reinterpret_cast<sockaddr*>(&raw), &size);
  }));
  return {std::move(data), address::from_raw(reinterpret_cast<const sockaddr*>(&raw), size)};
}

std::size_t socket::send(std::string_view data, int flags) const {
  return count_of([&] { return ::send(fileno(), data.data(), data.size(), flags | MSG_NOSIGNAL); });
}

std::size_t socket::sendto(std::string_view data, const address& to, int flags) const {
  return count_of([&] {
    return ::sendto(fileno(), data.data(), data.size(), flags | MSG_NOSIGNAL, to.data(), to.size());
  });
}

void socket::sendall(std::string_view data, int flags) const {
  while (!data.empty()) data.remove_prefix(send(data, flags));
}

// --- options ------------------------------------------------------------------------------------

address socket::getsockname() const {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  checked([&] { return ::getsockname(fileno(), reinterpret_cast<sockaddr*>(&raw), &size); });
  return address::from_raw(reinterpret_cast<const sockaddr*>(&raw), size);
}

address socket::getpeername() const {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  checked([&] { return ::getpeername(fileno(), reinterpret_cast<sockaddr*>(&raw), &size); });
  return address::from_raw(reinterpret_cast<const sockaddr*>(&raw), size);
}

void socket::setsockopt(int level, int option, int value) const {
  checked([&] { return ::setsockopt(fileno(), level, option, &value, sizeof value); });
}

void socket::setsockopt(int level, int option, std::string_view value) const {
  checked([&] {
    return ::setsockopt(fileno(), level, option, value.data(),
                        static_cast<socklen_t>(value.size()));
  });
}

int socket::getsockopt(int level, int option) const { return int_option(fileno(), level, option); }

std::string socket::getsockopt(int level, int option, std::size_t size) const {
  constexpr std::size_t kLargest = 1024;  // as Python
  if (size == 0 || size > kLargest) throw OSError("getsockopt buflen out of range");
  std::string value(size, '\0');
  auto length = static_cast<socklen_t>(size);
  checked([&] { return ::getsockopt(fileno(), level, option, value.data(), &length); });
  value.resize(length);
  return value;
}

void socket::setblocking(bool blocking) const {
  const int flags = checked([&] { return ::fcntl(fileno(), F_GETFL); });
  checked([&] {
    return ::fcntl(fileno(), F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
  });
}

bool socket::getblocking() const {
  return (checked([&] { return ::fcntl(fileno(), F_GETFL); }) & O_NONBLOCK) == 0;
}

std::string repr(const socket& of) {
  std::string text = "<socket.socket ";
  if (!of) text += "[closed] ";
  text += "fd=" + std::to_string(of.fileno()) + ", family=" + std::to_string(of.family()) +
          ", type=" + std::to_string(of.type()) + ", proto=" + std::to_string(of.proto());
  if (of) {
    const auto add = [&](const char* key, const address& at) {
      if (at) text += key + repr(at);
    };
    add(", laddr=", address::of_socket(of.fileno()));
    add(", raddr=", address::of_peer(of.fileno()));
  }
  return text + ">";
}

std::ostream& operator<<(std::ostream& out, const socket& of) { return out << repr(of); }

std::pair<socket, socket> socketpair(int family, int type, int proto) {
  int ends[2] = {-1, -1};
  checked([&] { return ::socketpair(family, type | SOCK_CLOEXEC, proto, ends); });
  UniqueFd first(ends[0]);
  UniqueFd second(ends[1]);
  socket one = socket::from_fd(first.get());
  static_cast<void>(first.release());
  socket other = socket::from_fd(second.get());
  static_cast<void>(second.release());
  return {std::move(one), std::move(other)};
}

// --- create_connection --------------------------------------------------------------------------

namespace {

// Waits as the caller should: a task suspends, a thread blocks.
class Connector {
 public:
  explicit Connector(const CreateConnectionOptions& options)
      : options_(options), loop_(asyncio::detail::asyncio_thread().running) {
    if (loop_ != nullptr && loop_->turns().current_task == nullptr) loop_ = nullptr;
  }

  std::vector<AddressInfo> addresses(const std::string& host, int port, int family = 0,
                                     int flags = 0) const {
    const asyncio::GetaddrinfoOptions hints{.family = family, .type = SOCK_STREAM, .flags = flags};
    if (loop_ != nullptr) return asyncio::detail::resolve(*loop_, host, port, hints);
    return asyncio::detail::look_up(host, port, hints);
  }

  void connect(const socket& sock, const address& to) const {
    sock.setblocking(false);
    if (loop_ != nullptr) {
      const auto connecting = [&] { asyncio::detail::sock_connect(*loop_, sock.fileno(), to); };
      if (const auto& limit = options_.timeout.value())
        asyncio::await(asyncio::wait_for(connecting, *limit));
      else
        connecting();
    } else {
      block(sock, to);
    }
    sock.setblocking(true);
  }

 private:
  void block(const socket& sock, const address& to) const {
    const int error = sock.connect_ex(to);
    if (error == 0) return;
    if (error != EINPROGRESS) raise_os_error(error, to.text());
    using Clock = std::chrono::steady_clock;
    const auto& limit = options_.timeout.value();
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = !limit || *limit > Clock::time_point::max() - start
                                      ? Clock::time_point::max()
                                      : start + *limit;
    pollfd wait{.fd = sock.fileno(), .events = POLLOUT, .revents = 0};
    for (;;) {
      using std::chrono::milliseconds;
      // poll() waits for some 24 days at most.
      const auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
      constexpr std::int64_t kLongest = std::numeric_limits<int>::max();
      const int ready = ::poll(
          &wait, 1, !limit ? -1 : static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongest)));
      if (ready > 0) break;
      if (ready == 0 && left <= kLongest) throw TimeoutError();
      if (ready < 0 && errno != EINTR) raise_os_error(errno);
    }
    asyncio::detail::end_connect(sock.fileno(), to);
  }

  const CreateConnectionOptions& options_;
  asyncio::detail::LoopObject* loop_;
};

}  // namespace

socket create_connection(const std::string& host, int port,
                         const CreateConnectionOptions& options) {
  const Connector connector(options);
  std::vector<std::exception_ptr> errors;
  for (const AddressInfo& info : connector.addresses(host, port)) {
    try {
      socket sock(info.family, info.type, info.proto);
      if (const auto& source = options.source_address)
        sock.bind(connector.addresses(source->first, source->second, info.family, AI_PASSIVE)
                      .at(0)
                      .address);
      connector.connect(sock, info.address);
      return sock;
    } catch (const OSError&) {
      errors.push_back(std::current_exception());
    }
  }
  if (options.all_errors) throw ExceptionGroup("create_connection failed", std::move(errors));
  if (errors.empty()) throw OSError("getaddrinfo returns an empty list");
  std::rethrow_exception(errors.back());
}

}  // namespace fiber::socket
