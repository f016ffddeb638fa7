// Real servers for tests: they run in temporary directories of their own, on 127.0.0.1 and Unix
// sockets, as an ordinary user even when the tests run as root, until the test ends.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/programs.hpp"

namespace legacy_test {

inline std::set<std::string>& temporary_directories() {
  static std::set<std::string> paths;
  return paths;
}

// Ends the program as skipped; destructors do not run.
[[noreturn]] inline void skip(const std::string& missing) {
  std::error_code ignored;
  for (const std::string& path : temporary_directories())
    std::filesystem::remove_all(path, ignored);
  std::cout << "SKIP: " << missing << " is missing" << std::endl;
  std::_Exit(77);
}

// Returns the path of a program (support::find_program). If it is missing, the test program ends as
// skipped, and prints the name of the package.
inline std::string need_program(const std::string& name, const std::string& package,
                                std::vector<std::string> folders = {}) {
  std::string path = support::find_program(name, std::move(folders));
  if (path.empty()) skip(package);
  return path;
}

struct User {
  uid_t uid;
  gid_t gid;
};
// Returns the user for servers, which refuse to run as root.
inline User server_user() {
  if (::getuid() != 0) return {::getuid(), ::getgid()};
  const passwd* nobody = ::getpwnam("nobody");
  if (nobody == nullptr) throw std::runtime_error("there is no user 'nobody'");
  return {nobody->pw_uid, nobody->pw_gid};
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/fiber-test-XXXXXX";  // short: the paths of Unix sockets are
    if (::mkdtemp(name) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
    temporary_directories().insert(path_);
    give(path_);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    temporary_directories().erase(path_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // Lets the server's user write there.
  static void give(const std::string& path) {
    const User user = server_user();
    if (::chown(path.c_str(), user.uid, user.gid) != 0 && ::getuid() == 0)
      throw std::system_error(errno, std::generic_category(), path);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name) << text;
    give(*this / name);
  }

 private:
  std::string path_;
};

// Returns a port of 127.0.0.1 that is free at this moment.
inline int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::system_error(errno, std::generic_category(), "no free port");
  ::close(fd);
  return ntohs(address.sin_port);
}

// A program that runs in the background, its output in a file.
class Process {
 public:
  Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { kill(); }

  void start(const std::vector<std::string>& command, const std::string& log,
             const User& user = server_user()) {
    std::vector<char*> arguments;
    for (const std::string& argument : command)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const std::string directory = std::filesystem::path(log).parent_path();
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ != 0) {
      ::setpgid(pid_, pid_);
      return;
    }
    ::setpgid(0, 0);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    if (::chdir(directory.c_str()) != 0) ::_exit(126);
    if (::getuid() == 0 &&
        (::setgroups(0, nullptr) != 0 || ::setgid(user.gid) != 0 || ::setuid(user.uid) != 0))
      ::_exit(126);
    ::setenv("HOME", directory.c_str(), 1);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // after setuid(), which resets it
    if (::getppid() != parent) ::_exit(126);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }

  bool running() {
    if (pid_ <= 0) return false;
    if (::waitpid(pid_, &status_, WNOHANG) != pid_) return true;
    pid_ = -1;
    return false;
  }
  int wait() {
    while (pid_ > 0 && ::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status_;
  }
  // As a crash does.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    wait();
  }
  void stop(int signal) {
    if (pid_ <= 0) return;
    ::kill(pid_, signal);
    for (int i = 0; i < 1000 && running(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    kill();
  }

 private:
  pid_t pid_ = -1;
  int status_ = 0;
};

inline std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs a program to its end; throws with its output if it fails.
inline void run_program(const std::vector<std::string>& command, const std::string& log) {
  Process process;
  process.start(command, log);
  if (process.wait() != 0) throw std::runtime_error(command[0] + " failed:\n" + text_of(log));
}

// A server: `command`, run in a directory of its own, is up when `ready()` is true.
class Server {
 public:
  Server() = default;
  virtual ~Server() { process_.stop(stop_signal_); }

  int port() const { return port_; }
  const std::string& directory() const { return directory_.path(); }
  // As a crash does.
  void kill() { process_.kill(); }
  void start() {
    process_.start(command_, directory_ / "log", user_);
    for (int i = 0; i < 6000; ++i) {
      if (!process_.running()) break;
      if (ready()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw std::runtime_error(command_[0] + " does not start:\n" + text_of(directory_ / "log"));
  }

 protected:
  virtual bool ready() { return answers(port_); }
  static bool answers(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<in_port_t>(port));
    const bool connected =
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return connected;
  }

  TemporaryDirectory directory_;
  int port_ = free_port();
  std::vector<std::string> command_;
  int stop_signal_ = SIGTERM;
  User user_ = server_user();

 private:
  Process process_;
};

}  // namespace legacy_test
