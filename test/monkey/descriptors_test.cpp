// Descriptors of all kinds that old code reads from.
#include <fcntl.h>
#include <pty.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>

#include "monkey/support.hpp"
#include "support/folder.hpp"

extern char** environ;

using namespace monkey_test;

namespace {

// "waiting came" if reading from `fd` lets another task run, which makes something come.
std::string read_while(int fd, const std::function<void()>& come) {
  Events say;
  const auto reader = start([&] {
    std::array<char, 4096> text;
    const ssize_t size = calls::read(fd, text.data(), text.size());
    say(size > 0 ? "came" : "nothing");
  });
  await(asyncio::sleep(1ms));
  say("waiting");
  come();
  await(reader);
  return say.take();
}

pid_t spawn(const char* command) {
  pid_t child = -1;
  const char* arguments[] = {"sh", "-c", command, nullptr};
  REQUIRE(::posix_spawn(&child, "/bin/sh", nullptr, nullptr, const_cast<char**>(arguments),
                        environ) == 0);
  return child;
}

}  // namespace

TEST_CASE("inotify") {
  const support::Folder folder;
  run([&] {
    const Descriptor fd(::inotify_init1(IN_CLOEXEC));
    REQUIRE(::inotify_add_watch(fd, folder.path().c_str(), IN_CREATE) >= 0);
    CHECK(read_while(fd, [&] {
            Descriptor(::open((folder / "file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
          }) == "waiting came");
  });
}

TEST_CASE("signalfd") {
  sigset_t one, before;
  ::sigemptyset(&one);
  ::sigaddset(&one, SIGUSR1);
  REQUIRE(::pthread_sigmask(SIG_BLOCK, &one, &before) == 0);
  run([&] {
    const Descriptor fd(::signalfd(-1, &one, SFD_CLOEXEC));
    CHECK(read_while(fd, [] { ::kill(::getpid(), SIGUSR1); }) == "waiting came");
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("a FIFO, and the messages of a packet socket") {
  const support::Folder folder;
  const std::string fifo = folder / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  run([&] {
    const Descriptor fd(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));  // waits for no other end
    CHECK(read_while(fd, [&] { CHECK(calls::write(fd, "x", 1) == 1); }) == "waiting came");
    const Ends ends = socket_pair(SOCK_SEQPACKET);
    CHECK(read_while(ends.a, [&] { CHECK(calls::write(ends.b, "x", 1) == 1); }) == "waiting came");
  });
}

TEST_CASE("a timer at an absolute time") {
  run([] {
    const Descriptor fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    CHECK(read_while(fd, [&] {
            itimerspec past{};
            past.it_value.tv_nsec = 1;
            CHECK(::timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, nullptr) == 0);
          }) == "waiting came");
  });
}

TEST_CASE("children that were spawned are waited for by number, and by descriptor") {
  run([] {
    Events say;
    const pid_t child = spawn("exit 3");
    const auto waiter = start([&] {
      int status = 0;
      CHECK(calls::waitpid(child, &status, 0) == child);
      say(WEXITSTATUS(status));
    });
    await(waiter);
    CHECK(say.take() == "3");
#if defined(SYS_pidfd_open) && defined(P_PIDFD)
    const pid_t other = spawn("exec sleep 1000");
    const Descriptor fd(static_cast<int>(::syscall(SYS_pidfd_open, other, 0)));
    const auto by_descriptor = start([&] {
      siginfo_t info{};
      CHECK(calls::waitid(P_PIDFD, static_cast<id_t>(static_cast<int>(fd)), &info, WEXITED) == 0);
      say(info.si_status);
    });
    await(asyncio::sleep(1ms));
    say("waiting");
    ::kill(other, SIGKILL);
    await(by_descriptor);
    CHECK(say.take() == "waiting 9");
#endif
  });
}

#if defined(SYS_pidfd_open) && defined(P_PIDFD)
TEST_CASE("a descriptor of a child that does not block gives EAGAIN") {
  const pid_t child = spawn("exec sleep 1000");
  run([&] {
    const Descriptor fd(static_cast<int>(::syscall(SYS_pidfd_open, child, O_NONBLOCK)));
    if (fd < 0 && errno == EINVAL) return;  // an older kernel
    siginfo_t info{};
    const auto id = static_cast<id_t>(static_cast<int>(fd));
    CHECK(calls::waitid(P_PIDFD, id, &info, WEXITED) == -1);
    CHECK(errno == EAGAIN);
    ::kill(child, SIGKILL);
    int status = 0;
    CHECK(calls::waitpid(child, &status, 0) == child);
    CHECK(calls::waitid(P_PIDFD, id, &info, WEXITED) == -1);
    CHECK(errno == ECHILD);
  });
}
#endif

TEST_CASE("writing to a terminal that has no room lets the task run that reads from it") {
  constexpr std::size_t kSize = 100'000;
  run([&] {
    int ends[2];
    REQUIRE(::openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr) == 0);
    const Descriptor master(ends[0]), slave(ends[1]);
    termios settings{};
    REQUIRE(::tcgetattr(slave, &settings) == 0);
    ::cfmakeraw(&settings);
    REQUIRE(::tcsetattr(slave, TCSANOW, &settings) == 0);
    for (const bool from_master : {false, true}) {
      const int to = from_master ? master : slave, from = from_master ? slave : master;
      std::string text(kSize, 'x');
      for (std::size_t i = 0; i < kSize; ++i) text[i] = static_cast<char>('a' + i % 26);
      const auto writer = start([&] { return calls::write(to, text.data(), text.size()); });
      std::string got;
      char part[5000];
      while (got.size() < kSize) {
        const ssize_t size = calls::read(from, part, sizeof part);
        REQUIRE(size > 0);
        got.append(part, static_cast<std::size_t>(size));
      }
      CHECK(await(writer) == static_cast<ssize_t>(kSize));
      CHECK((got == text));
      CHECK((::fcntl(to, F_GETFL) & O_NONBLOCK) == 0);
    }
  });
}

TEST_CASE("a terminal that was opened for reading takes no byte") {
  run([&] {
    int ends[2];
    char name[100];
    REQUIRE(::openpty(&ends[0], &ends[1], name, nullptr, nullptr) == 0);
    const Descriptor master(ends[0]), slave(ends[1]);
    const Descriptor reads(::open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC));
    CHECK(calls::write(reads, "x", 1) == -1);
    CHECK(errno == EBADF);
  });
}

TEST_CASE("a call that the kernel refuses at once does not wait: too few bytes, not open for it") {
  run([&] {
    const Descriptor event(::eventfd(0, EFD_CLOEXEC)), full(::eventfd(0, EFD_CLOEXEC));
    const Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    sigset_t none;
    ::sigemptyset(&none);
    const Descriptor signals(::signalfd(-1, &none, SFD_CLOEXEC));
    const std::uint64_t most = ~std::uint64_t{1};
    CHECK(calls::write(full, &most, sizeof most) == sizeof most);
    char bytes[128] = {};
    const iovec parts[] = {{bytes, 4}, {bytes, 3}};
    for (const int fd : {int(event), int(timer), int(signals)}) {
      CHECK(calls::read(fd, bytes, 7) == -1);
      CHECK(errno == EINVAL);
      CHECK(calls::readv(fd, parts, 2) == -1);
      CHECK(errno == EINVAL);
      CHECK(calls::write(fd, bytes, 7) == -1);
      CHECK(errno == EINVAL);
    }
    CHECK(calls::read(signals, bytes, 127) == -1);
    CHECK(errno == EINVAL);
    CHECK(calls::write(timer, bytes, 8) == -1);
    CHECK(errno == EINVAL);
    CHECK(calls::write(full, bytes, 7) == -1);
    CHECK(errno == EINVAL);
    CHECK(calls::writev(full, parts, 2) == -1);
    CHECK(errno == EINVAL);
    // Parts that are enough together are waited for.
    const auto writer = start([&] { CHECK(calls::eventfd_write(event, 1) == 0); });
    const iovec enough[] = {{bytes, 4}, {bytes + 4, 4}};
    CHECK(calls::readv(event, enough, 2) == 8);
    await(writer);
    const Descriptor master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(::grantpt(master) == 0);
    REQUIRE(::unlockpt(master) == 0);
    const Descriptor to_write(::open(::ptsname(master), O_WRONLY | O_NOCTTY | O_CLOEXEC));
    CHECK(calls::read(to_write, bytes, 1) == -1);
    CHECK(errno == EBADF);
  });
}

TEST_CASE("a full eventfd is waited for by the writes for which the kernel waits, and no others") {
  run([] {
    const std::uint64_t most = ~std::uint64_t{1};
    const Descriptor full(::eventfd(0, EFD_CLOEXEC));
    const Descriptor quick(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    for (const int fd : {int(full), int(quick)})
      REQUIRE(::write(fd, &most, sizeof most) == sizeof most);
    std::uint64_t ones[2] = {1, 1}, too_large[2] = {~std::uint64_t{0}, 1}, zeros[2] = {};
    void* const nowhere = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(nowhere != MAP_FAILED);
    void* const values[] = {ones, too_large, zeros, nowhere};
    // Compares the results of the two calls, the kernel's and ours; where the kernel would wait,
    // ours has to wait.
    const auto both = [&](auto ours, auto kernels) {
      const ssize_t expected = kernels();
      const int expected_error = expected < 0 ? errno : 0;
      if (expected_error == EAGAIN) {
        Events say;
        const auto reader = start([&] {
          say("waits");
          std::uint64_t value = 0;
          CHECK(calls::read(full, &value, sizeof value) == sizeof value);
        });
        CHECK(ours() > 0);
        CHECK(say.take() == "waits");
        await(reader);
        std::uint64_t value = 0;
        CHECK(::read(full, &value, sizeof value) == sizeof value);
        REQUIRE(::write(full, &most, sizeof most) == sizeof most);
        return;
      }
      CHECK(ours() == expected);
      if (expected < 0) CHECK(errno == expected_error);
    };
    for (void* const value : values)
      for (const std::size_t size : {7U, 8U, 9U, 16U}) {
        CAPTURE(size);
        both([&] { return calls::write(full, value, size); },
             [&] { return ::write(quick, value, size); });
        const iovec part{value, size};
        both([&] { return calls::writev(full, &part, 1); },
             [&] { return ::writev(quick, &part, 1); });
      }
    for (const std::uint64_t value : {ones[0], too_large[0], zeros[0]})
      both([&] { return ssize_t{calls::eventfd_write(full, value) == 0 ? 1 : -1}; },
           [&] { return ssize_t{::eventfd_write(quick, value) == 0 ? 1 : -1}; });
    ::munmap(nowhere, 4096);
  });
}
