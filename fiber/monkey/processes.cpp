// Waiting for child processes.
#include <fiber/core/own_thread.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/interruptions.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <iterator>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>

namespace fiber::monkey::detail {
namespace {

// Returns a descriptor that becomes readable when the child ends.
int descriptor_of(pid_t pid) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

// Waits for the child's end, but not for long: no descriptor reports that a traced child has
// stopped, and wait() reports this, too.
Wake wait_a_while(const Call& call, int child, std::int64_t& pause) noexcept {
  constexpr std::int64_t kLongest = kSecond / 4;
  DescriptorWait one{.fd = child, .events = EPOLLIN};
  asyncio::detail::Waiter* shown = nullptr;  // with it the call goes on after a handler
  const Wake wake = call.wait(std::span(&one, 1), call.deadline_after(pause), &shown);
  pause = std::min(2 * pause, kLongest);
  return wake;
}

// The child that is waited for: a descriptor becomes readable when it ends.
struct Child {
  pid_t pid = 0;  // 0: any, or one without such a descriptor
  int fd = -1;    // a descriptor of the program's, which is not closed here
};

// Repeats `attempt`, which does not wait, and returns 0 if it would have to.
template <class F>
int wait_for_child(Call& call, Child child, F attempt) noexcept {
  call.look_before_handlers();
  int result = attempt();
  if (result != 0) return result > 0 ? call.done(result) : result;
  Backoff backoff;
  std::int64_t pause = 1'000'000;
  HeldDescriptor own(call, child.pid > 0 ? descriptor_of(child.pid) : -1);
  while (result == 0) {
    const int fd = own.get() >= 0 ? own.get() : child.fd;
    if (fd < 0 ? !backoff.pause(call) : wait_a_while(call, fd, pause) == Wake::failed) {
      // The descriptor is the library's own: if it is lost, the child is looked at again and again.
      if (!own.has_failed_as_lost()) return -1;
    }
    result = attempt();
    if (result == 0) own.has_lost();
  }
  return result > 0 ? call.done(result) : result;
}

pid_t wait4_(pid_t pid, int* status, int options, rusage* usage) noexcept {
  Call call;
  if (!call || (options & WNOHANG) != 0) return real().wait4(pid, status, options, usage);
  const bool only_end = (options & (WUNTRACED | WCONTINUED)) == 0;
  return wait_for_child(call, {.pid = pid > 0 && only_end ? pid : 0},
                        [=] { return real().wait4(pid, status, options | WNOHANG, usage); });
}

pid_t waitpid_(pid_t pid, int* status, int options) noexcept {
  return wait4_(pid, status, options, nullptr);
}

pid_t wait_(int* status) noexcept { return wait4_(-1, status, 0, nullptr); }

pid_t wait3_(int* status, int options, rusage* usage) noexcept {
  return wait4_(-1, status, options, usage);
}

int waitid_(idtype_t type, id_t id, siginfo_t* info, int options) noexcept {
  Call call;
  if (!call || (options & WNOHANG) != 0) return real().waitid(type, id, info, options);
  const auto attempt = [=] {
    siginfo_t found{};
    const int error = real().waitid(type, id, &found, options | WNOHANG);
    if (error != 0) return -1;
    if (found.si_pid == 0) return 0;
    return info == nullptr || give(info, found) ? 1 : -1;
  };
  const bool only_end = (options & (WSTOPPED | WCONTINUED)) == 0;
  if (type != P_PIDFD)
    return wait_for_child(call, {.pid = type == P_PID && only_end ? static_cast<pid_t>(id) : 0},
                          attempt) > 0
               ? 0
               : -1;
  const int fd = static_cast<int>(id);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0)
    return call.tried(real().waitid(type, id, info, options));
  return wait_for_child(call, {.fd = only_end ? fd : -1}, attempt) > 0 ? 0 : -1;
}

bool is_handled(int signal) noexcept {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_DFL &&
         now.sa_handler != SIG_IGN;
}

// The tasks of a thread that are in system(). The kernel's mask is the thread's, so tasks with a
// thread state of their own count, too.
struct InSystem {
  int tasks;
  bool blocks;  // SIGCHLD, for as long as there are tasks
};
constinit thread_local core::PerThread<InSystem> in_system;
const core::PerThreadUse in_system_use([]() -> core::PerThreadBase& { return in_system; });

// Blocks SIGCHLD on this thread while one of its tasks is in system(), as libc's system() does:
// many programs have a handler that waits for every child, and would take the status of this one.
// Other children that are started meanwhile get the earlier mask.
class ChildrenUntold {
 public:
  ChildrenUntold() noexcept {
    if (in_system->tasks++ > 0 || core::mask_for_children() != nullptr || !is_handled(SIGCHLD))
      return;
    sigset_t before;
    change(SIG_BLOCK, &before);
    if (::sigismember(&before, SIGCHLD) == 1) return;
    core::keep_mask_for_children(before);
    in_system->blocks = true;
  }
  ChildrenUntold(const ChildrenUntold&) = delete;
  ChildrenUntold& operator=(const ChildrenUntold&) = delete;
  ~ChildrenUntold() {
    if (--in_system->tasks > 0 || !std::exchange(in_system->blocks, false)) return;
    core::inherit_mask_in_children();
    const int error = errno;
    change(SIG_UNBLOCK, nullptr);
    errno = error;
  }

