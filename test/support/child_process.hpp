// Child processes for tests: their output line by line with its time, their ends, and several of
// them at once without threads.
#pragma once

#include <fiber/config.hpp>
#if defined(FIBER_TSAN)
#include <fiber/core/thread_state.hpp>
#endif

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/descriptor.hpp"
#include "valgrind.hpp"

namespace support {

struct ChildOptions {
  std::string program = {};  // a path
  std::vector<std::string> arguments = {};
  std::string directory = {};                  // the working directory; "" for this process's
  std::optional<double> interrupt_at = {};     // seconds until it gets SIGINT
  std::optional<rlim_t> file_size_limit = {};  // bytes; a longer write fails as on a full disk
  bool stderr_is_terminal = false;
  double timeout = 60;  // seconds until it is killed; ten times as many where code is emulated
  // The function that a copy of this process runs in place of a program. The copy ends with status
  // 0 when it returns and with 70 when it throws; assertions of the test framework do not work in
  // it.
  std::function<void()> body = {};
};

struct ChildLine {
  double time;  // seconds since the start
  std::string text;
};

struct ChildResult {
  std::vector<ChildLine> lines;  // of stdout
  std::string errors;            // all of stderr
  double end = 0;                // seconds from the start to the end
  int status = -1;               // 128 + n if signal n ended it, as a shell shows it
  bool timed_out = false;

  std::string out() const {
    std::string all;
    for (const ChildLine& line : lines) all += line.text + "\n";
    return all;
  }
};

namespace child_detail {

// Removes what qemu-user writes for a process that a signal ends.
inline void drop_words_of_emulator(std::string& errors) {
  const std::size_t begin = errors.find("qemu: uncaught target signal ");
  if (begin != std::string::npos) errors.erase(begin, errors.find('\n', begin) - begin + 1);
}

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

inline Pipe terminal() {
  Descriptor ours(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (::grantpt(ours) != 0 || ::unlockpt(ours) != 0) fail("pty");
  Descriptor theirs(::open(::ptsname(ours), O_RDWR | O_NOCTTY | O_CLOEXEC));
  return {std::move(ours), std::move(theirs)};
}

class Child {
 public:
  explicit Child(const ChildOptions& options) : options_(options) {
    auto [out, child_out] = Pipe();
    auto [errors, child_errors] = options.stderr_is_terminal ? terminal() : Pipe();
    std::vector<char*> arguments{const_cast<char*>(options.program.c_str())};
    for (const std::string& argument : options.arguments)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);

    start_ = Clock::now();
#if defined(FIBER_TSAN)
    // In the child of a process with several threads ThreadSanitizer sees no synchronization any
    // more, and it counts each known stack as a thread.
    fiber::core::thread_state().pool.trim();
#endif
    pid_ = ::fork();
    if (pid_ < 0) fail("fork");
    if (pid_ == 0) become(arguments.data(), child_out, child_errors);
    ::setpgid(pid_, pid_);
    out_ = std::move(out);
    errors_ = std::move(errors);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (!ended_) {
      kill_all();
      int status;
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
    }
  }

  bool ended() const { return ended_; }
  ChildResult& result() { return result_; }

  void add_to(std::vector<pollfd>& set) const {
    for (const int fd : {int(out_), int(errors_)})
      if (fd >= 0) set.push_back({fd, POLLIN, 0});
  }

  // Reads the available output, sends the signals that are due, notices the end.
  void step(const std::vector<pollfd>& set) {
    for (const pollfd& entry : set) {
      if (entry.revents == 0) continue;
      if (entry.fd == out_) {
        if (!read_some(out_, rest_)) continue;
        split_lines();
      } else if (entry.fd == errors_) {
        read_some(errors_, result_.errors);
      }
    }
    const double now = seconds();
    if (options_.interrupt_at && now >= *options_.interrupt_at) {
      options_.interrupt_at.reset();
      ::kill(pid_, SIGINT);
    }
    if (!result_.timed_out && now >= options_.timeout * (on_valgrind() || on_emulator() ? 10 : 1)) {
      result_.timed_out = true;
      kill_all();
    }
    int status;
    if ((out_ < 0 || result_.timed_out) && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = true;
      result_.end = seconds();
      result_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (!rest_.empty()) result_.lines.push_back({result_.end, std::exchange(rest_, {})});
      pollfd last{errors_, POLLIN, 0};
      while (errors_ >= 0 && ::poll(&last, 1, 0) > 0 && read_some(errors_, result_.errors)) {
      }
      drop_words_of_emulator(result_.errors);
    }
  }

 private:
  // Replaces the child by the program, between fork and exec: system calls only.
  [[noreturn]] void become(char** arguments, int out, int errors) const {
    ::dup2(out, STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
    if (nothing > STDERR_FILENO) ::close(nothing);
    ::signal(SIGINT, SIG_DFL);
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options_.file_size_limit) {
      const rlimit limit{*options_.file_size_limit, *options_.file_size_limit};
      ::signal(SIGXFSZ, SIG_IGN);  // the write fails with EFBIG instead
      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(127);
    }
    if (!options_.directory.empty() && ::chdir(options_.directory.c_str()) != 0) ::_exit(127);
    if (options_.body) run_body();
    ::execv(arguments[0], arguments);
    ::_exit(127);
  }

  [[noreturn]] void run_body() const {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    int status = 0;
    try {
      options_.body();
    } catch (...) {
      std::fputs("the body of the child process threw\n", stderr);
      status = 70;
    }
    std::fflush(nullptr);
    ::_exit(status);
  }

  // Kills the child's process group, so that processes that it has started do not stay behind.
  void kill_all() const {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
  }

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  // Returns false at the end of the stream.
  static bool read_some(Descriptor& from, std::string& to) {
    char buffer[65536];
    const ssize_t n = ::read(from, buffer, sizeof buffer);
    if (n > 0) {
      to.append(buffer, static_cast<std::size_t>(n));
      return true;
    }
    if (n < 0 && errno == EINTR) return true;
    from.close();
    return false;
  }

  void split_lines() {
    const double now = seconds();
    for (std::size_t end; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1))
      result_.lines.push_back({now, rest_.substr(0, end)});
  }

