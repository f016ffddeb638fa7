// recv, send and their messages.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <climits>
#include <cstddef>

namespace fiber::monkey::detail {
namespace {

// never_waits(): flags with which receiving never waits. is_left_alone(): flags with which sending
// never waits, or also connects (MSG_FASTOPEN).
bool never_waits(int flags) noexcept {
  return (flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)) != 0;
}
bool is_left_alone(int flags) noexcept {
  return (flags & (MSG_DONTWAIT | MSG_OOB | MSG_FASTOPEN)) != 0;
}

// Repeats MSG_PEEK with MSG_WAITALL until enough bytes have arrived, or the end of the stream. The
// descriptor is ready all the time, since some bytes are there already.
template <class F>
ssize_t peek_all(const Call& call, int fd, std::size_t size, F attempt) noexcept {
  const auto patience = Patience::of(call, fd, Direction::reading);
  Backoff backoff;
  for (;;) {
    const ssize_t count = when_possible(call, fd, Direction::reading, attempt);
    if (count <= 0 || static_cast<std::size_t>(count) >= size || !patience || patience->nonblocking)
      return count;
    pollfd end{.fd = fd, .events = POLLRDHUP, .revents = 0};
    if (real().poll(&end, 1, 0) != 0) return count;
    if (!backoff.pause(call, patience->deadline, false)) return call.done(count);
  }
}

// Repeats attempt(buffers, flag), which receives into the rest of the buffers; `flag` is
// MSG_DONTWAIT or 0.
template <class F>
ssize_t receive(const Call& call, int fd, int flags, Buffers& buffers, std::size_t size,
                F attempt) noexcept {
  if ((flags & MSG_PEEK) != 0)
    return peek_all(call, fd, size, [&](int how) { return attempt(buffers, how); });
  return whole(call, fd, Direction::reading, buffers, attempt);
}

// Whether a message can be received in parts: its header and its vectors can be read. Otherwise the
// kernel refuses the message at once.
bool is_whole(const msghdr* message) noexcept {
  return is_readable(message) && message->msg_iovlen <= IOV_MAX &&
         is_readable(message->msg_iov, message->msg_iovlen * sizeof(iovec));
}

std::size_t size_of(const msghdr& message) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) size += message.msg_iov[i].iov_len;
  return size;
}

int option_of(int fd, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : 0;
}

// Whether descriptors came with a part: the kernel does not receive more behind them. If there was
// no room for descriptors, MSG_CTRUNC is set; with SO_PASSCRED this flag may be about credentials
// instead.
bool has_descriptors(int fd, msghdr& message) noexcept {
  if ((message.msg_flags & MSG_CTRUNC) != 0 && option_of(fd, SO_DOMAIN) == AF_UNIX &&
      option_of(fd, SO_PASSCRED) == 0)
    return true;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at))
    if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS) return true;
  return false;
}

// Receives until the buffers of the message are full.
ssize_t receive_in_parts(const Call& call, int fd, msghdr* message, int flags) noexcept {
  const std::size_t size = size_of(*message);
  const msghdr asked = *message;
  Buffers buffers(asked.msg_iov, asked.msg_iovlen);
  std::size_t control = 0;  // control bytes received with earlier parts
  std::size_t begin = 0;
  const ssize_t result = receive(call, fd, flags, buffers, size, [&](Buffers& rest, int how) {
    *message = asked;
    message->msg_iov = const_cast<iovec*>(rest.data());
    message->msg_iovlen = rest.count();
    message->msg_control = static_cast<char*>(asked.msg_control) + begin;
    message->msg_controllen = asked.msg_controllen - begin;
    const ssize_t count = real().recvmsg(fd, message, flags | how);
    if (count >= 0) {
      control = begin + message->msg_controllen;
      begin = std::min(CMSG_ALIGN(control), static_cast<std::size_t>(asked.msg_controllen));
      if ((flags & MSG_PEEK) == 0 && has_descriptors(fd, *message)) rest.end();
    }
    return count;
  });
  if (result < 0) {
    *message = asked;
  } else {
    message->msg_iov = asked.msg_iov;
    message->msg_iovlen = asked.msg_iovlen;
    message->msg_control = asked.msg_control;
    message->msg_controllen = control;
  }
  return result;
}

