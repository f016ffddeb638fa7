// For memory that is not there and for impossible sizes patched calls fail at once, as the kernel's
// do: they neither crash nor wait.
#include <linux/futex.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include "monkey/file_calls.hpp"
#include "monkey/files.hpp"
#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

// A page, and no memory behind it.
class Edge {
 public:
  Edge() {
    REQUIRE(begin_ != MAP_FAILED);
    REQUIRE(::mprotect(static_cast<char*>(begin_) + kSize, kSize, PROT_NONE) == 0);
  }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;
  ~Edge() { ::munmap(begin_, 2 * kSize); }
  // An object of more than 4 bytes at this address lies only partly in memory.
  void* end() const { return static_cast<char*>(begin_) + kSize - 4; }

 private:
  static constexpr std::size_t kSize = 65'536;
  void* begin_ =
      ::mmap(nullptr, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
};

// Calls `with(bad)` for pointers to memory that is not there.
template <class F>
void for_bad_memory(F with) {
  const Edge edge;
  run([&] {
    for (void* bad : {reinterpret_cast<void*>(8), edge.end()}) {
      CAPTURE(bad);
      with(bad);
    }
  });
}

// Returns the name of the error of a failed call; "" after success.
std::string error_of(long result) { return result == -1 ? ::strerrorname_np(errno) : ""; }

constexpr auto kNegative = static_cast<std::size_t>(-1);

}  // namespace

TEST_CASE("vectors that are not in memory are refused") {
  for_bad_memory([](void* bad) {
    const auto* vectors = static_cast<const iovec*>(bad);
    const Ends pipe = monkey_test::pipe();
    const Ends sockets = socket_pair();
    const Descriptor event(::eventfd(0, EFD_CLOEXEC));
    for (const int fd : {int(pipe.a), int(sockets.a), int(event)})
      CHECK(error_of(calls::readv(fd, vectors, 1)) == "EFAULT");
    for (const int fd : {int(pipe.b), int(sockets.a), int(event)})
      CHECK(error_of(calls::writev(fd, vectors, 1)) == "EFAULT");
    CHECK(error_of(calls::preadv2(pipe.a, vectors, 1, -1, 0)) == "EFAULT");
    const File file("text");
    CHECK(error_of(calls::readv(file.fd, vectors, 1)) == "EFAULT");
    CHECK(error_of(calls::preadv(file.fd, vectors, 1, 0)) == "EFAULT");
    CHECK(error_of(calls::pwritev(file.fd, vectors, 1, 0)) == "EFAULT");
  });
}

TEST_CASE("sizes that are negative are refused, and not waited for") {
  run([] {
    char bytes[8] = {};
    const iovec parts[] = {{bytes, 1}, {bytes, kNegative}};
    const Ends pipe = monkey_test::pipe();
    const Ends sockets = socket_pair(SOCK_SEQPACKET);
    const Descriptor event(::eventfd(0, EFD_CLOEXEC));
    const File file("text");
    for (const int fd : {int(pipe.a), int(sockets.a), int(event), int(file.fd)}) {
      CHECK(error_of(calls::readv(fd, parts, 2)) == "EINVAL");
      CHECK(error_of(calls::read(fd, bytes, kNegative)) == "EFAULT");
    }
    for (const int fd : {int(pipe.b), int(sockets.a), int(event), int(file.fd)}) {
      CHECK(error_of(calls::writev(fd, parts, 2)) == "EINVAL");
      CHECK(error_of(calls::write(fd, bytes, kNegative)) == "EFAULT");
    }
    CHECK(error_of(calls::pread(file.fd, bytes, kNegative, 0)) == "EFAULT");
    CHECK(error_of(calls::pwrite(file.fd, bytes, kNegative, 0)) == "EFAULT");
    CHECK(error_of(calls::sendfile(sockets.a, file.fd, nullptr, kNegative)) == "EINVAL");
    CHECK(error_of(calls::splice(sockets.a, pipe.b, kNegative, 0)) == "EINVAL");
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = 2;
    for (const int flags : {0, int{MSG_WAITALL}}) {
      CHECK(error_of(calls::recvmsg(sockets.a, &message, flags)) == "EINVAL");
      CHECK(error_of(calls::sendmsg(sockets.a, &message, flags)) == "EINVAL");
    }
  });
}

