// Signals that interrupt the calls of one task, as under fiber-run.
#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/monkey/interruptions.hpp>

#include <linux/futex.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csetjmp>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include "monkey/stdio_calls.hpp"
#include "monkey/support.hpp"
#include "monkey/thread_calls.hpp"
#include "support/child_process.hpp"
#include "support/folder.hpp"
#include "support/leak_check.hpp"

using namespace monkey_test;

namespace {

// Several texts at once, in order.
class Said : public Events {
 public:
  template <class... T>
  void operator()(const T&... events) {
    (Events::operator()(events), ...);
  }
};

volatile int handled = 0;
sigjmp_buf target;

// Installs a handler of a signal such as SIGUSR1; restores the old handler at the end.
class Handler {
 public:
  Handler(int signal, void (*function)(int), int flags = 0) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = function;
    action.sa_flags = flags;
    ::sigaction(signal, &action, &before_);
    handled = 0;
  }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  ~Handler() { ::sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_ {};
};

void count(int) { handled = handled + 1; }

// Runs `body` in the task whose calls signals interrupt.
template <class F>
void run_interrupted(F body) {
  run([&] {
    monkey::detail::let_signals_interrupt(asyncio::detail::current_task_or_null(), 0);
    body();
    monkey::detail::let_signals_interrupt(nullptr, 0);
  });
}

void soon(int signal) {
  asyncio::get_running_loop().call_soon([signal] { ::kill(::getpid(), signal); });
}

std::string error_of(ssize_t result) {
  return result >= 0 ? std::to_string(result) : (errno == EINTR ? "EINTR" : "another error");
}

}  // namespace

TEST_CASE("a handler interrupts the call of the task, and no other's") {
  Said say;
  const Handler handler(SIGUSR1, count);
  run_interrupted([&] {
    const Ends ends = socket_pair();
    const Ends others = socket_pair();
    const auto other = start([&] {
      char byte = 0;
      return calls::read(others.a, &byte, 1);
    });
    char byte = 0;
    soon(SIGUSR1);
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    soon(SIGUSR1);
    say(error_of(calls::pause()), handled);
    CHECK(!other.done());
    CHECK(calls::write(others.b, "x", 1) == 1);
    say(await(other));
  });
  CHECK(say.take() == "EINTR 1 EINTR 2 1");
}

