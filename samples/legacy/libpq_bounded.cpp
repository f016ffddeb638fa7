// libpq_bounded: the report with limits of connections and of time, and a monitor.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/stall.hpp>
#include <fiber/monkey.hpp>
#include <libpq-fe.h>

#include <chrono>
#include <iostream>
#include <mutex>
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
  // Reports a task that keeps the others from running.
  const asyncio::StallMonitor monitor({.limit = 1s});
  asyncio::Semaphore connections(5);
  std::vector<asyncio::Task<long>> tasks;
  for (int shop = 0; shop <= kShops; ++shop)
    tasks.push_back(asyncio::create_task([connections, address, shop]() mutable {
      const std::lock_guard connection(connections);
      if (shop == 0) return turnover("user=nobody host=/nowhere", shop);
      return await(asyncio::wait_for([=] { return turnover(address, shop); }, 30s));
    }));
  int shop = 0;
  for (const auto& sum : await(asyncio::gather(asyncio::return_exceptions, tasks))) {
    std::cout << "shop " << shop++ << ": ";
    if (sum.exception())
      std::cout << "no answer" << std::endl;
    else
      std::cout << sum.value() << std::endl;
  }
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
