// Requests by the library's client, a task for each connection. Prints nanoseconds per request.
//
//   http_client URL CONNECTIONS REQUESTS
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace fiber;
using asyncio::await;

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string url = argv[1];
  const int connections = std::atoi(argv[2]);
  const int requests = std::atoi(argv[3]);
  asyncio::run([&] {
    asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
      int left = requests;
      const auto work = [&] {
        while (left-- > 0) {
          auto response = await(session.get(url));
          if (await(response.read()) != "hello") std::exit(1);
        }
      };
      const auto start = std::chrono::steady_clock::now();
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < connections; ++i) tasks.push_back(asyncio::create_task(work));
      for (auto& task : tasks) await(task);
      const std::chrono::duration<double, std::nano> time =
          std::chrono::steady_clock::now() - start;
      std::printf("%.0f\n", time.count() / requests);
    });
  });
}
