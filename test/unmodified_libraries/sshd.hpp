// An OpenSSH server for tests, which lets its own user in by a key.
#pragma once

#include <pwd.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "unmodified_libraries/servers.hpp"

namespace legacy_test {

class Sshd : public Server {
 public:
  Sshd() {
    const std::string program = need_program("sshd", "openssh-server");
    const std::string keygen = need_program("ssh-keygen", "openssh-client");
    // As root it wants this to exist, and has to stay root to let anybody in.
    if (::getuid() == 0) ::mkdir("/run/sshd", 0755);
    user_ = {::getuid(), ::getgid()};
    for (const char* name : {"host_key", "key"})
      run_program({keygen, "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", directory_ / name},
                  directory_ / "log");
    for (const char* name : {"host_key", "key"})
      if (::chown((directory_ / name).c_str(), user_.uid, user_.gid) != 0)
        throw std::system_error(errno, std::generic_category(), "chown");
    directory_.write("conf", "Port " + std::to_string(port_) +
                                 "\nListenAddress 127.0.0.1\nHostKey " + (directory_ / "host_key") +
                                 "\nAuthorizedKeysFile " + (directory_ / "key.pub") +
                                 "\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin "
                                 "yes\nPrintLastLog no\nMaxStartups 500\nSubsystem sftp "
                                 "internal-sftp\n");
    command_ = {program, "-D", "-e", "-f", directory_ / "conf"};
    start();
  }
  std::string key() const { return directory_ / "key"; }
  static std::string user() { return ::getpwuid(::getuid())->pw_name; }
};

}  // namespace legacy_test
