// Child processes.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <unordered_map>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/descriptor.hpp"
#include "support/emulator.hpp"
#include "support/events.hpp"
#include "support/log.hpp"
#include "support/socket_pair.hpp"

using namespace support;
using namespace std::chrono_literals;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::create_subprocess_exec;
using asyncio::create_subprocess_shell;
using asyncio::subprocess::DEVNULL;
using asyncio::subprocess::PIPE;
using asyncio::subprocess::STDOUT;

namespace {

// Returns whether no child process is left, running or dead.
bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

std::size_t descriptors() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(each);
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("a shell's outputs and status come back") {
  asyncio::run([] {
    auto process = await(create_subprocess_shell("echo out; echo err >&2; exit 3",
                                                 {.stdout_ = PIPE, .stderr_ = PIPE}));
    CHECK(process.pid() > 0);
    CHECK_FALSE(process.stdin_());
    const auto [out, err] = await(process.communicate());
    CHECK(out == "out\n");
    CHECK(err == "err\n");
    CHECK(process.returncode() == 3);
    CHECK(await(process.wait()) == 3);
  });
  CHECK(no_children());
}

TEST_CASE("input goes through a program") {
  asyncio::run([] {
    const std::string much(300'000, 'x');
    auto process = await(create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
    CHECK(await(process.communicate(much)).first == much);
    CHECK(process.returncode() == 0);
  });
}

TEST_CASE("a conversation with a program that runs on") {
  asyncio::run([] {
    auto process = await(create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
    for (const char* line : {"one\n", "two\n"}) {
      process.stdin_()->write(line);
      await(process.stdin_()->drain());
      CHECK(await(process.stdout_()->readline()) == line);
    }
    CHECK_FALSE(process.returncode());
    process.stdin_()->close();
    CHECK(await(process.stdout_()->read()) == "");
    CHECK(await(process.wait()) == 0);
  });
}

TEST_CASE("the loop runs other tasks while a child runs") {
  Events events;
  asyncio::run([&] {
    auto process = await(create_subprocess_shell("read line; exit 0", {.stdin_ = PIPE}));
    auto waiter = asyncio::create_task([&] { events(await(process.wait())); });
    await(asyncio::sleep(0));
    events("main");
    process.stdin_()->write("go\n");
    await(waiter);
  });
  CHECK(events.take() == "main 0");
}

TEST_CASE("a child that a signal ends has its negative number as returncode") {
  asyncio::run([] {
    auto killed = await(create_subprocess_exec({"sleep", "100"}));
    killed.kill();
    CHECK(await(killed.wait()) == -SIGKILL);
    auto terminated = await(create_subprocess_exec({"sleep", "100"}));
    terminated.terminate();
    CHECK(await(terminated.wait()) == -SIGTERM);
    auto signalled = await(create_subprocess_exec({"sleep", "100"}));
    signalled.send_signal(SIGUSR1);
    CHECK(await(signalled.wait()) == -SIGUSR1);
    CHECK(thrown_by([&] {
            signalled.kill();
          }).starts_with("ProcessLookupError('[Errno 3] No such process: process "));
  });
  CHECK(no_children());
}

TEST_CASE("waiting may be given up, and the child waited for again") {
  asyncio::run([] {
    auto process = await(create_subprocess_exec({"sleep", "100"}));
    CHECK(thrown_by([&] {
            await(asyncio::wait_for(process.wait(), 10ms));
          }).starts_with("TimeoutError("));
    CHECK_FALSE(process.returncode());
    process.kill();
    auto both = await(asyncio::gather(process.wait(), process.wait()));
    CHECK(std::get<0>(both) == -SIGKILL);
    CHECK(std::get<1>(both) == -SIGKILL);
  });
}

TEST_CASE("a grandchild that keeps the pipe does not keep wait") {
  asyncio::run([] {
    auto process = await(create_subprocess_shell("sleep 100 & echo $!", {.stdout_ = PIPE}));
    CHECK(await(process.wait()) == 0);
    const pid_t grandchild = std::stoi(await(process.stdout_()->readline()));
    ::kill(grandchild, SIGKILL);
    CHECK(await(process.stdout_()->read()) == "");
  });
}

TEST_CASE("streams may be joined, thrown away, or given as descriptors") {
  asyncio::run([] {
    auto joined =
        await(create_subprocess_shell("echo a; echo b >&2", {.stdout_ = PIPE, .stderr_ = STDOUT}));
    CHECK(await(joined.communicate()).first == "a\nb\n");
    auto silent = await(create_subprocess_shell(
        "cat; echo a; echo b >&2", {.stdin_ = DEVNULL, .stdout_ = DEVNULL, .stderr_ = DEVNULL}));
    CHECK(await(silent.communicate()) == std::pair<std::string, std::string>());
    const support::Pipe pipe;
    auto given = await(create_subprocess_shell("echo c", {.stdout_ = int(pipe.writes)}));
    CHECK(await(given.wait()) == 0);
    char text[8] = {};
    CHECK(::read(pipe.reads, text, sizeof text) == 2);
  });
}

TEST_CASE(
    "a child runs where, and with the environment, that it is given; it gets no descriptors") {
  asyncio::run([] {
    auto where = await(create_subprocess_exec({"pwd"}, {.stdout_ = PIPE, .cwd = "/"}));
    CHECK(await(where.communicate()).first == "/\n");
    const std::map<std::string, std::string> variables{{"ONLY", "this"}};
    auto environment =
        await(create_subprocess_exec({"/usr/bin/env"}, {.stdout_ = PIPE, .env = variables}));
    CHECK(await(environment.communicate()).first == "ONLY=this\n");
    const std::unordered_map<std::string, const char*> others{{"OTHER", "container"}};
    environment = await(create_subprocess_exec({"/usr/bin/env"}, {.stdout_ = PIPE, .env = others}));
    CHECK(await(environment.communicate()).first == "OTHER=container\n");
    const asyncio::subprocess::Environment twice = {{"A", "1"}, {"B", "2"}, {"A", "3"}};
    environment = await(create_subprocess_exec({"/usr/bin/env"}, {.stdout_ = PIPE, .env = twice}));
    CHECK(await(environment.communicate()).first == "A=3\nB=2\n");
    const int open = ::dup(0);  // without close-on-exec
    auto descriptors =
        await(create_subprocess_shell("test -e /proc/self/fd/" + std::to_string(open)));
    CHECK(await(descriptors.wait()) == 1);
    ::close(open);
    auto session = await(create_subprocess_shell("ps -o sid= -p $$ 2>/dev/null || echo $$",
                                                 {.stdout_ = PIPE, .start_new_session = true}));
    CHECK(std::stoi(await(session.communicate()).first) == session.pid());
  });
}

TEST_CASE("a program that cannot be started is an error, and leaves nothing behind") {
  if (support::lacks_shared_memory_of_vfork()) return;
  asyncio::run([] {
    CHECK(thrown_by([] {
            await(create_subprocess_exec({"no-such-program"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
          }) == "FileNotFoundError('[Errno 2] No such file or directory: no-such-program')");
    CHECK(thrown_by([] { await(create_subprocess_exec({"/"})); }).starts_with("PermissionError("));
    CHECK(thrown_by([] { await(create_subprocess_exec({"true"}, {.cwd = "/no-such-place"})); }) ==
          "FileNotFoundError('[Errno 2] No such file or directory: /no-such-place')");
    CHECK(thrown_by([] { await(create_subprocess_exec({"true"}, {.cwd = ""})); }) ==
          "FileNotFoundError(\"[Errno 2] No such file or directory: ''\")");
    CHECK(thrown_by([] { await(create_subprocess_exec({"true"}, {.cwd = "/proc/self/stat"})); }) ==
          "NotADirectoryError('[Errno 20] Not a directory: /proc/self/stat')");
    CHECK(thrown_by([] { await(create_subprocess_exec({"no-such-program"}, {.cwd = "/"})); }) ==
          "FileNotFoundError('[Errno 2] No such file or directory: no-such-program')");
    CHECK(thrown_by([] { await(create_subprocess_exec({})); }) ==
          "ValueError('the command is empty: its first string names the program')");
    CHECK(thrown_by([] { await(create_subprocess_exec({std::string("a\0b", 3)})); }) ==
          "ValueError('embedded null byte')");
    CHECK(thrown_by([] { await(create_subprocess_exec({"true"}, {.stdout_ = STDOUT})); }) ==
          "ValueError('STDOUT can only be used for stderr')");
  });
  CHECK(no_children());
}

TEST_CASE("input that a child does not want is no error") {
  asyncio::run([] {
    auto process = await(create_subprocess_exec({"true"}, {.stdin_ = PIPE}));
    await(process.communicate(std::string(1'000'000, 'x')));
    CHECK(process.returncode() == 0);
  });
}

TEST_CASE("a child whose handles were dropped leaves no zombie") {
  asyncio::run([] {
    static_cast<void>(await(create_subprocess_exec({"true"})));
    for (int i = 0; i < 1000 && !no_children(); ++i) await(asyncio::sleep(1ms));
    CHECK(no_children());
  });
}

TEST_CASE("a child that still runs when its loop is closed is killed") {
  asyncio::run([] { static_cast<void>(await(create_subprocess_exec({"sleep", "100"}))); });
  CHECK(no_children());
}

TEST_CASE("many children at once") {
  asyncio::run([] {
    std::vector<asyncio::Task<int>> tasks;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(asyncio::create_task([i] {
        return await(await(create_subprocess_shell("exit " + std::to_string(i))).wait());
      }));
    int expected = 0;
    for (const int status : await(asyncio::gather(tasks))) CHECK(status == expected++);
  });
  CHECK(no_children());
}

TEST_CASE("a signal that we ignore has its default effect in a child") {
  asyncio::run([] {
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    auto process = await(create_subprocess_shell("kill -PIPE $$; exit 7"));
    std::signal(SIGPIPE, before);
    CHECK(await(process.wait()) == -SIGPIPE);
  });
}

TEST_CASE("the status of a child that somebody else has waited for is not known") {
  asyncio::run([] {
    auto process = await(create_subprocess_exec({"true"}));
    Log log;
    CHECK(::waitpid(process.pid(), nullptr, 0) == process.pid());
    CHECK(await(process.wait()) == 255);
    CHECK(log.take() == "WARNING Unknown child process pid " + std::to_string(process.pid()) +
                            ", will report returncode 255");
  });
}

TEST_CASE("a child whose status the kernel drops has none, however early the child ends") {
  asyncio::run([] {
    const auto before = std::signal(SIGCHLD, SIG_IGN);
    Log log;
    for (int i = 0; i < 30; ++i) {
      auto process = await(create_subprocess_exec({"true"}, {.stdout_ = PIPE}));
      CHECK(await(process.stdout_()->read()) == "");
      CHECK(await(process.wait()) == 255);
      CHECK_THROWS_AS(process.send_signal(SIGTERM), fiber::ProcessLookupError);
      CHECK(log.take() == "WARNING Unknown child process pid " + std::to_string(process.pid()) +
                              ", will report returncode 255");
    }
    std::signal(SIGCHLD, before);
  });
}

TEST_CASE("communicate while another task reads is refused, and harms neither") {
  asyncio::run([] {
    auto process =
        await(create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}));
    auto reads = asyncio::create_task([process] { return await(process.stdout_()->read()); });
    await(asyncio::sleep(0));
    const std::string refusal =
        "RuntimeError('read() called while another coroutine is already waiting for incoming "
        "data')";
    const std::string much(200'000, 'x');
    CHECK(thrown_by([&] { await(process.communicate(much)); }) == refusal);
    CHECK(await(reads) == much);
    CHECK(await(process.wait()) == 0);
  });
}

TEST_CASE("of two tasks that call communicate() at once the second is refused") {
  asyncio::run([] {
    auto process = await(create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
    auto first = asyncio::create_task([process] { return await(process.communicate("one")); });
    auto second = asyncio::create_task([process] { return await(process.communicate("two")); });
    CHECK(thrown_by([&] {
            await(second);
          }).starts_with("RuntimeError('read() called while another coroutine"));
    CHECK(await(first).first.starts_with("one"));
  });
}

TEST_CASE("the output that a cancelled communicate() had read can still be read") {
  asyncio::run([] {
    support::SocketPair ends(SOCK_STREAM);
    auto process = await(create_subprocess_shell(
        "printf first; printf error >&2; exec 2>&-; printf ready >&0; read x; printf second",
        {.stdin_ = int(ends.one), .stdout_ = PIPE, .stderr_ = PIPE}));
    ends.one.close();
    auto talks = asyncio::create_task([process] { await(process.communicate()); });
    CHECK(await(asyncio::get_running_loop().sock_recv(ends.other, 10)) == "ready");
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    talks.cancel();
    await(asyncio::wait({talks}));
    CHECK(talks.cancelled());
    CHECK(::write(ends.other, "\n", 1) == 1);
    CHECK(await(process.communicate()) ==
          std::pair<std::string, std::string>("firstsecond", "error"));
  });
}

TEST_CASE("a cancelled read up to the end leaves what it had") {
  asyncio::run([] {
    const asyncio::StreamReader reader;
    auto reads = asyncio::create_task([&] { await(reader.read()); });
    await(asyncio::sleep(0));
    reader.feed_data("one ");
    await(asyncio::sleep(0));
    reader.feed_data("two");
    await(asyncio::sleep(0));
    reads.cancel();
    await(asyncio::wait({reads}));
    reader.feed_eof();
    CHECK(await(reader.read()) == "one two");
  });
}

TEST_CASE("children that were killed with their output unread leave nothing behind") {
  asyncio::run([] {
    const auto kill_one = [] {
      auto process = await(create_subprocess_exec({"yes"}, {.stdout_ = PIPE}));
      await(process.stdout_()->readline());
      await(asyncio::sleep(2ms));  // stopped meanwhile, since no task reads
      process.kill();
      await(process.wait());
    };
    kill_one();
    await(asyncio::sleep(0));
    const std::size_t before = descriptors();
    for (int i = 0; i < 5; ++i) kill_one();
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    CHECK(descriptors() <= before);
  });
}

TEST_CASE("arguments with a zero byte are refused") {
  asyncio::run([] {
    const std::string nul("a\0b", 3);
    const std::string refusal = "ValueError('embedded null byte')";
    const auto refused = [&](std::vector<std::string> command,
                             asyncio::CreateSubprocessOptions options) {
      return thrown_by(
          [&] { await(create_subprocess_exec(std::move(command), std::move(options))); });
    };
    CHECK(refused({nul}, {}) == refusal);
    CHECK(refused({"true", nul}, {}) == refusal);
    CHECK(refused({"true"}, {.cwd = nul}) == refusal);
    CHECK(refused({"true"}, {.env = {{{nul, "x"}}}}) == refusal);
    CHECK(refused({"true"}, {.env = {{{"x", nul}}}}) == refusal);
    CHECK(refused({"true"}, {.env = {{{"x=y", "z"}}}}) ==
          "ValueError('illegal environment variable name')");
    CHECK(refused({"true"}, {.stdout_ = PIPE, .limit = 0}) == "ValueError('Limit cannot be <= 0')");
    CHECK(thrown_by([&] { await(asyncio::open_connection("127.0.0.1" + nul, 1)); }) == refusal);
    CHECK(thrown_by([&] { await(asyncio::open_unix_connection(nul)); }) == refusal);
    CHECK(thrown_by([&] { asyncio::SocketAddress("127.0.0.1" + nul, 1); }) == refusal);
    const auto serve = [](auto&, auto&) {};
    CHECK(thrown_by([&] { await(asyncio::start_server(serve, nul, 0)); }) == refusal);
    CHECK(thrown_by([&] { await(asyncio::start_unix_server(serve, nul)); }) == refusal);
    CHECK(thrown_by([&] {
            await(asyncio::get_running_loop().getaddrinfo("localhost" + nul, 1));
          }) == refusal);
  });
  CHECK(no_children());
}

TEST_CASE("a program without standard streams can give its children some") {
  const ChildResult program = run_forked([] {
    const support::Pipe pipe;
    ::close(STDOUT_FILENO);  // the next file opened gets its number
    asyncio::run([&] {
      auto process = await(create_subprocess_shell(
          "echo out; echo err >&2", {.stdout_ = int(pipe.writes), .stderr_ = DEVNULL}));
      await(process.wait());
    });
    char text[100];
    const auto size = ::read(pipe.reads, text, sizeof text);
    if (std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0) != "out\n")
      throw fiber::ValueError("not what the child wrote to stdout");
  });
  CHECK(program.status == 0);
}
