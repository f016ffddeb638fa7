// libpq, unmodified, against PostgreSQL.
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/postgres.hpp"
#include "unmodified_libraries/trial.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <memory>

using namespace legacy_test;

namespace {

Postgres& server() {
  static Postgres postgres;
  return postgres;
}

struct Connection {
  explicit Connection(const std::string& address) : pg(PQconnectdb(address.c_str())) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { PQfinish(pg); }
  PGconn* pg;
  bool good() const { return PQstatus(pg) == CONNECTION_OK; }
  std::string error() const { return PQerrorMessage(pg); }
};

using Result = std::unique_ptr<PGresult, void (*)(PGresult*)>;
Result query(const Connection& connection, const char* text) {
  return {PQexec(connection.pg, text), PQclear};
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("libpq: what is asked of every client") {
  const int version = PQlibVersion();
  try_out({.library = "libpq",
           .version = std::to_string(version / 10000) + "." + std::to_string(version % 10000),
           .function = "PQexec",
           .server = "PostgreSQL",
           .port = server().port(),
           .call = [](int port) -> std::string {
             const Connection connection("host=127.0.0.1 user=fiber dbname=postgres port=" +
                                         std::to_string(port));
             if (!connection.good()) throw Failure(connection.error());
             const Result result = query(connection, "SELECT 'hello'");
             if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) throw Failure(connection.error());
             return PQgetvalue(result.get(), 0, 0);
           },
           .answer = "hello"});
}

TEST_CASE("100 queries that sleep take the time of one, in one thread") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    std::vector<std::unique_ptr<Connection>> connections(100);
    at_once("libpq", "PQconnectdb", 100, [&](int i) {
      auto& connection = connections[static_cast<std::size_t>(i)];
      connection = std::make_unique<Connection>(server().address());
      CHECK(connection->good());
    });
    const double took = at_once("libpq", "SELECT pg_sleep(0.2)", 100, [&](int i) {
      const Result result =
          query(*connections[static_cast<std::size_t>(i)], "SELECT pg_sleep(0.2), 6 * 7");
      REQUIRE(PQresultStatus(result.get()) == PGRES_TUPLES_OK);
      CHECK(std::string(PQgetvalue(result.get(), 0, 1)) == "42");
    });
    CHECK(took >= 0.2);
    CHECK(took < 10);  // one after another they take 20 s
  });
}

TEST_CASE("results of several megabytes arrive whole, over a Unix socket too") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    at_once("libpq", "2 MB each way", 10, [](int i) {
      const Connection connection(i % 2 == 0 ? server().address()
                                             : "host=" + server().directory() +
                                                   " port=" + std::to_string(server().port()) +
                                                   " user=fiber dbname=postgres");
      REQUIRE(connection.good());
      const std::string text(2'000'000, static_cast<char>('a' + i));
      const char* values[] = {text.c_str()};
      const Result result(PQexecParams(connection.pg, "SELECT $1::text || 'x'", 1, nullptr, values,
                                       nullptr, nullptr, 0),
                          PQclear);
      REQUIRE(PQresultStatus(result.get()) == PGRES_TUPLES_OK);
      CHECK(PQgetvalue(result.get(), 0, 0) == text + "x");
    });
  });
}

TEST_CASE("a query that fails gives PostgreSQL's error, and the connection goes on") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    const Connection connection(server().address());
    const Result failed = query(connection, "SELECT 1 / 0");
    CHECK(PQresultStatus(failed.get()) == PGRES_FATAL_ERROR);
    CHECK(std::string(PQresultErrorField(failed.get(), PG_DIAG_SQLSTATE)) == "22012");
    const Result fine = query(connection, "SELECT 1");
    CHECK(PQresultStatus(fine.get()) == PGRES_TUPLES_OK);
  });
}

TEST_CASE("time limits of the server and of libpq") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    const Connection connection(server().address("options='-c statement_timeout=50'"));
    const Result late = query(connection, "SELECT pg_sleep(100)");
    CHECK(std::string(PQresultErrorField(late.get(), PG_DIAG_SQLSTATE)) == "57014");

    // A server that accepts connections and sends nothing.
    const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::listen(silent, 8) == 0);
    const int port = asyncio::SocketAddress::of_socket(silent).port();
    int turns = 0;
    const auto other = asyncio::create_task([&] {
      for (;; ++turns) await(asyncio::sleep(10ms));
    });
    const Connection refused("host=127.0.0.1 user=fiber connect_timeout=2 port=" +
                             std::to_string(port));
    CHECK(!refused.good());
    CHECK(contains(refused.error(), "timeout expired"));
    CHECK(turns > 1);
    other.cancel();
    ::close(silent);
  });
}

TEST_CASE("a cancelled task gets libpq's error, then its CancelledError") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    std::string error;
    bool told = false;
    int waiting = 0;
    const auto task = asyncio::create_task([&] {
      const Connection connection(server().address());
      ++waiting;
      const Result result = query(connection, "SELECT pg_sleep(100)");
      CHECK(PQresultStatus(result.get()) == PGRES_FATAL_ERROR);
      error = connection.error();
      try {
        await(asyncio::sleep(0));
      } catch (const asyncio::CancelledError&) {
        told = true;
        throw;
      }
    });
    until(waiting);
    CHECK(cancel(task));
    CHECK(contains(error, "Operation canceled"));
    CHECK(told);
    // The task is cancelled while it connects.
    const auto connecting =
        asyncio::create_task([&] { CHECK(!Connection(server().address()).good()); });
    await(asyncio::sleep(0));
    CHECK(cancel(connecting));
    CHECK_THROWS_AS(await(asyncio::wait_for(
                        [&] {
                          const Connection connection(server().address());
                          query(connection, "SELECT pg_sleep(100)");
                          await(asyncio::sleep(0));
                        },
                        100ms)),
                    const fiber::TimeoutError&);
  });
}

TEST_CASE("a server that is killed in the middle gives libpq's error") {
  server();
  const PatchedLibrary patched("PQexec");
  asyncio::run([] {
    int waiting = 0;
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < 5; ++i)
      tasks.push_back(asyncio::create_task([&] {
        const Connection connection(server().address());
        ++waiting;
        const Result result = query(connection, "SELECT pg_sleep(100)");
        CHECK(PQresultStatus(result.get()) == PGRES_FATAL_ERROR);
        CHECK(!connection.good());
        return connection.error();
      }));
    until(waiting, 5);
    server().kill();
    for (const std::string& error : await(asyncio::gather(tasks)))
      CHECK(contains(error, "server closed the connection unexpectedly"));
    const Connection refused(server().address());
    CHECK(!refused.good());
    CHECK(contains(refused.error(), "refused"));
  });
}