 private:
  static void change(int how, sigset_t* before) noexcept {
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, SIGCHLD);
    ::pthread_sigmask(how, &one, before);
  }
};

// The signals of the terminal, which reach the command as well. libc's system() ignores them
// meanwhile. Here only a program that runs as a whole in this task ignores them; in any other
// program Ctrl-C still cancels tasks.
class SignalsOfTerminal {
 public:
  explicit SignalsOfTerminal(bool ignores) noexcept : ignores_(ignores) {
    ::sigemptyset(&standard_);
    const struct sigaction ignored = ignoring();
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], ignores_ ? &ignored : nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaddset(&standard_, kSignals[i]);
    }
  }
  SignalsOfTerminal(const SignalsOfTerminal&) = delete;
  SignalsOfTerminal& operator=(const SignalsOfTerminal&) = delete;
  ~SignalsOfTerminal() {
    const int error = errno;
    const struct sigaction ignored = ignoring();
    for (std::size_t i = 0; ignores_ && i < std::size(kSignals); ++i) {
      // Signals are blocked while the task waits: those that have come are still there, and
      // ignoring them once more drops them.
      ::sigaction(kSignals[i], &ignored, nullptr);
      ::sigaction(kSignals[i], &before_[i], nullptr);
    }
    errno = error;
  }
  // Returns the signals whose default action the command has: those that the program did not
  // ignore.
  const sigset_t& standard_for_command() const noexcept { return standard_; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGQUIT};
  static struct sigaction ignoring() noexcept {
    struct sigaction ignored {};
    ignored.sa_handler = SIG_IGN;
    return ignored;
  }
  bool ignores_;
  sigset_t standard_;
  struct sigaction before_[std::size(kSignals)];
};

// Starts the shell. Returns an error number.
int start_shell(const char* command, const sigset_t& standard, pid_t& pid) noexcept {
  posix_spawnattr_t attributes;
  if (const int error = ::posix_spawnattr_init(&attributes)) return error;
  ::posix_spawnattr_setsigdefault(&attributes, &standard);
  const sigset_t* mask = core::mask_for_children();
  if (mask != nullptr) ::posix_spawnattr_setsigmask(&attributes, mask);
  ::posix_spawnattr_setflags(
      &attributes,
      static_cast<short>(POSIX_SPAWN_SETSIGDEF | (mask != nullptr ? POSIX_SPAWN_SETSIGMASK : 0)));
  const char* arguments[] = {"sh", "-c", command, nullptr};
  const int error = ::posix_spawn(&pid, "/bin/sh", nullptr, &attributes,
                                  const_cast<char**>(arguments), ::environ);
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

// A cancelled command is killed; handlers of signals do not interrupt the wait for it.
int system_(const char* command) noexcept {
  Call call;
  if (!call || command == nullptr) return real().system(command);
  const ChildrenUntold untold;
  const SignalsOfTerminal terminal(is_interrupted_by_signals(call.task()));
  pid_t pid = -1;
  int error = start_shell(command, terminal.standard_for_command(), pid);
  if (error != 0) {
    errno = error;
    return W_EXITCODE(127, 0);  // as if the shell had ended so: POSIX
  }
  int status = -1;
  pid_t ended = -1;
  do
    ended = wait_for_child(call, {.pid = pid},
                           [&] { return real().wait4(pid, &status, WNOHANG, nullptr); });
  while (ended < 0 && errno == EINTR && !call.task().has_told_library());
  if (ended == pid) return call.done(1), status;
  error = errno;
  if (error == ECHILD) return -1;  // other code has waited for the child: its number may be reused
  ::kill(pid, SIGKILL);
  while (real().wait4(pid, &status, 0, nullptr) < 0 && errno == EINTR) {
  }
  errno = error;
  return -1;
}

}  // namespace

std::span<const Hook> process_hooks() noexcept {
  static const Hook hooks[] = {
      hook<wait_>("wait"),         hook<wait_>("__wait"),   hook<waitpid_>("waitpid"),
      hook<waitpid_>("__waitpid"), hook<wait3_>("wait3"),   hook<wait4_>("wait4"),
      hook<waitid_>("waitid"),     hook<system_>("system"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
