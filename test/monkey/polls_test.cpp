#include "monkey/support.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include "support/platform.hpp"

using namespace monkey_test;

TEST_CASE("poll waits for any of its descriptors, and says which") {
  Events say;
  run([&] {
    std::vector<Ends> pairs;
    for (int i = 0; i < 20; ++i) pairs.push_back(socket_pair());
    const auto writer = start([&] {
      say("writes");
      CHECK(calls::write(pairs[13].b, "x", 1) == 1);
    });
    std::vector<pollfd> set;
    for (const Ends& pair : pairs) set.push_back({.fd = pair.a, .events = POLLIN, .revents = 77});
    set.push_back({.fd = -1, .events = POLLIN, .revents = 77});
    set.push_back({.fd = pairs[13].a, .events = POLLIN | POLLPRI, .revents = 77});  // twice
    CHECK(calls::poll(set.data(), set.size(), -1) == 2);
    for (std::size_t i = 0; i < set.size(); ++i)
      CHECK(set[i].revents == (i == 13 || i == 21 ? POLLIN : 0));
    await(writer);
  });
  CHECK(say.take() == "writes");
}

TEST_CASE("poll ends at its time limit, sleeps without descriptors, and does not wait for 0") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 1};
    const auto other = start([&] { say("other"); });
    CHECK(calls::poll(&one, 1, 0) == 0);
    say("at once");
    CHECK(calls::poll(&one, 1, 5) == 0);
    CHECK(one.revents == 0);
    CHECK(calls::poll(nullptr, 0, 5) == 0);
    pollfd none{.fd = -1, .events = POLLIN, .revents = 1};
    CHECK(calls::poll(&none, 1, 5) == 0);
    say("later");
    await(other);
    one.fd = 4000;
    CHECK(calls::poll(&one, 1, -1) == 1);
    CHECK(one.revents == POLLNVAL);
  });
  CHECK(say.take() == "at once other later");
}

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // whose poll looks at all of them
TEST_CASE("poll of more descriptors than a process may have is refused as the kernel does") {
  run([&] {
    std::vector<pollfd> none(9, {.fd = -1, .events = POLLIN, .revents = 0});
    for (const nfds_t many : {~nfds_t(0), nfds_t(1) << 31}) {
      errno = 0;
      CHECK(calls::poll(none.data(), many, 1) == -1);
      CHECK(errno == EINVAL);
    }
  });
}
#endif

TEST_CASE("poll: files are always ready, hang-ups are told unasked, room to write is waited for") {
  run([&] {
    Ends ends = socket_pair();
    const Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    pollfd set[2] = {{.fd = ends.a, .events = POLLIN, .revents = 0},
                     {.fd = file, .events = POLLIN, .revents = 0}};
    CHECK(calls::poll(set, 2, -1) == 1);
    CHECK(set[1].revents == POLLIN);
    const std::string much(5'000'000, 'x');
    CHECK(calls::send(ends.a, much.data(), much.size(), MSG_DONTWAIT) > 0);
    pollfd room{.fd = ends.a, .events = POLLOUT, .revents = 0};
    const auto reader = start([&] {
      std::vector<char> buffer(5'000'000);
      CHECK(calls::read(ends.b, buffer.data(), buffer.size()) > 0);
    });
    CHECK(calls::poll(&room, 1, -1) == 1);
    CHECK(room.revents == POLLOUT);
    await(reader);
    pollfd nothing{.fd = ends.a, .events = 0, .revents = 0};
    const auto closer = start([&] { ends.b.close(); });
    CHECK(calls::poll(&nothing, 1, -1) == 1);
    CHECK((nothing.revents & POLLHUP) != 0);
    await(closer);
  });
}

TEST_CASE("poll on a descriptor that another task closes reports POLLNVAL") {
  run([&] {
    Ends ends = socket_pair();
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
    const auto closer = start([&] { ends.a.close(); });
    CHECK(calls::poll(&one, 1, -1) == 1);
    CHECK(one.revents == POLLNVAL);
    await(closer);
  });
}