// Whether the kernel waits until the buffers are full. A look at the bytes of a Unix socket shows
// those that are there.
bool is_in_parts(int fd, int flags) noexcept {
  return (flags & MSG_WAITALL) != 0 && is_stream_socket(fd) &&
         ((flags & MSG_PEEK) == 0 || option_of(fd, SO_DOMAIN) != AF_UNIX);
}

ssize_t recv_(int fd, void* buffer, std::size_t size, int flags) noexcept {
  const Call call;
  if (!call || never_waits(flags)) return call.tried(real().recv(fd, buffer, size, flags));
  if (is_in_parts(fd, flags)) {
    iovec one{.iov_base = buffer, .iov_len = size};
    msghdr message{};
    message.msg_iov = &one;
    message.msg_iovlen = 1;
    return receive_in_parts(call, fd, &message, flags);
  }
  return when_possible(call, fd, Direction::reading,
                       [=](int how) { return real().recv(fd, buffer, size, flags | how); });
}

ssize_t recvfrom_(int fd, void* buffer, std::size_t size, int flags, sockaddr* address,
                  socklen_t* length) noexcept {
  const Call call;
  if (!call || never_waits(flags))
    return call.tried(real().recvfrom(fd, buffer, size, flags, address, length));
  if (is_in_parts(fd, flags) && (address == nullptr || is_readable(length))) {
    iovec one{.iov_base = buffer, .iov_len = size};
    msghdr message{};
    message.msg_iov = &one;
    message.msg_iovlen = 1;
    message.msg_name = address;
    message.msg_namelen = address != nullptr ? *length : 0;
    const ssize_t count = receive_in_parts(call, fd, &message, flags);
    if (count < 0 || address == nullptr || give(length, message.msg_namelen)) return count;
    return -1;
  }
  return when_possible(call, fd, Direction::reading, [=](int how) {
    return real().recvfrom(fd, buffer, size, flags | how, address, length);
  });
}

ssize_t receive_message(const Call& call, int fd, msghdr* message, int flags) noexcept {
  if (!call || never_waits(flags)) return call.tried(real().recvmsg(fd, message, flags));
  if (is_in_parts(fd, flags) && is_whole(message))
    return receive_in_parts(call, fd, message, flags);
  // A failed attempt leaves the message unchanged.
  return when_possible(call, fd, Direction::reading,
                       [=](int how) { return real().recvmsg(fd, message, flags | how); });
}

ssize_t recvmsg_(int fd, msghdr* message, int flags) noexcept {
  const Call call;
  return receive_message(call, fd, message, flags);
}

// Returns the remaining part of a time limit; zero after its end.
timespec rest_of(const timespec& limit, std::int64_t passed) noexcept {
  timespec rest{.tv_sec = limit.tv_sec - static_cast<std::time_t>(passed / kSecond),
                .tv_nsec = limit.tv_nsec - static_cast<long>(passed % kSecond)};
  if (rest.tv_nsec < 0) {
    rest.tv_nsec += static_cast<long>(kSecond);
    --rest.tv_sec;
  }
  return rest.tv_sec < 0 ? timespec{} : rest;
}

// Returns the header of a message without reading it: the memory may be invalid.
msghdr* header_at(mmsghdr* message) noexcept {
  static_assert(offsetof(mmsghdr, msg_hdr) == 0);
  return reinterpret_cast<msghdr*>(message);
}

// Receives message by message. Like the kernel, checks the time limit only after each message, and
// writes the remaining time to `limit`: a limit does not end the wait for a message.
int recvmmsg_(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit) noexcept {
  const Call call;
  if (!call || count == 0 || never_waits(flags) || !is_usable(limit) ||
      (limit != nullptr && !is_valid(*limit)))
    return call.tried(real().recvmmsg(fd, messages, count, flags, limit));
  const timespec given = limit != nullptr ? *limit : timespec{};
  const std::int64_t begin = call.now();
  unsigned got = 0;
  while (got < count) {
    const int one_flags = got > 0 && (flags & MSG_WAITFORONE) != 0 ? flags | MSG_DONTWAIT : flags;
    const ssize_t size =
        receive_message(call, fd, header_at(messages + got), one_flags & ~MSG_WAITFORONE);
    if (size < 0) break;
    call.progress();
    messages[got].msg_len = static_cast<unsigned>(size);
    ++got;
    if (limit == nullptr) continue;
    const timespec rest = rest_of(given, call.now() - begin);
    if (!give(limit, rest)) return -1;
    if (rest.tv_sec == 0 && rest.tv_nsec == 0) break;
  }
  return got > 0 ? call.done(static_cast<int>(got)) : -1;
}

