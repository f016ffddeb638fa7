// The PostgreSQL of the samples: the address on the command line ("host=... user=..."), or a server
// of their own in a temporary directory, which ends with the program.
#pragma once

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

class Postgres {
 public:
  Postgres(int argc, char** argv) {
    if (argc > 1) {
      address_ = argv[1];
      return;
    }
    const std::string programs = find_programs();
    if (programs.empty()) {
      std::puts("PostgreSQL is not installed here; give the address of one as an argument");
      std::exit(0);
    }
    char name[] = "/tmp/fiber-postgres-XXXXXX";
    directory_ = ::mkdtemp(name);
    if (::getuid() == 0)  // PostgreSQL refuses root
      (void)!::chown(name, ::getpwnam("nobody")->pw_uid, ::getpwnam("nobody")->pw_gid);
    wait_for(start({programs + "/initdb", "-D", directory_ + "/data", "-A", "trust", "-U", "fiber",
                    "-N", "--no-locale"}));
    server_ = start(
        {programs + "/postgres", "-D", directory_ + "/data", "-k", directory_, "-h", "", "-F"});
    address_ = "host=" + directory_ + " user=fiber dbname=postgres";
    while (::access((directory_ + "/.s.PGSQL.5432").c_str(), F_OK) != 0) ::usleep(10'000);
    while (wait_for(start({programs + "/pg_isready", "-q", "-h", directory_})) != 0)
      ::usleep(10'000);
  }
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;
  ~Postgres() {
    if (directory_.empty()) return;
    ::kill(server_, SIGINT);
    wait_for(server_);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  const char* address() const { return address_.c_str(); }

 private:
  static std::string find_programs() {
    const std::filesystem::path versions = "/usr/lib/postgresql";
    if (std::filesystem::exists(versions))
      for (const auto& version : std::filesystem::directory_iterator(versions))
        if (std::filesystem::exists(version.path() / "bin/initdb")) return version.path() / "bin";
    return std::filesystem::exists("/usr/bin/initdb") ? "/usr/bin" : "";
  }

  pid_t start(const std::vector<std::string>& command) const {
    std::vector<char*> arguments;
    for (const std::string& argument : command)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const passwd* nobody = ::getpwnam("nobody");
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (std::freopen((directory_ + "/log").c_str(), "a", stdout) == nullptr ||
        ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || ::chdir(directory_.c_str()) != 0)
      ::_exit(126);
    if (::getuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(nobody->pw_gid) != 0 ||
                            ::setuid(nobody->pw_uid) != 0))
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

  std::string directory_;
  std::string address_;
  pid_t server_ = -1;
};