TEST_CASE("ppoll lets a signal of its mask through") {
  static volatile std::sig_atomic_t signals = 0;
  signals = 0;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { signals = signals + 1; };
  ::sigaction(SIGUSR1, &action, &before);
  sigset_t blocked, previous;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &previous);
  run([&] {
    const Ends ends = socket_pair();
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
    const auto other = start([&] { ::raise(SIGUSR1); });
    CHECK(calls::ppoll(&one, 1, nullptr, &previous) == -1);
    CHECK(errno == EINTR);
    CHECK(signals == 1);
    await(other);
    const timespec limit{.tv_sec = 0, .tv_nsec = 3'000'000};
    CHECK(calls::ppoll(&one, 1, &limit, nullptr) == 0);
    CHECK(calls::ppoll(&one, 1, &limit, &previous) == 0);
  });
  ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("select waits for its three sets, and leaves the time that was not slept") {
  run([&] {
    const Ends ends = socket_pair();
    const std::string much(5'000'000, 'x');
    CHECK(calls::send(ends.a, much.data(), much.size(), MSG_DONTWAIT) > 0);  // no room left
    fd_set reading, writing, except;
    const int count = std::max<int>(ends.a, ends.b) + 1;
    const auto prepare = [&] {
      FD_ZERO(&reading);
      FD_ZERO(&writing);
      FD_ZERO(&except);
      FD_SET(ends.a, &reading);
      FD_SET(ends.a, &writing);
      FD_SET(ends.a, &except);
    };
    const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
    prepare();
    timeval limit{.tv_sec = 100, .tv_usec = 0};
    CHECK(calls::select(count, &reading, &writing, &except, &limit) == 1);
    CHECK(FD_ISSET(ends.a, &reading));
    CHECK(!FD_ISSET(ends.a, &writing));
    CHECK(!FD_ISSET(ends.a, &except));
    CHECK(limit.tv_sec < 100);
    CHECK(limit.tv_sec > 1);
    await(writer);
    char byte;
    CHECK(calls::read(ends.a, &byte, 1) == 1);
    prepare();
    limit = {.tv_sec = 0, .tv_usec = 3000};
    CHECK(calls::select(count, &reading, nullptr, nullptr, &limit) == 0);
    CHECK(!FD_ISSET(ends.a, &reading));
    CHECK(limit.tv_sec == 0);
    CHECK(limit.tv_usec == 0);
    CHECK(calls::select(0, nullptr, nullptr, nullptr, &(limit = {.tv_sec = 0, .tv_usec = 1000})) ==
          0);
    const timespec none{};
    prepare();
    CHECK(calls::pselect(count, &reading, nullptr, nullptr, &none, nullptr) == 0);
    const Descriptor closed = Descriptor(::dup(ends.a));
    fd_set bad;
    FD_ZERO(&bad);
    FD_SET(500, &bad);
    CHECK(calls::select(501, &bad, nullptr, nullptr, nullptr) == -1);
    CHECK(errno == EBADF);
  });
}

TEST_CASE("select's third set waits for urgent data") {
  run([&] {
    const Listener listener;
    const Descriptor a(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(a, listener.address.data(), listener.address.size()) == 0);
    const Descriptor b(::accept(listener.fd, nullptr, nullptr));
    const auto other = start([&] { CHECK(calls::send(b, "!", 1, MSG_OOB) == 1); });
    fd_set except;
    FD_ZERO(&except);
    FD_SET(a, &except);
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    CHECK(calls::select(a + 1, nullptr, nullptr, &except, &limit) == 1);
    CHECK(FD_ISSET(a, &except));
    await(other);
  });
}

