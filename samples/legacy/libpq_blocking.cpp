// libpq_blocking: a report of the old kind, one query after another.
#include <libpq-fe.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

#include "support/postgres.hpp"

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
    report(server.address());
    const auto took = std::chrono::steady_clock::now() - start;
    std::cout << "one after another: "
              << (took > kShops * std::chrono::milliseconds(200) ? "yes" : "no") << std::endl;
  });
}
