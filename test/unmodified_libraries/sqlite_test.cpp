// SQLite, unmodified: connections that wait for each other's locks, and tasks that share one.
#include <sqlite3.h>

#include <memory>

#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

struct Database {
  explicit Database(const std::string& path, int patience_ms = 60'000) {
    REQUIRE(sqlite3_open_v2(path.c_str(), &handle,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                            nullptr) == SQLITE_OK);
    sqlite3_busy_timeout(handle, patience_ms);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() { sqlite3_close(handle); }
  std::string run(const char* text) const {
    return sqlite3_exec(handle, text, nullptr, nullptr, nullptr) == SQLITE_OK
               ? "done"
               : sqlite3_errmsg(handle);
  }
  // Returns the first value that the query gives, as text.
  std::string value(const char* query) const {
    std::string first;
    const auto take = [](void* to, int, char** values, char**) {
      *static_cast<std::string*>(to) = values[0] != nullptr ? values[0] : "";
      return 1;
    };
    sqlite3_exec(handle, query, take, &first, nullptr);
    return first;
  }
  sqlite3* handle = nullptr;
};

double seconds_of(const std::vector<asyncio::Task<void>>& tasks) {
  const auto start = std::chrono::steady_clock::now();
  await(asyncio::gather(tasks));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("SQLite: connections that wait for a lock let others run, and have time limits") {
  const TemporaryDirectory directory;
  const std::string path = directory / "data";
  const PatchedLibrary patched("sqlite3_open_v2");
  Row row{.library = std::string("SQLite ") + sqlite3_libversion(),
          .server = "its lock on a file",
          .at_once = 20,
          .one = 0,
          .all = 0,
          .error = {},
          .cut_short = {},
          .policy = "error"};
  asyncio::run([&] {
    const Database holder(path);
    CHECK(holder.run("CREATE TABLE t(a)") == "done");
    const auto insert_while_locked = [&](int count) {
      CHECK(holder.run("BEGIN IMMEDIATE") == "done");
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < count; ++i)
        tasks.push_back(asyncio::create_task([&] {
          const Database its(path);
          CHECK(its.run("INSERT INTO t VALUES(1)") == "done");
        }));
      tasks.push_back(asyncio::create_task([&] {
        await(asyncio::sleep(300ms));
        CHECK(holder.run("COMMIT") == "done");
      }));
      return seconds_of(tasks);
    };
    row.one = insert_while_locked(1);
    row.all = insert_while_locked(row.at_once);

    CHECK(holder.run("BEGIN IMMEDIATE") == "done");
    row.error = Database(path, 0).run("INSERT INTO t VALUES(1)");
    CHECK(row.error == "database is locked");
    const auto wait_in_vain = [&] {
      return row.cut_short = Database(path, 2000).run("INSERT INTO t VALUES(1)");
    };
    CHECK_THROWS_AS(await(asyncio::wait_for(wait_in_vain, 50ms)), asyncio::TimeoutError);
    const auto task = asyncio::create_task(wait_in_vain);
    await(asyncio::sleep(20ms));
    CHECK(cancel(task));
    CHECK(row.cut_short == "database is locked");
    CHECK(holder.run("COMMIT") == "done");
  });
  print(row);
}

TEST_CASE("SQLite: ten connections write to one file, some are cancelled, and the file is whole") {
  for (const std::string journal : {"DELETE", "WAL"}) {
    CAPTURE(journal);
    const TemporaryDirectory directory;
    const std::string path = directory / "data";
    const PatchedLibrary patched("sqlite3_open_v2");
    int committed = 0, turns = 0;
    asyncio::run([&] {
      const Database database(path);
      CHECK(database.value(("PRAGMA journal_mode = " + journal).c_str()) ==
            (journal == "WAL" ? "wal" : "delete"));
      CHECK(database.run("CREATE TABLE t(a, b)") == "done");
      const auto ticker = asyncio::create_task([&] {
        for (;; ++turns) await(asyncio::sleep(0));
      });
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < 10; ++i)
        tasks.push_back(asyncio::create_task([&] {
          const Database its(path);
          CHECK(its.run("PRAGMA synchronous = FULL") == "done");
          for (int k = 0; k < 5; ++k) {
            // Two rows, or none.
            const std::string said = its.run(
                "BEGIN IMMEDIATE; INSERT INTO t VALUES(1, randomblob(9000));"
                "INSERT INTO t VALUES(2, randomblob(9000)); COMMIT");
            if (said == "done") ++committed;
            if (said != "done") its.run("ROLLBACK");
          }
        }));
      for (const int i : {1, 4, 7}) {
        await(asyncio::sleep(3ms));
        tasks[static_cast<std::size_t>(i)].cancel();
      }
      await(asyncio::wait(tasks));
      CHECK(turns > committed);  // while the disk was waited for
      ticker.cancel();
      CHECK(committed >= 7 * 5);
      CHECK(database.value("PRAGMA integrity_check") == "ok");
      const int rows = std::stoi(database.value("SELECT count(*) FROM t"));
      CHECK(rows == 2 * committed);
      CHECK(database.value("SELECT count(*) FROM t WHERE a = 1") == std::to_string(committed));
      CHECK(database.run("INSERT INTO t VALUES(3, 3)") == "done");  // nobody holds a lock
    });
  }
}

TEST_CASE("SQLite: a connection that tasks share lets one in at a time") {
  static int inside = 0, most = 0;
  monkey::patch_all();  // what the function below calls, too
  asyncio::run([] {
    const Database database(":memory:");
    CHECK(database.run("CREATE TABLE t(a)") == "done");
    const auto slow = [](sqlite3_context* context, int, sqlite3_value**) {
      most = std::max(most, ++inside);
      await(asyncio::sleep(5ms));
      --inside;
      sqlite3_result_int(context, 1);
    };
    sqlite3_create_function(database.handle, "slow", 0, SQLITE_UTF8, nullptr, slow, nullptr,
                            nullptr);
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        CHECK(database.run(i % 2 == 0 ? "SELECT slow(), slow()" : "INSERT INTO t VALUES(slow())") ==
              "done");
      }));
    await(asyncio::gather(tasks));
  });
  monkey::unpatch();
  CHECK(most == 1);
}
