// Sandboxes that refuse single system calls.
#include <fiber/asyncio.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child_process.hpp"
#include "support/emulator.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::subprocess::PIPE;

namespace {

// From here on the kernel refuses a system call to this process and to its children.
void refuse(long call, int error) {
  constexpr auto load = static_cast<std::uint16_t>(BPF_LD | BPF_W | BPF_ABS);
  constexpr auto jump = static_cast<std::uint16_t>(BPF_JMP | BPF_JEQ | BPF_K);
  constexpr auto give = static_cast<std::uint16_t>(BPF_RET | BPF_K);
  sock_filter steps[] = {
      BPF_STMT(load, offsetof(seccomp_data, nr)),
      BPF_JUMP(jump, static_cast<std::uint32_t>(call), 0, 1),
      BPF_STMT(give, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(give, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(steps), steps};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    fiber::raise_os_error(errno, "prctl");
}

bool lacks_filters() {
  return support::on_emulator() && support::left_out("qemu-user does not filter system calls");
}

// Returns the outcome of `body`, "OK" or its exception, in a process to which `call` is refused.
std::string without(long call, int error, const std::function<void()>& body) {
  return support::run_forked([&] {
           refuse(call, error);
           std::string outcome = "OK";
           try {
             body();
           } catch (const std::exception& thrown) {
             outcome = thrown.what();
           }
           (void)!::write(STDERR_FILENO, outcome.data(), outcome.size());
         })
      .errors;
}

void must(bool holds, const char* what) {
  if (!holds) throw fiber::RuntimeError(what);
}

void run_children() {
  asyncio::run([] {
    auto cat = await(asyncio::create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE}));
    const auto [out, err] = await(cat.communicate("through a child"));
    must(out == "through a child" && cat.returncode() == 0, "a child that ends");
    auto sleeper = await(asyncio::create_subprocess_exec({"sleep", "100"}));
    sleeper.terminate();
    must(await(sleeper.wait()) == -SIGTERM, "a child that a signal ends");
    auto failing = await(asyncio::create_subprocess_shell("exit 3"));
    must(await(failing.wait()) == 3, "the status of a child");
  });
  must(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD, "no child is left");
}

void wait_for_descriptors() {
  asyncio::run([] {
    const auto echo = [](asyncio::StreamReader reader, asyncio::StreamWriter writer) {
      writer.write(await(reader.readline()));
      writer.close();
    };
    auto server = await(asyncio::start_server(echo, "127.0.0.1", 0));
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", server.sockets()[0].getsockname().port()));
    writer.write("a line\n");
    must(await(asyncio::wait_for([&, reader = reader] { return await(reader.readline()); }, 10s)) ==
             "a line\n",
         "an echo");
    writer.close();
    server.close();
  });
}

}  // namespace

TEST_CASE("children are waited for where no descriptor of a process can be had") {
  if (lacks_filters()) return;
  for (const int error : {EPERM, ENOSYS, EACCES, EINVAL}) {
    CAPTURE(error);
    CHECK(without(SYS_pidfd_open, error, run_children) == "OK");
    CHECK(without(SYS_pidfd_send_signal, error, run_children) == "OK");
  }
}

#ifdef SYS_epoll_wait
TEST_CASE("events are waited for by either of the kernel's calls") {
  if (lacks_filters()) return;
  for (const int error : {EPERM, ENOSYS, EACCES}) {
    CAPTURE(error);
    CHECK(without(SYS_epoll_wait, error, wait_for_descriptors) == "OK");
    CHECK(without(SYS_epoll_pwait, error, wait_for_descriptors) == "OK");
  }
}

TEST_CASE("a loop that may not wait for events ends by the system's error") {
  if (lacks_filters() || support::lacks_loop_descriptor()) return;  // the latter waits by poll()
  const auto sleeps = [] {
    refuse(SYS_epoll_pwait, EPERM);
    asyncio::run([] { await(asyncio::sleep(1ms)); });
  };
  CHECK(without(SYS_epoll_wait, EPERM, sleeps) ==
        "[Errno 1] Operation not permitted: cannot wait for the descriptors of an event loop");
}
#endif

[[gnu::noinline]] static void waits_without_proc() {
  fiber::getcurrent().parent().switch_();
  asm volatile("");
}

TEST_CASE("functions have their names where there is no /proc") {
  if (support::on_emulator() && support::left_out("qemu-user reads /proc itself")) return;
  const auto result = support::run_forked([] {
    if ((::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/proc", "tmpfs", 0, nullptr) != 0) {
      std::cout << "SKIP: this process may not hide /proc" << std::endl;
      return;
    }
    const fiber::greenlet waiting(waits_without_proc);
    waiting.switch_();
    for (const auto& frame : fiber::traceback::extract_stack(waiting))
      std::cout << frame.name << std::endl;
  });
  CHECK(result.errors == "");
  const std::string out = result.out();
  CHECK((out.starts_with("SKIP") || out.find("waits_without_proc") != std::string::npos));
  if (out.starts_with("SKIP")) std::cout << out;
}