TEST_CASE("messages that are not in memory are refused") {
  for_bad_memory([](void* bad) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      const Ends ends = socket_pair(type);
      msghdr message{};
      message.msg_iov = static_cast<iovec*>(bad);
      message.msg_iovlen = 1;
      for (const int flags : {0, int{MSG_WAITALL}}) {
        CHECK(error_of(calls::recvmsg(ends.a, static_cast<msghdr*>(bad), flags)) == "EFAULT");
        CHECK(error_of(calls::recvmsg(ends.a, &message, flags)) == "EFAULT");
      }
      CHECK(error_of(calls::sendmsg(ends.a, static_cast<msghdr*>(bad), 0)) == "EFAULT");
      CHECK(error_of(calls::sendmsg(ends.a, &message, 0)) == "EFAULT");
      CHECK(error_of(calls::sendmmsg(ends.a, static_cast<mmsghdr*>(bad), 1, 0)) == "EFAULT");
      CHECK(error_of(calls::recvmmsg(ends.a, static_cast<mmsghdr*>(bad), 1, 0, nullptr)) ==
            "EFAULT");
      mmsghdr one{};
      CHECK(error_of(calls::recvmmsg(ends.a, &one, 1, 0, static_cast<timespec*>(bad))) == "EFAULT");
      CHECK(calls::write(ends.b, "text", 4) == 4);
      char bytes[4];
      sockaddr_storage peer;
      CHECK(error_of(calls::recvfrom(ends.a, bytes, 4, MSG_WAITALL,
                                     reinterpret_cast<sockaddr*>(&peer),
                                     reinterpret_cast<socklen_t*>(8))) == "EFAULT");
    }
    const Ends ends = socket_pair();
    const File file("text");
    CHECK(error_of(calls::sendfile(ends.a, file.fd, static_cast<off_t*>(bad), 4)) == "EFAULT");
  });
}

TEST_CASE("a message that is received in parts has its control data and its length at the end") {
  run([] {
    const Ends ends = socket_pair();
    char bytes[4];
    iovec room{bytes, sizeof bytes};
    char control[64];
    msghdr message{};
    message.msg_iov = &room;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const auto writer = start([&] {
      CHECK(calls::write(ends.b, "ab", 2) == 2);
      await(asyncio::sleep(1ms));
      CHECK(calls::write(ends.b, "cd", 2) == 2);
    });
    CHECK(calls::recvmsg(ends.a, &message, MSG_WAITALL) == 4);
    CHECK(std::string(bytes, 4) == "abcd");
    CHECK(message.msg_controllen == 0);
    CHECK(message.msg_iov == &room);
    await(writer);
  });
}

TEST_CASE("sets, times and other lists that are not in memory are refused") {
  for_bad_memory([](void* bad) {
    auto* set = static_cast<fd_set*>(bad);
    const auto* time = static_cast<const timespec*>(bad);
    timeval soon{.tv_sec = 0, .tv_usec = 1};
    CHECK(error_of(calls::select(64, set, nullptr, nullptr, &soon)) == "EFAULT");
    CHECK(error_of(calls::select(64, nullptr, set, nullptr, nullptr)) == "EFAULT");
    CHECK(error_of(calls::select(0, nullptr, nullptr, nullptr, static_cast<timeval*>(bad))) ==
          "EFAULT");
    CHECK(error_of(calls::pselect(64, nullptr, nullptr, set, nullptr, nullptr)) == "EFAULT");
    CHECK(error_of(calls::pselect(0, nullptr, nullptr, nullptr, time, nullptr)) == "EFAULT");
    CHECK(error_of(calls::poll(static_cast<pollfd*>(bad), 1, -1)) == "EFAULT");
    CHECK(error_of(calls::ppoll(nullptr, 0, time, nullptr)) == "EFAULT");
    const Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event;
    CHECK(error_of(calls::epoll_pwait2(epoll, &event, 1, time, nullptr)) == "EFAULT");
    CHECK(error_of(calls::nanosleep(time, nullptr)) == "EFAULT");
    CHECK(calls::clock_nanosleep(CLOCK_MONOTONIC, 0, time, nullptr) == EFAULT);
    sigset_t none;
    ::sigemptyset(&none);
    CHECK(error_of(calls::sigtimedwait(&none, nullptr, time)) == "EFAULT");
    CHECK(error_of(calls::semop(0, static_cast<sembuf*>(bad), 100'000)) == "E2BIG");
    const long address = reinterpret_cast<long>(bad);
    int word = 0;
    CHECK(error_of(calls::syscall(SYS_futex, 8, FUTEX_WAIT, 0, 0, 0, 0)) == "EFAULT");
    CHECK(error_of(calls::syscall(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAIT, 0, address,
                                  0, 0)) == "EFAULT");
    CHECK(error_of(calls::syscall(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAIT_BITSET, 0, 0,
                                  0, 0)) == "EINVAL");
  });
}

TEST_CASE("results that cannot be written are refused when there is one") {
  for_bad_memory([](void* bad) {
    int error = 0;
    const auto sleeper = start([&] {
      const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
      CHECK(calls::nanosleep(&hour, static_cast<timespec*>(bad)) == -1);
      error = errno;
    });
    await(asyncio::sleep(0s));
    sleeper.cancel();
    await(asyncio::wait(std::vector{sleeper}));
    CHECK(error == EFAULT);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(3);
    CHECK(error_of(calls::waitid(P_PID, static_cast<id_t>(child), static_cast<siginfo_t*>(bad),
                                 WEXITED)) == "EFAULT");
  });
}

TEST_CASE("poll looks at 32 bits of its count, as the kernel does") {
  run([] {
    const Ends ends = socket_pair();
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 1};
    constexpr auto kBeyond = nfds_t{1} << 40U;
    CHECK(calls::poll(&one, kBeyond, 1) == 0);
    CHECK(one.revents == 1);
    CHECK(calls::poll(&one, kBeyond + 1, 1) == 0);
    CHECK(one.revents == 0);
  });
}