TEST_CASE("with SA_RESTART reading goes on, and what sleeps or polls does not") {
  Said say;
  const Handler handler(SIGUSR1, count, SA_RESTART);
  run_interrupted([&] {
    const Ends ends = socket_pair();
    const auto writer = start([&] {
      while (handled == 0) await(asyncio::sleep(1ms));
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    char byte = 0;
    soon(SIGUSR1);
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    await(writer);
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
    soon(SIGUSR1);
    say(error_of(calls::poll(&one, 1, -1)), handled);
    const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
    timespec rest{};
    soon(SIGUSR1);
    say(error_of(calls::nanosleep(&hour, &rest)), handled);
    CHECK(rest.tv_sec > 3000);
    // A call with a time limit of its own is not restarted.
    const timeval limit{.tv_sec = 3600, .tv_usec = 0};
    CHECK(::setsockopt(ends.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    soon(SIGUSR1);
    say(error_of(calls::recv(ends.a, &byte, 1, 0)), handled);
  });
  CHECK(say.take() == "1 1 EINTR 2 EINTR 3 EINTR 4");
}

TEST_CASE(
    "with SA_RESTART a call that has moved bytes tells of them, and time limits do not go on") {
  Said say;
  const Handler handler(SIGUSR1, count, SA_RESTART);
  run_interrupted([&] {
    const std::string much(5'000'000, 'x');
    const Ends pipe = monkey_test::pipe();
    soon(SIGUSR1);
    const ssize_t written = calls::write(pipe.b, much.data(), much.size());
    CHECK(written > 0);
    CHECK(written < 5'000'000);
    const Ends ends = socket_pair();
    CHECK(calls::write(ends.b, "abc", 3) == 3);
    char bytes[6];
    soon(SIGUSR1);
    say(error_of(calls::recv(ends.a, bytes, sizeof bytes, MSG_WAITALL)), handled);
    sem_t semaphore;
    ::sem_init(&semaphore, 0, 0);
    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 3600;
    soon(SIGUSR1);
    say(error_of(calls::sem_timedwait(&semaphore, &until)), handled);
    unsigned word = 0;
    const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
    soon(SIGUSR1);
    say(error_of(calls::syscall(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAIT, 0,
                                reinterpret_cast<long>(&hour), 0, 0)),
        handled);
    ::sem_destroy(&semaphore);
  });
  CHECK(say.take() == "3 2 EINTR 3 EINTR 4");
}

TEST_CASE("with SA_RESTART calls with a time of day go on; not those that have moved a message") {
  Said say;
  const Handler handler(SIGUSR1, count, SA_RESTART);
  run_interrupted([&] {
    const Ends ends = socket_pair(SOCK_DGRAM);
    CHECK(calls::send(ends.b, "x", 1, 0) == 1);
    char bytes[8];
    iovec vector{.iov_base = bytes, .iov_len = sizeof bytes};
    mmsghdr messages[2]{};
    for (mmsghdr& each : messages) {
      each.msg_hdr.msg_iov = &vector;
      each.msg_hdr.msg_iovlen = 1;
    }
    soon(SIGUSR1);
    say(error_of(calls::recvmmsg(ends.a, messages, 2, 0, nullptr)), handled);

    mq_attr attributes{};
    attributes.mq_maxmsg = 1;
    attributes.mq_msgsize = sizeof bytes;
    const std::string name = "/fiber-restarts-" + std::to_string(::getpid());
    const mqd_t queue = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600, &attributes);
    if (queue < 0) return;  // this kernel has no message queues of POSIX
    ::mq_unlink(name.c_str());
    const timespec far{.tv_sec = ::time(nullptr) + 3600, .tv_nsec = 0};
    const auto sender = start([&] {
      while (handled < 2) await(asyncio::sleep(1ms));
      CHECK(::mq_send(queue, "abc", 3, 0) == 0);
    });
    soon(SIGUSR1);
    say(error_of(calls::mq_timedreceive(queue, bytes, sizeof bytes, nullptr, &far)), handled);
    await(sender);
    ::mq_close(queue);
  });
  CHECK((say.take() + " 3 2").starts_with("1 1 3 2"));
}

TEST_CASE("a connection with a time limit is interrupted even with SA_RESTART") {
  Said say;
  const Handler handler(SIGUSR1, count, SA_RESTART);
  run_interrupted([&] {
    const Descriptor server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr any{.sa_family = AF_UNIX, .sa_data = {}};
    REQUIRE(::bind(server, &any, sizeof any.sa_family) == 0);  // the kernel chooses a name
    REQUIRE(::listen(server, 0) == 0);
    const asyncio::SocketAddress where = asyncio::SocketAddress::of_socket(server);
    const Descriptor first(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(first, where.data(), where.size()) == 0);
    const Descriptor second(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = 3600, .tv_usec = 0};
    CHECK(::setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    soon(SIGUSR1);
    say(error_of(calls::connect(second, where.data(), where.size())), handled);
  });
  CHECK(say.take() == "EINTR 1");
}

TEST_CASE("sigwaitinfo is interrupted even with SA_RESTART, and sigwait even without it is not") {
  Said say;
  sigset_t set, before;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  run_interrupted([&] {
    const Handler restarting(SIGUSR1, count, SA_RESTART);
    soon(SIGUSR1);
    say(error_of(calls::sigwaitinfo(&set, nullptr)), handled);
    const Handler interrupting(SIGUSR1, count);
    const auto sender = start([] {
      while (handled == 0) await(asyncio::sleep(1ms));
      ::kill(::getpid(), SIGUSR2);
    });
    int signal = 0;
    soon(SIGUSR1);
    const int result = calls::sigwait(&set, &signal);
    say(result, handled, signal == SIGUSR2 ? "USR2" : "?");
    await(sender);
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CHECK(say.take() == "EINTR 1 0 1 USR2");
}

TEST_CASE("select that is interrupted, or left by a jump, leaves its sets as they were") {
  Said say;
  const Ends ends = socket_pair();
  fd_set reading, writing;
  const auto prepare = [&] {
    FD_ZERO(&reading);
    FD_ZERO(&writing);
    FD_SET(ends.a, &reading);
  };
  run_interrupted([&] {
    {
      const Handler handler(SIGUSR1, count);
      prepare();
      soon(SIGUSR1);
      say(error_of(calls::select(ends.a + 1, &reading, &writing, nullptr, nullptr)));
      say(FD_ISSET(ends.a, &reading) != 0);
      soon(SIGUSR1);
      say(error_of(calls::pselect(ends.a + 1, &reading, &writing, nullptr, nullptr, nullptr)));
      say(FD_ISSET(ends.a, &reading) != 0);
    }
    {
      const Handler handler(SIGUSR1, [](int) { ::siglongjmp(target, 1); });
      if (sigsetjmp(target, 1) == 0) {
        soon(SIGUSR1);
        say(error_of(calls::select(ends.a + 1, &reading, &writing, nullptr, nullptr)));
      }
      say(FD_ISSET(ends.a, &reading) != 0);
    }
    timeval soon_over{.tv_sec = 0, .tv_usec = 1000};
    say(calls::select(ends.a + 1, &reading, &writing, nullptr, &soon_over));
    say(FD_ISSET(ends.a, &reading) != 0);
  });
  CHECK(say.take() == "EINTR 1 EINTR 1 1 0 0");
}

TEST_CASE("neither a handler nor the terminal's signals end system(), as in libc") {
  Said say;
  const Handler handler(SIGUSR1, count);
  const Handler interrupt(SIGINT, SIG_DFL);
  const Handler quit(SIGQUIT, SIG_IGN);
  run_interrupted([&] {
    const char* command = "kill -USR1 $PPID; kill -INT $PPID; kill -QUIT $$; kill -INT $$; exit 3";
    const int status = calls::system(command);
    say(WIFSIGNALED(status) ? WTERMSIG(status) : -1, handled);
    say(WEXITSTATUS(calls::system("kill -USR1 $PPID; kill -QUIT $$; sleep 0.1; exit 3")), handled);
  });
  struct sigaction now {};
  ::sigaction(SIGINT, nullptr, &now);
  CHECK((now.sa_handler == SIG_DFL));
  CHECK(say.take() == "2 1 3 2");
}

TEST_CASE("signals without a handler, and those that the program blocks, interrupt nothing") {
  Said say;
  const Handler ignored(SIGUSR2, SIG_IGN);
  const Handler handler(SIGUSR1, count);
  run_interrupted([&] {
    sigset_t set, before;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &set, &before);
    const Ends ends = socket_pair();
    for (const int signal : {SIGUSR1, SIGUSR2, SIGURG, SIGWINCH, SIGCONT}) soon(signal);
    const auto writer = start([&] {
      await(asyncio::sleep(1ms));
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    char byte = 0;
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    say(handled);
    await(writer);
  });
  CHECK(say.take() == "1 0 1");
}

TEST_CASE("a handler may jump out of the call, and call what is patched") {
  Said say;
  const Handler handler(SIGUSR1, [](int) {
    static_cast<void>(calls::usleep(1));
    ::siglongjmp(target, 1);
  });
  run_interrupted([&] {
    const Ends ends = socket_pair();
    for (int i = 0; i < 3; ++i) {
      if (sigsetjmp(target, 1) == 0) {
        soon(SIGUSR1);
        char byte = 0;
        say(error_of(calls::read(ends.a, &byte, 1)));
      } else {
        say("jumped");
      }
    }
    CHECK(calls::write(ends.b, "x", 1) == 1);
    char byte = 0;
    say(error_of(calls::read(ends.a, &byte, 1)));
  });
  CHECK(say.take() == "jumped jumped jumped 1");
}

// AddressSanitizer moves variables from the stack, where frames that are left are told from others.
#if !defined(FIBER_ASAN)
namespace {

// Leaves calls that wait by jumps, over and over. Returns how many more descriptors are open then
// than after the first round.
long more_descriptors_after_jumps(const char* fifo) {
  const Handler handler(SIGUSR1, [](int) { ::siglongjmp(target, 1); });
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) ::pause();
  long more = 0;
  run_interrupted([&] {
    const Ends ends = socket_pair();
    std::vector<pollfd> many(100, {.fd = ends.a, .events = POLLIN, .revents = 0});
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR2);
    const auto leave = [](auto call) {
      if (sigsetjmp(target, 1) != 0) return;
      soon(SIGUSR1);
      call();
      throw fiber::RuntimeError("not left");
    };
    const auto leave_all = [&] {
      leave([&] { calls::waitpid(child, nullptr, 0); });
      leave([&] { calls::sigwaitinfo(&set, nullptr); });
      leave([&] { calls::open(fifo, O_RDONLY); });
      leave([&] { calls::poll(many.data(), many.size(), -1); });
    };
    leave_all();
    const long before = support::Holdings::now().descriptors;
    for (int i = 0; i < 5; ++i) leave_all();
    more = support::Holdings::now().descriptors - before;
  });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return more;
}

}  // namespace

// In a child: the last call of each kind holds on until there is another one.
TEST_CASE("a later call closes the descriptors of a call that was left by a jump") {
  const support::Folder folder;
  const std::string fifo = folder / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  const support::ChildResult result = support::run_child(
      {.body = [&] { std::cerr << more_descriptors_after_jumps(fifo.c_str()); }});
  CHECK(result.errors == "0");
}
#endif

TEST_CASE("a handler of SIGCHLD takes no child from the call that waits for it") {
  Said say;
  const Handler handler(SIGCHLD, [](int) {
    handled = handled + 1;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  });
  run_interrupted([&] {
    for (const bool any : {false, true}) {
      const Ends ends = pipe();
      const pid_t child = ::fork();
      if (child == 0) {
        char byte = 0;
        static_cast<void>(!::read(ends.a, &byte, 1));
        ::_exit(3);
      }
      asyncio::get_running_loop().call_soon([&] { CHECK(::write(ends.b, "x", 1) == 1); });
      int status = 0;
      const pid_t ended = calls::waitpid(any ? -1 : child, &status, 0);
      say(ended == child, WEXITSTATUS(status), handled);
    }
  });
  CHECK(say.take() == "1 3 1 1 3 2");
}

TEST_CASE("without a descriptor for interruptions handlers run, and interrupt nothing") {
  Said say;
  const Handler handler(SIGUSR1, count);
  run_interrupted([&] {
    // Other code closes all descriptors; then no new one is available.
    const Ends ends = socket_pair();
    char byte = 0;
    soon(SIGUSR1);
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    const int lowest = ::dup(ends.a);
    ::close(lowest);
    for (int fd = lowest; fd < lowest + 32; ++fd) calls::close(fd);
    soon(SIGUSR1);
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    for (int fd = lowest; fd < lowest + 32; ++fd) calls::close(fd);
    // No descriptor may have such a large number.
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    monkey::detail::let_signals_interrupt(asyncio::detail::current_task_or_null(),
                                          static_cast<int>(limit.rlim_cur));
    soon(SIGUSR1);
    const auto writer = start([&] {
      while (handled == 2) await(asyncio::sleep(1ms));
      CHECK(calls::write(ends.b, "x", 1) == 1);
    });
    say(error_of(calls::read(ends.a, &byte, 1)), handled);
    await(writer);
  });
  CHECK(say.take() == "EINTR 1 EINTR 2 1 3");
}
