// loop_per_thread: a loop in each of several threads, and the kernel spreads connections over them.
//
// All threads listen at one port with SO_REUSEPORT. Nothing is shared, and so nothing is
// locked; threads send requests to each other by call_soon_threadsafe.
#include <fiber/asyncio.hpp>

#include <atomic>
#include <exception>
#include <future>
#include <iostream>
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
  int port() const { return port_; }

 private:
  struct Worker {
    ~Worker() {
      if (listens) loop.call_soon_threadsafe([this] { stopped.set_result(); });
      if (thread.joinable()) thread.join();
    }
    std::thread thread;
    asyncio::EventLoop loop;
    asyncio::Future<void> stopped;
    bool listens = false;
  };

  // The function of a thread. Announces the port, or the error.
  void serve(Worker& worker, int number, std::promise<int>& listening) const {
    try {
      asyncio::run([&] { listen(worker, number, listening); });
    } catch (...) {
      if (worker.listens) throw;
      listening.set_exception(std::current_exception());
    }
  }
  void listen(Worker& worker, int number, std::promise<int>& listening) const {
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
    worker.listens = true;
    listening.set_value(server.sockets().at(0).port());
    await(worker.stopped);
    server.close();
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<int> port_{0};
};

void ask() {
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

int main() {
  try {
    ask();
  } catch (const std::exception& error) {
    std::cerr << "loop_per_thread: " << error.what() << '\n';
    return 1;
  }
}