ssize_t sendto_(int fd, const void* buffer, std::size_t size, int flags, const sockaddr* address,
                socklen_t length) noexcept {
  const Call call;
  if (!call || is_left_alone(flags))
    return call.tried(real().sendto(fd, buffer, size, flags, address, length));
  const iovec one{.iov_base = const_cast<void*>(buffer), .iov_len = size};
  Buffers buffers(&one, 1);
  return whole(call, fd, Direction::writing, buffers, [=](Buffers& rest, int how) {
    const iovec* left = rest.data();
    return real().sendto(fd, left->iov_base, left->iov_len, flags | how, address, length);
  });
}

ssize_t send_(int fd, const void* buffer, std::size_t size, int flags) noexcept {
  return sendto_(fd, buffer, size, flags, nullptr, 0);
}

ssize_t send_message(const Call& call, int fd, const msghdr* message, int flags) noexcept {
  if (!call || is_left_alone(flags)) return call.tried(real().sendmsg(fd, message, flags));
  Buffers buffers;
  msghdr part{};
  bool begun = false;
  return whole(call, fd, Direction::writing, buffers, [&](Buffers& rest, int how) {
    // The first call gets the message unchanged: only the kernel can tell whether its memory can be
    // read.
    if (!begun) {
      const ssize_t count = real().sendmsg(fd, message, flags | how);
      if (count < 0 && errno != EAGAIN) return count;
      begun = true;
      part = *message;
      rest.begin(part.msg_iov, part.msg_iovlen);
      if (count > 0) part.msg_controllen = 0;
      return count;
    }
    part.msg_iov = const_cast<iovec*>(rest.data());
    part.msg_iovlen = rest.count();
    const ssize_t count = real().sendmsg(fd, &part, flags | how);
    if (count > 0) part.msg_controllen = 0;  // the control data was sent with the first part
    return count;
  });
}

ssize_t sendmsg_(int fd, const msghdr* message, int flags) noexcept {
  const Call call;
  return send_message(call, fd, message, flags);
}

// Like the kernel, ends behind a message of which only a part could be sent.
int sendmmsg_(int fd, mmsghdr* messages, unsigned count, int flags) noexcept {
  const Call call;
  if (!call || count == 0 || is_left_alone(flags))
    return call.tried(real().sendmmsg(fd, messages, count, flags));
  unsigned sent = 0;
  for (bool complete = true; complete && sent < count; ++sent) {
    const ssize_t size = send_message(call, fd, header_at(messages + sent), flags);
    if (size < 0) break;
    call.progress();
    messages[sent].msg_len = static_cast<unsigned>(size);
    complete = static_cast<std::size_t>(size) >= size_of(messages[sent].msg_hdr);
  }
  return sent > 0 ? call.done(static_cast<int>(sent)) : -1;
}

ssize_t recv_chk_(int fd, void* buffer, std::size_t size, std::size_t room, int flags) noexcept {
  if (size > room) return real().recv_chk(fd, buffer, size, room, flags);
  return recv_(fd, buffer, size, flags);
}

ssize_t recvfrom_chk_(int fd, void* buffer, std::size_t size, std::size_t room, int flags,
                      sockaddr* address, socklen_t* length) noexcept {
  if (size > room) return real().recvfrom_chk(fd, buffer, size, room, flags, address, length);
  return recvfrom_(fd, buffer, size, flags, address, length);
}

}  // namespace

std::span<const Hook> message_hooks() noexcept {
  static const Hook hooks[] = {
      hook<recv_>("recv"),
      hook<recv_>("__recv"),
      hook<recv_chk_>("__recv_chk"),
      hook<recvfrom_>("recvfrom"),
      hook<recvfrom_chk_>("__recvfrom_chk"),
      hook<recvmsg_>("recvmsg"),
      hook<recvmmsg_>("recvmmsg"),
      hook<send_>("send"),
      hook<send_>("__send"),
      hook<sendto_>("sendto"),
      hook<sendmsg_>("sendmsg"),
      hook<sendmmsg_>("sendmmsg"),
      hook<sendmmsg_>("__sendmmsg"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