TEST_CASE("select takes sets larger than FD_SETSIZE") {
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < 3000) return;
  const rlimit more{.rlim_cur = 3000, .rlim_max = limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &more);
  run([&] {
    const Ends ends = socket_pair();
    const Descriptor high(::fcntl(ends.a, F_DUPFD_CLOEXEC, 2500));
    std::vector<unsigned long> bits(3000 / (8 * sizeof(long)) + 1);
    const auto at = static_cast<std::size_t>(int(high));
    bits[at / (8 * sizeof(long))] = 1UL << at % (8 * sizeof(long));
    const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
    CHECK(calls::select(high + 1, reinterpret_cast<fd_set*>(bits.data()), nullptr, nullptr,
                        nullptr) == 1);
    await(writer);
  });
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_CASE("select reads no more of its sets than the kernel does") {
  std::ifstream status("/proc/self/status");
  std::size_t places = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("FDSize:")) places = std::stoul(line.substr(7));
  if (places == 0 && support::left_out("without /proc the table's size is not known")) return;
  // The set ends where the page ends; the next page may not be read.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = std::max<std::size_t>(places, FD_SETSIZE) / 8;
  const std::size_t pages = (size + page - 1) / page * page;
  auto* const memory = static_cast<std::byte*>(
      ::mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(::mprotect(memory + pages, page, PROT_NONE) == 0);
  auto* const set = reinterpret_cast<fd_set*>(memory + pages - size);
  run([&] {
    const Ends ends = socket_pair();
    FD_SET(ends.a, set);
    const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
    CHECK(calls::select(1 << 20, set, nullptr, nullptr, nullptr) == 1);
    CHECK(FD_ISSET(ends.a, set));
    await(writer);
  });
  ::munmap(memory, pages + page);
}

TEST_CASE("epoll_wait waits on the loop") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const Descriptor set(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = EPOLLIN, .data = {.u64 = 42}};
    REQUIRE(::epoll_ctl(set, EPOLL_CTL_ADD, ends.a, &event) == 0);
    CHECK(calls::epoll_wait(set, &event, 1, 2) == 0);
    const auto writer = start([&] {
      say("writes");
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    epoll_event got{};
    CHECK(calls::epoll_wait(set, &got, 1, -1) == 1);
    say(std::uint64_t{got.data.u64});
    await(writer);
  });
  CHECK(say.take() == "writes 42");
}

TEST_CASE("a signal that its mask lets through ends epoll_pwait2") {
  static volatile int handled = 0;
  struct sigaction action {
  }, old_action{};
  action.sa_handler = [](int) { handled = handled + 1; };
  ::sigaction(SIGUSR1, &action, &old_action);
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  run([&] {
    const Descriptor set(::epoll_create1(EPOLL_CLOEXEC));
    const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
    epoll_event event{};
    ::kill(::getpid(), SIGUSR1);
    CHECK(calls::epoll_pwait2(set, &event, 1, &hour, &before) == -1);  // as epoll_pwait does
    CHECK(errno == EINTR);
  });
  CHECK(handled == 1);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::sigaction(SIGUSR1, &old_action, nullptr);
}

TEST_CASE("epoll_pwait2 waits on the loop, to the nanosecond") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const Descriptor set(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = EPOLLIN, .data = {.u64 = 42}};
    REQUIRE(::epoll_ctl(set, EPOLL_CTL_ADD, ends.a, &event) == 0);
    const timespec soon{.tv_sec = 0, .tv_nsec = 900'000}, none{};
    CHECK(calls::epoll_pwait2(set, &event, 1, &none, nullptr) == 0);
    const auto start_of_wait = asyncio::get_running_loop().time();
    CHECK(calls::epoll_pwait2(set, &event, 1, &soon, nullptr) == 0);
    CHECK(asyncio::get_running_loop().time() - start_of_wait >= 900us);
    const auto writer = start([&] {
      say("writes");
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    epoll_event got{};
    CHECK(calls::epoll_pwait2(set, &got, 1, nullptr, nullptr) == 1);
    say(std::uint64_t{got.data.u64});
    await(writer);
  });
  CHECK(say.take() == "writes 42");
}

TEST_CASE("a cancelled poll and select fail with ECANCELED") {
  Events say;
  run([&] {
    const Ends ends = socket_pair();
    const auto poller = start([&] {
      pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
      say(calls::poll(&one, 1, -1) == -1 && errno == ECANCELED ? "poll" : "?");
      say(calls::select(0, nullptr, nullptr, nullptr, nullptr) == -1 && errno == ECANCELED
              ? "select"
              : "?");
      say(calls::poll(&one, 1, 0));
    });
    await(asyncio::sleep(1ms));
    poller.cancel();
    await(asyncio::wait(std::vector{poller}));
    CHECK(poller.cancelled());
  });
  CHECK(say.take() == "poll select 0");
}
