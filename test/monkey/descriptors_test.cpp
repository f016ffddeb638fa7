// Descriptors of all kinds that old code reads from.
#include <fcntl.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <array>
#include <csignal>
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
