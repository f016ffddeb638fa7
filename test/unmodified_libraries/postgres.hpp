// A PostgreSQL for tests.
#pragma once

#include <libpq-fe.h>

#include <string>
#include <vector>

#include "support/programs.hpp"
#include "unmodified_libraries/servers.hpp"

namespace legacy_test {

class Postgres : public Server {
 public:
  Postgres() {
    const std::vector<std::string> folders = support::postgresql_folders();
    const std::string initdb = need_program("initdb", "postgresql", folders);
    run_program({initdb, "-D", directory_ / "data", "-A", "trust", "-U", "fiber", "-N", "-E",
                 "UTF8", "--no-locale"},
                directory_ / "log");
    command_ = {need_program("postgres", "postgresql", folders),
                "-D",
                directory_ / "data",
                "-k",
                directory_.path(),
                "-h",
                "127.0.0.1",
                "-p",
                std::to_string(port_),
                "-c",
                "max_connections=120",
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=4MB"};
    stop_signal_ = SIGINT;
    start();
  }
  std::string address(const std::string& more = "") const {
    return "host=127.0.0.1 port=" + std::to_string(port()) + " user=fiber dbname=postgres " + more;
  }

 protected:
  bool ready() override { return PQping(address().c_str()) == PQPING_OK; }
};

}  // namespace legacy_test