  ChildOptions options_;
  Clock::time_point start_;
  pid_t pid_ = -1;
  Descriptor out_, errors_;
  std::string rest_;  // of stdout, after the last newline
  ChildResult result_;
  bool ended_ = false;
};

}  // namespace child_detail

// Runs all children, at most `at_once` at a time, in the given order; returns the results in that
// order. A child that cannot be started ends with status 127. None outlives the call.
inline std::vector<ChildResult> run_children(const std::vector<ChildOptions>& all,
                                             std::size_t at_once) {
  std::vector<ChildResult> results(all.size());
  std::deque<std::pair<std::size_t, std::unique_ptr<child_detail::Child>>> running;
  std::size_t next = 0;
  while (next < all.size() || !running.empty()) {
    while (next < all.size() && running.size() < at_once) {
      running.emplace_back(next, std::make_unique<child_detail::Child>(all[next]));
      ++next;
    }
    std::vector<pollfd> set;
    for (auto& [index, child] : running) child->add_to(set);
    ::poll(set.data(), set.size(), 10);
    for (auto& [index, child] : running) {
      child->step(set);
      if (child->ended()) results[index] = std::move(child->result());
    }
    std::erase_if(running, [](auto& entry) { return entry.second->ended(); });
  }
  return results;
}

inline ChildResult run_child(const ChildOptions& options) {
  return std::move(run_children({options}, 1).front());
}

// Runs `body` in a copy of this process, which has only the calling thread.
inline ChildResult run_forked(std::function<void()> body) {
  std::fflush(nullptr);
  return run_child({.body = std::move(body)});
}

}  // namespace support
