// The PostgreSQL of the samples: the address on the command line ("host=... user=..."), or a server
// of their own in a temporary directory.
//
// A child process keeps that server. It ends the server and removes the directory when the program
// has ended, in whichever way: its end of a pipe is closed then.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// The part of the child process.
class PostgresKeeper {
 public:
  PostgresKeeper(std::string directory, std::string programs)
      : directory_(std::move(directory)), programs_(std::move(programs)) {}

  // Throws std::runtime_error.
  void start() {
    if (::getuid() == 0) {  // PostgreSQL refuses root
      const passwd* nobody = ::getpwnam("nobody");
      if (nobody == nullptr) throw std::runtime_error("PostgreSQL needs a user who is not root");
      user_ = nobody->pw_uid;
      group_ = nobody->pw_gid;
      if (::chown(directory_.c_str(), user_, group_) != 0)
        throw std::runtime_error(directory_ + ": " + std::strerror(errno));
    }
    const std::string data = directory_ + "/data";
    if (wait_for(
            start({"initdb", "-D", data, "-A", "trust", "-U", "fiber", "-N", "--no-locale"})) != 0)
      throw std::runtime_error("initdb has failed; is there room in /tmp?\n" + log());
    server_ = start({"postgres", "-D", data, "-k", directory_, "-h", "", "-F"});
    constexpr int kTries = 1200;  // a minute, and more on a busy machine
    for (int tries = 0; wait_for(start({"pg_isready", "-q", "-h", directory_})) != 0; ++tries) {
      if (tries == kTries || ::waitpid(server_, nullptr, WNOHANG) != 0)
        throw std::runtime_error("PostgreSQL does not start:\n" + log());
      ::usleep(50'000);
    }
  }
  void stop() const {
    if (server_ > 0 && ::kill(server_, SIGINT) == 0) wait_for(server_);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

 private:
  pid_t start(std::vector<std::string> command) const {
    command[0] = programs_ + "/" + command[0];
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (std::freopen((directory_ + "/log").c_str(), "a", stdout) == nullptr ||
        ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || ::chdir(directory_.c_str()) != 0)
      ::_exit(126);
    if (::getuid() == 0 &&
        (::setgroups(0, nullptr) != 0 || ::setgid(group_) != 0 || ::setuid(user_) != 0))
      ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGINT);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  static int wait_for(pid_t child) {
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
  }
  std::string log() const {
    std::ifstream file(directory_ + "/log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string directory_;
  std::string programs_;
  uid_t user_ = 0;
  gid_t group_ = 0;
  pid_t server_ = -1;
};

class Postgres {
 public:
  // Throws std::runtime_error.
  Postgres(int argc, char** argv) {
    if (argc > 1) {
      address_ = argv[1];
      check();
      return;
    }
    const std::string programs = find_programs();
    if (programs.empty()) {
      std::puts("PostgreSQL is not installed here; give the address of one as an argument");
      std::exit(0);
    }
    start(programs);
  }
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;
  ~Postgres() { stop(); }
  const char* address() const { return address_.c_str(); }

 private:
  static std::string find_programs() {
    const std::filesystem::path versions = "/usr/lib/postgresql";
    if (std::filesystem::exists(versions))
      for (const auto& version : std::filesystem::directory_iterator(versions))
        if (std::filesystem::exists(version.path() / "bin/initdb")) return version.path() / "bin";
    return std::filesystem::exists("/usr/bin/initdb") ? "/usr/bin" : "";
  }

  // A wrong address shows here.
  void check() const {
    PGconn* connection = PQconnectdb(address());
    const bool good = PQstatus(connection) == CONNECTION_OK;
    const std::string error = PQerrorMessage(connection);
    PQfinish(connection);
    if (!good) throw std::runtime_error(error.substr(0, error.find_last_not_of('\n') + 1));
  }

  void start(const std::string& programs) {
    int alive[2];  // closed when this program has ended
    int news[2];   // "ready", or what was wrong
    if (::pipe2(alive, O_CLOEXEC) != 0 || ::pipe2(news, O_CLOEXEC) != 0)
      throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
    keeper_ = ::fork();
    if (keeper_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    if (keeper_ == 0) {
      ::setpgid(0, 0);  // Ctrl-C is for the program
      ::close(alive[1]);
      keep(programs, alive[0], news[1]);
      ::_exit(0);
    }
    ::close(alive[0]);
    ::close(news[1]);
    alive_ = alive[1];
    std::string text;
    char buffer[512];
    for (ssize_t count; (count = ::read(news[0], buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(count));
    ::close(news[0]);
    if (!text.starts_with("host=")) {
      stop();
      throw std::runtime_error(text);
    }
    address_ = text;
  }
  void stop() {
    if (keeper_ < 0) return;
    ::close(alive_);
    ::waitpid(keeper_, nullptr, 0);
  }

  // In the child process.
  static void keep(const std::string& programs, int alive, int news) {
    const auto tell = [news](const std::string& text) {
      (void)!::write(news, text.data(), text.size());
      ::close(news);
    };
    ::signal(SIGPIPE, SIG_IGN);  // the program may have ended meanwhile
    std::string directory = "/tmp/fiber-postgres-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr)
      return tell(directory + ": " + std::strerror(errno));
    PostgresKeeper keeper(directory, programs);
    try {
      keeper.start();
      tell("host=" + directory + " user=fiber dbname=postgres");
    } catch (const std::exception& error) {
      tell(error.what());
    }
    char none = 0;
    while (::read(alive, &none, 1) < 0 && errno == EINTR) {
    }
    keeper.stop();
  }

  std::string address_;
  pid_t keeper_ = -1;
  int alive_ = -1;
};

// The main function of a program: `body` gets the server. Returns the status.
template <class Body>
int with_postgres(int argc, char** argv, Body body) {
  try {
    const Postgres server(argc, argv);
    body(server);
    if (!std::cout.flush()) throw std::runtime_error("the output could not be written");
    return 0;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return 1;
  }
}
