// libpq_together: the report with all its queries at one time, in one thread.
#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>
#include <libpq-fe.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/postgres.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

constexpr int kShops = 10;

long turnover(const char* address, int shop) {
  PGconn* connection = PQconnectdb(address);
  const std::string number = std::to_string(shop);
  const char* values[] = {number.c_str()};
  PGresult* result =
      PQexecParams(connection, "SELECT sum(n), pg_sleep(0.2) FROM generate_series(1, $1::int) n", 1,
                   nullptr, values, nullptr, nullptr, 0);
  const bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
  const std::string answer = good ? PQgetvalue(result, 0, 0) : PQerrorMessage(connection);
  PQclear(result);
  PQfinish(connection);
  if (!good) throw std::runtime_error(answer);
  return std::stol(answer);
}

void report(const char* address) {
  std::vector<asyncio::Task<long>> tasks;
  for (int shop = 1; shop <= kShops; ++shop)
    tasks.push_back(asyncio::create_task([=] { return turnover(address, shop); }));
  int shop = 0;
  for (const long sum : await(asyncio::gather(tasks)))
    std::cout << "shop " << ++shop << ": " << sum << std::endl;
}

int main(int argc, char** argv) {
  return with_postgres(argc, argv, [](const Postgres& server) {
    const auto start = std::chrono::steady_clock::now();
    monkey::patch_library("libpq.so.5");
    asyncio::run([&] { report(server.address()); });
    const auto took = std::chrono::steady_clock::now() - start;
    std::cout << "one after another: " << (took > kShops * 200ms ? "yes" : "no") << std::endl;
  });
}
