// LMDB, unmodified: a read transaction belongs to a thread, so that tasks that read at one time
// need own_thread_state.
#include <fiber/core/own_thread.hpp>

#include <lmdb.h>

#include <cstring>
#include <string>

#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/servers.hpp"

using namespace legacy_test;

namespace {

class Environment {
 public:
  Environment() {
    REQUIRE(mdb_env_create(&environment_) == 0);
    REQUIRE(mdb_env_open(environment_, directory_.path().c_str(), 0, 0600) == 0);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { mdb_env_close(environment_); }

  // Begins a transaction, and returns the error code; after an error the transaction is null.
  int begin(MDB_txn** transaction, unsigned flags) {
    *transaction = nullptr;
    return mdb_txn_begin(environment_, nullptr, flags, transaction);
  }
  int readers() const {
    MDB_envinfo info;
    mdb_env_info(environment_, &info);
    return static_cast<int>(info.me_numreaders);
  }

 private:
  TemporaryDirectory directory_;
  MDB_env* environment_ = nullptr;
};

MDB_val value_of(const char* text) { return {std::strlen(text), const_cast<char*>(text)}; }

std::string read(MDB_txn* transaction, MDB_dbi database, const char* name) {
  MDB_val key = value_of(name);
  MDB_val value;
  const int error = mdb_get(transaction, database, &key, &value);
  return error == 0 ? std::string(static_cast<const char*>(value.mv_data), value.mv_size)
                    : mdb_strerror(error);
}

void write(Environment& environment, MDB_dbi& database, const char* text) {
  MDB_txn* transaction;
  REQUIRE(environment.begin(&transaction, 0) == 0);
  REQUIRE(mdb_dbi_open(transaction, nullptr, 0, &database) == 0);
  MDB_val key = value_of("key");
  MDB_val value = value_of(text);
  REQUIRE(mdb_put(transaction, database, &key, &value, 0) == 0);
  REQUIRE(mdb_txn_commit(transaction) == 0);
}

}  // namespace

TEST_CASE("read transactions of many tasks at once") {
  if (const char* why = fiber::core::OwnThread::why_not(true)) {
    MESSAGE("not tested: ", why);
    return;
  }
  Environment environment;
  MDB_dbi database = 0;
  write(environment, database, "old");
  asyncio::run([&] {
    int begun = 0;
    const auto reader = [&] {
      MDB_txn* transaction;
      if (const int error = environment.begin(&transaction, MDB_RDONLY))
        return std::string(mdb_strerror(error));
      const std::string first = read(transaction, database, "key");
      ++begun;
      while (begun < 11) await(asyncio::sleep(1ms));  // ten readers, and the writer
      const std::string second = read(transaction, database, "key");
      mdb_txn_abort(transaction);
      return first + " " + second;
    };
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(
          asyncio::create_task(reader, {.own_thread_state = true, .slow_thread_state = true}));
    while (begun < 10) await(asyncio::sleep(1ms));
    write(environment, database, "new");
    ++begun;
    for (const auto& task : tasks) CHECK(await(task) == "old old");
    CHECK(await(asyncio::create_task(
              [&] {
                MDB_txn* transaction;
                REQUIRE(environment.begin(&transaction, MDB_RDONLY) == 0);
                const std::string text = read(transaction, database, "key");
                mdb_txn_abort(transaction);
                return text;
              },
              {.own_thread_state = true, .slow_thread_state = true})) == "new");
  });
}
