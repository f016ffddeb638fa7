// libmariadb, unmodified, against MariaDB.
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>

#include <memory>

using namespace legacy_test;

namespace {

class MariaDb : public Server {
 public:
  MariaDb() {
    const std::string install = need_program("mariadb-install-db", "mariadb-server");
    const std::string program = need_program("mariadbd", "mariadb-server");
    run_program({install, "--no-defaults", "--datadir=" + (directory_ / "data"),
                 "--auth-root-authentication-method=normal", "--skip-test-db"},
                directory_ / "log");
    command_ = {program,
                "--no-defaults",
                "--datadir=" + (directory_ / "data"),
                "--socket=" + (directory_ / "socket"),
                "--pid-file=" + (directory_ / "pid"),
                "--bind-address=127.0.0.1",
                "--port=" + std::to_string(port_),
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--skip-log-bin"};
    start();
  }
};

MariaDb& server() {
  static MariaDb mariadb;
  return mariadb;
}

struct Connection {
  explicit Connection(unsigned read_limit = 0, int port = server().port()) {
    mysql_init(&mysql);
    if (read_limit != 0) mysql_options(&mysql, MYSQL_OPT_READ_TIMEOUT, &read_limit);
    mysql_real_connect(&mysql, "127.0.0.1", "root", "", nullptr, static_cast<unsigned>(port),
                       nullptr, 0);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { mysql_close(&mysql); }
  // Returns the first field of the first row, or the error.
  std::string query(const std::string& text) {
    if (mysql_query(&mysql, text.c_str()) != 0) return error();
    const std::unique_ptr<MYSQL_RES, void (*)(MYSQL_RES*)> result(mysql_store_result(&mysql),
                                                                  mysql_free_result);
    if (result == nullptr) return error();
    const MYSQL_ROW row = mysql_fetch_row(result.get());
    return row != nullptr && row[0] != nullptr ? row[0] : "nothing";
  }
  std::string error() { return std::to_string(mysql_errno(&mysql)) + ": " + mysql_error(&mysql); }
  unsigned number() { return mysql_errno(&mysql); }
  MYSQL mysql;
};

}  // namespace

TEST_CASE("libmariadb: what is asked of every client") {
  try_out({.library = "libmariadb",
           .version = mysql_get_client_info(),
           .function = "mysql_init",
           .server = "MariaDB",
           .port = server().port(),
           .call =
               [](int port) {
                 Connection connection(0, port);
                 if (connection.number() != 0) throw Failure(connection.error());
                 std::string answer = connection.query("SELECT 'hello'");
                 if (connection.number() != 0) throw Failure(connection.error());
                 return answer;
               },
           .answer = "hello"});
}

TEST_CASE("100 queries that sleep take the time of one, in one thread") {
  server();
  const PatchedLibrary patched("mysql_init");
  asyncio::run([] {
    std::vector<std::unique_ptr<Connection>> connections(100);
    at_once("libmariadb", "mysql_real_connect", 100, [&](int i) {
      auto& connection = connections[static_cast<std::size_t>(i)];
      connection = std::make_unique<Connection>();
      CHECK(connection->error() == "0: ");
    });
    const double took = at_once("libmariadb", "SELECT SLEEP(0.2)", 100, [&](int i) {
      CHECK(connections[static_cast<std::size_t>(i)]->query("SELECT SLEEP(0.2)") == "0");
    });
    CHECK(took >= 0.2);
    CHECK(took < 10);  // one after another they take 20 s
  });
}

TEST_CASE("a query that fails, a time limit of the library, a cancelled task") {
  server();
  const PatchedLibrary patched("mysql_init");
  asyncio::run([] {
    Connection connection(1);
    connection.query("SELECT nonsense FROM nowhere");
    CHECK(connection.number() == ER_NO_DB_ERROR);
    CHECK(connection.query("SELECT 42") == "42");
    connection.query("SELECT SLEEP(100)");
    CHECK(connection.number() == CR_SERVER_LOST);

    unsigned error = 0;
    int waiting = 0;
    const auto task = asyncio::create_task([&] {
      Connection other;
      ++waiting;
      other.query("SELECT SLEEP(100)");
      error = other.number();
    });
    until(waiting);
    CHECK(cancel(task));
    CHECK(error == CR_SERVER_LOST);
  });
}

TEST_CASE("a server that is killed in the middle gives the library's error") {
  server();
  const PatchedLibrary patched("mysql_init");
  asyncio::run([] {
    int waiting = 0;
    const auto task = asyncio::create_task([&] {
      Connection connection;
      ++waiting;
      connection.query("SELECT SLEEP(100)");
      return connection.number();
    });
    until(waiting);
    server().kill();
    CHECK(await(task) == CR_SERVER_LOST);
    Connection refused;
    CHECK((refused.number() == CR_CONNECTION_ERROR || refused.number() == CR_CONN_HOST_ERROR));
  });
  mysql_library_end();
}
