// libpq_in_a_loop: the report in an event loop, in which other tasks run while it waits.
#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>
#include <libpq-fe.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

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
  for (int shop = 1; shop <= kShops; ++shop)
    std::cout << "shop " << shop << ": " << turnover(address, shop) << std::endl;
}

int main(int argc, char** argv) {
  return with_postgres(argc, argv, [](const Postgres& server) {
    const auto start = std::chrono::steady_clock::now();
    monkey::patch_library("libpq.so.5");
    bool others_ran = false;
    asyncio::run([&] {
      const auto other = asyncio::create_task([&] {
        await(asyncio::sleep(300ms));
        others_ran = true;
      });
      report(server.address());
    });
    const auto took = std::chrono::steady_clock::now() - start;
    std::cout << "one after another: " << (took > kShops * 200ms ? "yes" : "no") << std::endl;
    std::cout << "others ran meanwhile: " << (others_ran ? "yes" : "no") << std::endl;
  });
}
