#include "monkey/support.hpp"

#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "monkey/child_reaper.hpp"

using namespace monkey_test;

namespace {

// Starts a child that ends when the pipe is closed.
pid_t child_that_waits(int to_read, int to_write, int status) {
  const std::string command = "exec " + std::to_string(to_write) + ">&-; read x <&" +
                              std::to_string(to_read) + "; exit " + std::to_string(status);
  const char* arguments[] = {"sh", "-c", command.c_str(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to_read, to_read);  // without O_CLOEXEC
  ::posix_spawn_file_actions_adddup2(&actions, to_write, to_write);
  pid_t pid = -1;
  REQUIRE(::posix_spawn(&pid, "/bin/sh", &actions, nullptr, const_cast<char**>(arguments),
                        environ) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}

}  // namespace

TEST_CASE("waitpid lets another task run, which lets the child end") {
  Events say;
  run([&] {
    Ends ends = pipe();
    const pid_t pid = child_that_waits(ends.a, ends.b, 7);
    const auto other = start([&] {
      say("lets it end");
      ends.b.close();
    });
    int status = 0;
    CHECK(calls::waitpid(pid, &status, WNOHANG) == 0);
    CHECK(calls::waitpid(pid, &status, 0) == pid);
    say(WEXITSTATUS(status));
    await(other);
    CHECK(calls::waitpid(pid, &status, 0) == -1);
    CHECK(errno == ECHILD);
  });
  CHECK(say.take() == "lets it end 7");
}

TEST_CASE("wait, waitid and stops are waited for") {
  run([&] {
    Ends ends = pipe();
    const pid_t pid = child_that_waits(ends.a, ends.b, 3);
    const auto stopper = start([&] { ::kill(pid, SIGSTOP); });
    int status = 0;
    CHECK(calls::waitpid(pid, &status, WUNTRACED) == pid);
    CHECK(WIFSTOPPED(status));
    await(stopper);
    const auto other = start([&] {
      ::kill(pid, SIGCONT);
      ends.b.close();
    });
    siginfo_t info{};
    CHECK(calls::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_status == 3);
    CHECK(calls::wait(&status) == pid);
    CHECK(WEXITSTATUS(status) == 3);
    await(other);
    CHECK(calls::wait(&status) == -1);
    CHECK(errno == ECHILD);
  });
}

TEST_CASE("a wait for the end of a traced child reports its stops") {
  run([&] {
    const Ends ends = pipe();
    const pid_t child = ::fork();
    if (child == 0) {
      char byte = 0;
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::_exit(::read(ends.a, &byte, 1) == 1 && ::raise(SIGSTOP) == 0 ? 5 : 1);
    }
    const auto other = start([&] {
      await(asyncio::sleep(1ms));
      CHECK(::write(ends.b, "x", 1) == 1);
    });
    int status = 0;
    CHECK(calls::waitpid(child, &status, 0) == child);
    CHECK(WIFSTOPPED(status));
    await(other);
    CHECK(::ptrace(PTRACE_CONT, child, nullptr, nullptr) == 0);
    CHECK(calls::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 5);
  });
}

#if !defined(FIBER_ASAN) && \
    !defined(FIBER_TSAN)  // whose memory a child between vfork and exec must not share
TEST_CASE("between vfork and exec a call blocks: the loop belongs to the parent") {
  run([&] {
    const Ends ends = pipe();
    const pid_t writer = ::fork();
    if (writer == 0) {
      ::usleep(20'000);
      ::_exit(::write(ends.b, "x", 1) == 1 ? 0 : 1);
    }
    const pid_t child = ::vfork();
    if (child == 0) {
      char byte;
      ::_exit(calls::read(ends.a, &byte, 1) == 1 && byte == 'x' ? 7 : 8);
    }
    int status = 0;
    CHECK(calls::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(calls::waitpid(writer, &status, 0) == writer);
    await(asyncio::sleep(1ms));  // the loop goes on
  });
}
#endif

TEST_CASE("system runs commands at the same time") {
  Events say;
  run([&] {
    // Each child waits for the other.
    const Ends one = pipe(), two = pipe();
    for (const Ends* ends : {&one, &two})
      for (const int fd : {int(ends->a), int(ends->b)}) ::fcntl(fd, F_SETFD, 0);
    const auto meet = [](int to, int from) {
      return "echo x >&" + std::to_string(to) + "; read x <&" + std::to_string(from) + "; exit 5";
    };
    const auto command = meet(one.b, two.a), other_command = meet(two.b, one.a);
    const auto other = start([&] { say(WEXITSTATUS(calls::system(other_command.c_str()))); });
    say(WEXITSTATUS(calls::system(command.c_str())));
    await(other);
    CHECK(calls::system(nullptr) != 0);
    CHECK(calls::system("exit 3") == 3 << 8);
    CHECK(WTERMSIG(calls::system("kill -9 $$")) == SIGKILL);
  });
  CHECK(say.take() == "5 5");
}

TEST_CASE("system whose shell cannot be started has the status of one that ended with 127") {
  // The kernel takes no argument of this length.
  const std::string command = "true " + std::string(std::size_t{1} << 20U, 'x');
  run([&] {
    const int status = calls::system(command.c_str());
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 127);
    CHECK(errno == E2BIG);
  });
}

TEST_CASE("a cancelled system kills its command") {
  run([&] {
    int result = 0, error = 0;
    const auto task = start([&] {
      result = calls::system("exec sleep 1000");
      error = errno;
    });
    await(asyncio::sleep(5ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(result == -1);
    CHECK(error == ECANCELED);
    CHECK(calls::waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left
  });
}

TEST_CASE("a handler that waits for every child leaves the one of system() alone") {
  const ChildReaper reaper;
  run([&] {
    Ends ends = pipe();
    const pid_t child = child_that_waits(ends.a, ends.b, 0);
    const auto other = start([&] { CHECK(calls::system("exit 4") == 4 << 8); });
    CHECK(calls::system("exit 3") == 3 << 8);
    await(other);
    CHECK(ChildReaper::reaped() == 0);
    // A child of its own is the handler's again.
    ends.b.close();
    while (ChildReaper::reaped() == 0) await(asyncio::sleep(1ms));
    CHECK(::waitpid(child, nullptr, WNOHANG) == -1);
    CHECK_FALSE(is_blocked(SIGCHLD));
  });
}

TEST_CASE("system whose child others have waited for says so, and kills nobody") {
  run([&] {
    const auto thief = start([] { return calls::waitpid(-1, nullptr, 0) > 0; });
    const int result = calls::system("exit 0");
    const int error = errno;
    const bool stolen = await(thief);
    CHECK(result == (stolen ? -1 : 0));
    if (stolen) CHECK(error == ECHILD);
  });
}
