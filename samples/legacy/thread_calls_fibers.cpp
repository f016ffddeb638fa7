// thread_calls_fibers: threads of an old program hand work to tasks, and wait for the results.
//
// The threads know nothing of fibers: they call a function that blocks until the answer is there.
// Behind it one thread runs a loop with all the tasks.
#include <fiber/asyncio.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

// A loop with a thread of its own.
class Service {
 public:
  Service() {
    std::promise<void> starting;
    const auto started = starting.get_future();
    thread_ = std::thread([this, starting = std::move(starting)]() mutable {
      asyncio::run([&] {
        loop_ = asyncio::get_running_loop();
        stopped_ = loop_.create_future();
        starting.set_value();
        await(stopped_);
      });
    });
    started.wait();
  }
  ~Service() {
    loop_.call_soon_threadsafe([this] { stopped_.set_result(); });
    thread_.join();
  }

  // May be called from any other thread, and blocks it. Throws the task's exception.
  int square(int number) {
    return asyncio::run_coroutine_threadsafe(
               [this, number] {
                 most_ = std::max(most_, ++working_);
                 await(asyncio::sleep(200ms));
                 --working_;
                 if (number == 3) throw ValueError("not three");
                 return number * number;
               },
               loop_)
        .result();
  }
  // Gives up after a time, and cancels the task.
  std::string patient_for(std::chrono::milliseconds limit) {
    auto future = asyncio::run_coroutine_threadsafe(
        [this]() -> std::string {
          try {
            await(asyncio::sleep(1h));
            return "an hour";
          } catch (const asyncio::CancelledError&) {
            cancelled = true;
            throw;
          }
        },
        loop_);
    try {
      return future.result(limit);
    } catch (const TimeoutError&) {
      future.cancel();
      return "timed out";
    }
  }

  // The largest number of concurrent squares; valid once they are done.
  int most() const { return most_; }

  std::atomic<bool> cancelled{false};

 private:
  int working_ = 0, most_ = 0;  // used by the loop's thread
  asyncio::EventLoop loop_;
  asyncio::Future<void> stopped_;
  std::thread thread_;
};

int main() {
  Service service;
  std::mutex mutex;
  std::vector<std::string> answers;
  std::vector<std::jthread> threads;  // a jthread is joined when it is destroyed
  for (int number = 1; number <= 8; ++number)
    threads.emplace_back([&, number] {
      std::string answer = std::to_string(number) + ": ";
      try {
        answer += std::to_string(service.square(number));
      } catch (const ValueError& error) {
        answer += error.what();
      }
      const std::lock_guard lock(mutex);
      answers.push_back(answer);
    });
  threads.clear();
  std::ranges::sort(answers);
  for (const std::string& answer : answers) print(answer);
  print("one after the other:", service.most() > 1 ? "no" : "yes");
  print(service.patient_for(50ms));
  while (!service.cancelled) std::this_thread::yield();
  print("and its task was cancelled");
}
