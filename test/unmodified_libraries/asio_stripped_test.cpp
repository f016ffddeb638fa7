// Boost.Asio in a program without symbols: the lists of running calls have no names, so that a task
// cannot take its own calls out of them, and the log says so.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <string>
#include <vector>

#include "support/own_thread.hpp"
#include "unmodified_libraries/patched.hpp"

using namespace legacy_test;
namespace asio = boost::asio;

namespace {

void run_context() {
  asio::io_context context;
  asio::steady_timer timer(context, 5ms);
  timer.async_wait([](boost::system::error_code) {});
  CHECK(context.run() == 1);
}

// Returns the messages that the log got while tasks ran that context, and waited without it.
std::vector<std::string> logged(const asyncio::TaskOptions& options) {
  std::vector<std::string> messages;
  asyncio::set_log_handler(
      [&](const asyncio::LogRecord& record) { messages.push_back(record.message); });
  monkey::patch_all();
  asyncio::run([&] {
    await(asyncio::create_task([] {
      const timespec pause{0, 1'000'000};
      CHECK(nanosleep(&pause, nullptr) == 0);
    }));
    for (int i = 0; i < 3; ++i) await(asyncio::create_task(run_context, options));
  });
  monkey::unpatch();
  asyncio::set_log_handler(nullptr);
  return messages;
}

}  // namespace

TEST_CASE("tasks with the state of threads run contexts without a word") {
  if (support::lacks_own_threads()) return;
  CHECK(logged(support::own).empty());
}

TEST_CASE("the log says once that a plain task waits in a context's run()") {
  const auto messages = logged({});
  REQUIRE(messages.size() == 1);
  CAPTURE(messages[0]);
  CHECK(messages[0].find("asio_stripped_test was stripped") != std::string::npos);
  CHECK(messages[0].find("own_thread_state") != std::string::npos);
}
