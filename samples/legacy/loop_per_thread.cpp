// loop_per_thread: a loop in each of several threads, and the kernel spreads connections over them.
//
// All threads listen at one port with SO_REUSEPORT. Nothing is shared, and so nothing is
// locked; threads send requests to each other by call_soon_threadsafe.
#include <fiber/asyncio.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using asyncio::await;

class Server {
 public:
  explicit Server(int threads) {
    for (int i = 0; i < threads; ++i) {
      std::promise<int> listening;
      auto port = listening.get_future();
      Worker& worker = *workers_.emplace_back(std::make_unique<Worker>());
      worker.thread = std::thread([this, &worker, i, listening = std::move(listening)]() mutable {
        serve(worker, i, listening);
      });
      port_ = port.get();  // the first one's is chosen by the system
    }
  }
  ~Server() {
    for (const auto& worker : workers_) {
      worker->loop.call_soon_threadsafe([&] { worker->stopped.set_result(); });
      worker->thread.join();
    }
  }
  int port() const { return port_; }

 private:
  struct Worker {
    std::thread thread;
    asyncio::EventLoop loop;
    asyncio::Future<void> stopped;
  };

  void serve(Worker& worker, int number, std::promise<int>& listening) const {
    asyncio::run([&] {
      worker.loop = asyncio::get_running_loop();
      worker.stopped = worker.loop.create_future();
      const asyncio::Server server = await(asyncio::start_server(
          [number](auto& reader, auto& writer) {
            const std::string line = await(reader.readline());
            writer.write(std::to_string(number) + " " + line);
            writer.close();
            await(writer.wait_closed());
          },
          "127.0.0.1", port_, {.reuse_port = true}));
      listening.set_value(server.sockets().at(0).port());
      await(worker.stopped);
      server.close();
    });
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<int> port_{0};
};

int main() {
  const Server server(4);
  std::set<std::string> threads;
  int answers = 0;
  asyncio::run([&] {
    std::vector<asyncio::Task<void>> clients;
    for (int i = 0; i < 200; ++i)
      clients.push_back(asyncio::create_task([&, i] {
        auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", server.port()));
        const std::string question = "hello " + std::to_string(i) + "\n";
        writer.write(question);
        const std::string answer = await(reader.readline());
        if (answer.substr(answer.find(' ') + 1) == question) ++answers;
        threads.insert(answer.substr(0, answer.find(' ')));
        writer.close();
        await(writer.wait_closed());
      }));
    await(asyncio::gather(clients));
  });
  print(answers, "answers, from", threads.size() > 1 ? "several threads" : "one thread");
}
