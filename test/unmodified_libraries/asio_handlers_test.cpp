// Boost.Asio without patches: handlers wait inside of io_context::run(). Asio notes per thread which
// contexts run, so that each task needs own_thread_state.
#include <fiber/asyncio.hpp>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <vector>

#include "support/own_thread.hpp"

namespace asio = boost::asio;
namespace asyncio = fiber::asyncio;
using asyncio::await;

namespace {

// A context whose handler waits while it runs, and asks which contexts run in its thread.
struct Waits {
  asio::io_context context;
  int steps = 0;

  void run(Waits* other, int turns) {
    asio::post(context, [this, other, turns] {
      for (int turn = 0; turn < turns; ++turn) {
        CHECK(context.get_executor().running_in_this_thread());
        if (other != nullptr) CHECK(!other->context.get_executor().running_in_this_thread());
        await(asyncio::sleep(std::chrono::microseconds(100 * (turn % 3))));
        ++steps;
      }
      // Called at once only because the context runs here.
      asio::dispatch(context, [this] { ++steps; });
      CHECK(steps == turns + 1);
    });
    context.run();
  }
};

}  // namespace

TEST_CASE("handlers of Asio that wait: each task runs a context of its own") {
  if (support::lacks_own_threads()) return;
  asyncio::run([] {
    for (int round = 0; round < 10; ++round) {
      std::vector<asyncio::Task<int>> tasks;
      std::vector<std::optional<Waits>> contexts(10);
      for (int i = 0; i < 10; ++i) {
        Waits& own_context = contexts[i].emplace();
        Waits* other = i == 0 ? nullptr : &*contexts[i - 1];
        tasks.push_back(asyncio::create_task(
            [&own_context, other, i] {
              own_context.run(other, 3 + i % 4);  // they end in another order than they begin
              return own_context.steps;
            },
            support::own));
      }
      for (int i = 0; i < 10; ++i) CHECK(await(tasks[i]) == 4 + i % 4);
    }
  });
}
