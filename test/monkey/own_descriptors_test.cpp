// Descriptors that the library has for itself, and code that closes what it does not know.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fiber/asyncio/selectors.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "monkey/stdio_calls.hpp"
#include "monkey/support.hpp"
#include "support/child_process.hpp"
#include "support/folder.hpp"

using namespace monkey_test;

namespace {

// Closes the descriptors from this number on.
using Closing = void (*)(int first);

void by_closefrom(int first) { calls::closefrom(first); }
void one_by_one(int first) {
  for (int fd = first; fd < 256; ++fd) calls::close(fd);
}
// Code that nothing has patched.
void unseen(int first) {
  const auto close =
      reinterpret_cast<int (*)(unsigned, unsigned, int)>(::dlsym(RTLD_DEFAULT, "close_range"));
  close(static_cast<unsigned>(first), ~0U, 0);
}
// Files of the program's take the numbers.
void taking_over(int first) {
  const int file = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  for (int fd = first; fd < 40; ++fd)
    if (fd != file) calls::dup2(file, fd);
}

// Returns what a child process reports that runs `body` in a task of a patched program: in it,
// `until_closed` is a command that ends when the descriptors are closed.
using Body = std::function<std::string(const std::string& until_closed)>;
std::string report(const Body& body) {
  const support::ChildResult child = support::run_child({.body = [&] {
    ::alarm(60);
    asyncio::set_log_handler([](const asyncio::LogRecord&) {});
    run([&] {
      // The shell knows no numbers of two digits.
      constexpr int kRead = 8, kWritten = 9;
      {
        const Ends ends = pipe();
        calls::dup2(ends.a, kRead);
        calls::dup2(ends.b, kWritten);
      }
      const std::string text = body("exec 9>&-; read x <&8; ");
      std::printf("%s\n", text.c_str());
      std::fflush(stdout);
      std::_Exit(0);
    });
  }});
  return child.errors + (child.lines.empty() ? "nothing" : child.lines.back().text);
}

pid_t spawn(const std::string& command) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  return child;
}

std::string status_of(int status) {
  if (status == -1) return "errno " + std::to_string(errno);
  return std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

// Lets other tasks begin to wait.
void let_wait() { await(asyncio::sleep(20ms)); }

}  // namespace

TEST_CASE("waits for programs go on when another task closes all descriptors") {
  for (const Closing closes : {by_closefrom, one_by_one, unseen, taking_over}) {
    const std::string said = report([&](const std::string& until_closed) {
      std::vector<asyncio::Task<std::string>> tasks;
      tasks.push_back(start([&] {
        int status = -1;
        const pid_t child = spawn(until_closed + "exit 5");
        return calls::waitpid(child, &status, 0) == child ? status_of(status) : status_of(-1);
      }));
      tasks.push_back(start([&] {
        siginfo_t info{};
        const pid_t child = spawn(until_closed + "exit 6");
        return calls::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED) == 0
                   ? std::to_string(info.si_status)
                   : status_of(-1);
      }));
      tasks.push_back(
          start([&] { return status_of(calls::system((until_closed + "exit 7").c_str())); }));
      tasks.push_back(start([&] {
        FILE* program = calls::popen((until_closed + "exit 8").c_str(), "r");
        return status_of(calls::pclose(program));
      }));
      let_wait();
      await(asyncio::create_task([&] { closes(3); }));
      std::string all;
      for (const auto& task : tasks) all += await(task) + " ";
      return all;
    });
    CHECK(said == "5 6 7 8 ");
  }
}

TEST_CASE("waits for signals and for the other end of a FIFO need no descriptor of the program's") {
  for (const Closing closes : {by_closefrom, one_by_one, unseen, taking_over}) {
    const support::Folder folder;
    const std::string fifo = folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    const std::string said = report([&](const std::string&) {
      sigset_t one;
      ::sigemptyset(&one);
      ::sigaddset(&one, SIGUSR1);
      ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
      const auto signal = start([&] {
        int number = 0;
        const int error = calls::sigwait(&one, &number);
        return error != 0 ? "error " + std::to_string(error) : std::to_string(number);
      });
      const auto reader = start([&] {
        const int fd = calls::open(fifo.c_str(), O_RDONLY);
        char byte = 0;
        return fd >= 0 && calls::read(fd, &byte, 1) == 1 ? std::string(1, byte) : status_of(-1);
      });
      let_wait();
      await(asyncio::create_task([&] { closes(3); }));
      ::kill(::getpid(), SIGUSR1);
      std::string all = await(signal);
      const int end = calls::open(fifo.c_str(), O_WRONLY);
      if (calls::write(end, "x", 1) != 1) all += " not written";
      return all + " " + await(reader);
    });
    CHECK(said == std::to_string(SIGUSR1) + " x");
  }
}

TEST_CASE("the loop hears of its child processes when a task closes all descriptors") {
  for (const Closing closes : {by_closefrom, one_by_one, unseen, taking_over}) {
    const std::string said = report([&](const std::string&) {
      const auto first = await(asyncio::create_subprocess_exec({"sh", "-c", "sleep 0.1; exit 5"}));
      const auto second = await(asyncio::create_subprocess_exec({"sleep", "1000"}));
      const auto ended = start([&] { return std::to_string(await(first.wait())); });
      let_wait();
      await(asyncio::create_task([&] { closes(3); }));
      std::string all = await(ended);
      second.kill();
      return all + " " + std::to_string(await(second.wait()));
    });
    CHECK(said == "5 -9");
  }
}

TEST_CASE("a descriptor of the program's under a number that was the library's stays open") {
  const std::string said = report([&](const std::string&) {
    const pid_t child = spawn("sleep 0.1");
    const auto waiter = start([&] { return calls::waitpid(child, nullptr, 0) == child; });
    let_wait();
    unseen(3);
    std::vector<int> files;
    while (files.empty() || files.back() < 30)
      files.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!await(waiter)) return std::string("not waited");
    int open = 0;
    for (const int fd : files) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return std::to_string(static_cast<int>(files.size()) - open) + " are closed";
  });
  CHECK(said == "0 are closed");
}

TEST_CASE("closing all descriptors looks at those that are in use") {
  CHECK(report([&](const std::string&) {
          std::string all;
          for (int fd = 3; (fd = asyncio::detail::Selector::next_own(fd)) >= 0; ++fd)
            all += asyncio::detail::Selector::is_own(fd) ? "own " : "foreign ";
          const Ends high = pipe();
          const int number = ::fcntl(high.a, F_DUPFD_CLOEXEC, 900);
          const auto reader = start([&] {
            char byte;
            return calls::read(number, &byte, 1) == -1 ? errno : 0;
          });
          let_wait();
          calls::closefrom(3);
          if (::fcntl(number, F_GETFD) >= 0 || await(reader) != EBADF) all += "still open";
          return all;
        }) == "own own ");
}
