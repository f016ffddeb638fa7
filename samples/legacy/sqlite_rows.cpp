// sqlite_rows: the rows that sqlite3_exec hands to a callback become a loop, and two queries a
// join.
//
// A callback sees one query's row at a time, so it cannot go through two queries in step with each
// other. Here each query has a stack of its own. Leaving a loop early ends its query.
#include <fiber/generator.hpp>
#include <sqlite3.h>

#include <memory>
#include <string>
#include <vector>

#include "../tutorial/support/print.hpp"
#include "support/callback_border.hpp"

using Row = std::vector<std::string>;
using Rows = fiber::Generator<Row>;
using Database = std::unique_ptr<sqlite3, int (*)(sqlite3*)>;

Rows rows(sqlite3* database, std::string sql) {
  return [=](Rows::Self& self) {
    struct Query {
      Rows::Self& self;
      CallbackBorder border;
    } query{self, {}};
    const int status = sqlite3_exec(
        database, sql.c_str(),
        [](void* to, int count, char** values, char**) {
          auto* its = static_cast<Query*>(to);
          const bool more = its->border.pass([&] {
            Row row;
            for (int i = 0; i < count; ++i) row.emplace_back(values[i] != nullptr ? values[i] : "");
            its->self.yield(std::move(row));
          });
          return more ? 0 : 1;  // 1: SQLITE_ABORT
        },
        &query, nullptr);
    query.border.rethrow();
    if (status != SQLITE_OK) throw fiber::RuntimeError(sqlite3_errmsg(database));
  };
}

int main() {
  sqlite3* opened = nullptr;
  // One thread uses the connection, so it needs no mutex: one stack would hold it while another
  // runs.
  sqlite3_open_v2(":memory:", &opened,
                  SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  const Database database(opened, sqlite3_close);
  sqlite3* db = database.get();

  for (const char* sql :
       {"create table people (id integer, name text)",
        "create table orders (person integer, item text)",
        "insert into people values (1, 'Ada'), (2, 'Bob'), (3, 'Cleo')",
        "insert into orders values (1, 'bread'), (1, 'jam'), (3, 'tea'), (4, 'lost')"})
    for (const Row& row : rows(db, sql)) print(row);  // none

  // A merge join: the two queries advance in turn.
  const Rows orders = rows(db, "select person, item from orders order by person");
  Row order = orders.next();
  for (const Row& person : rows(db, "select id, name from people order by id")) {
    std::vector<std::string> items;
    for (; order[0] == person[0]; order = orders.next()) items.push_back(order[1]);
    print(person[1], items);
  }
  print("the next order is", order[1], "of", order[0]);

  for (const Row& row : rows(db, "select name from people")) {
    print("first", row[0]);
    break;
  }
  try {
    for (const Row& row : rows(db, "select id from nowhere")) print(row);
  } catch (const fiber::RuntimeError& error) {
    print("RuntimeError:", error.what());
  }
}
