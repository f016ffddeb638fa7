// Boost.Asio, which is a part of the program: io_context::run() in many tasks of one thread. Asio
// keeps lists of running calls per thread; patched calls take a task's own calls out of them.
#include <fiber/core/own_thread.hpp>

#include <boost/asio/connect.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/version.hpp>
#include <boost/asio/write.hpp>

#include <string>

#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kSize = 100'000;

struct Echo {
  asio::io_context context;
  asio::ip::tcp::acceptor acceptor{context, {asio::ip::make_address("127.0.0.1"), 0}};
  asio::ip::tcp::socket server{context};
  asio::ip::tcp::socket client{context};
  asio::steady_timer timer{context, 10ms};
  std::vector<char> sent = std::vector<char>(kSize, 'x');
  std::vector<char> received = std::vector<char>(kSize);
  std::vector<char> answer = std::vector<char>(kSize);
  std::size_t came = 0;
  bool rang = false;

  // Sends bytes to itself, and back, in one context that one call of run() drives.
  std::size_t run() {
    timer.async_wait([this](error_code error) { rang = !error; });
    acceptor.async_accept(server, [this](error_code) {
      asio::async_read(server, asio::buffer(received), [this](error_code, std::size_t) {
        asio::async_write(server, asio::buffer(received), [](error_code, std::size_t) {});
      });
    });
    client.async_connect(acceptor.local_endpoint(), [this](error_code) {
      asio::async_write(client, asio::buffer(sent), [](error_code, std::size_t) {});
      asio::async_read(client, asio::buffer(answer),
                       [this](error_code, std::size_t size) { came = size; });
    });
    context.run();
    return rang && answer == sent ? came : 0;
  }
};

}  // namespace

TEST_CASE("Boost.Asio's blocking calls: what is asked of every client") {
  const Nginx server;
  try_out({.library = "Boost.Asio",
           .version = std::to_string(BOOST_ASIO_VERSION / 100000) + "." +
                      std::to_string(BOOST_ASIO_VERSION / 100 % 1000) + "." +
                      std::to_string(BOOST_ASIO_VERSION % 100),
           .function = nullptr,
           .server = "nginx",
           .port = server.port(),
           .call =
               [](int port) {
                 try {
                   asio::io_context context;
                   asio::ip::tcp::socket socket(context);
                   socket.connect(
                       {asio::ip::make_address("127.0.0.1"), static_cast<unsigned short>(port)});
                   asio::write(socket, asio::buffer("GET /page HTTP/1.0\r\n\r\n", 22));
                   std::string text;
                   error_code error;
                   asio::read(socket, asio::dynamic_buffer(text), error);
                   if (error && error != asio::error::eof) throw boost::system::system_error(error);
                   return std::to_string(text.size() - text.find("\r\n\r\n") - 4);
                 } catch (const boost::system::system_error& error) {
                   throw Failure(error.what());
                 }
               },
           .answer = std::to_string(Nginx::kPageSize)});
}

TEST_CASE("io_context::run() in ten plain tasks of one thread") {
  monkey::patch_all();
  asyncio::run([] {
    for (int round = 0; round < 5; ++round) {
      std::vector<asyncio::Task<std::size_t>> tasks;
      for (int i = 0; i < 10; ++i)
        tasks.push_back(asyncio::create_task([] { return Echo().run(); }));
      // These end in the order in which they begin, with others in between.
      std::vector<asyncio::Task<bool>> timers;
      for (int i = 0; i < 10; ++i)
        timers.push_back(asyncio::create_task([i] {
          asio::io_context context;
          asio::steady_timer timer(context, std::chrono::milliseconds(5 + i));
          bool inside = false;
          timer.async_wait(
              [&](error_code) { inside = context.get_executor().running_in_this_thread(); });
          context.run();
          return inside && !context.get_executor().running_in_this_thread();
        }));
      for (const auto& task : tasks) CHECK(await(task) == kSize);
      for (const auto& timer : timers) CHECK(await(timer));
    }
  });
  monkey::unpatch();
}

TEST_CASE("handlers in a strand wait in patched calls, and end in another order than they began") {
  monkey::patch_all();
  asyncio::run([] {
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(asyncio::create_task([i] {
        asio::io_context context;
        const auto strand = asio::make_strand(context);
        int steps = 0;
        for (int turn = 0; turn < 10; ++turn)
          asio::post(strand, [&, turn] {
            CHECK(strand.running_in_this_thread());
            const timespec pause{0, (1 + (i * 7 + turn * 3) % 10) * 100'000};
            nanosleep(&pause, nullptr);
            CHECK(strand.running_in_this_thread());
            CHECK(context.get_executor().running_in_this_thread());
            asio::dispatch(strand, [&] { ++steps; });  // at once, since this is the strand
            CHECK(steps == turn + 1);
          });
        context.run();
        CHECK(steps == 10);
        CHECK(!strand.running_in_this_thread());
      }));
    for (const auto& task : tasks) await(task);
  });
  monkey::unpatch();
}

TEST_CASE("a loop that runs in a handler of Asio's leaves the handler's own calls in the list") {
  int named = 0;
  asyncio::set_log_handler([&](const asyncio::LogRecord& record) {
    if (record.message.find("Asio") != std::string::npos) ++named;
  });
  monkey::patch_all();
  asio::io_context outer;
  bool ran = false;
  asio::post(outer, [&] {
    asyncio::Runner runner({.debug = true});
    runner.run([&] {
      const auto is_outer = [&] { return outer.get_executor().running_in_this_thread(); };
      CHECK(is_outer());
      const auto first = asyncio::create_task([] { return Echo().run(); });
      const auto second = asyncio::create_task([] { return Echo().run(); });
      const timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
      CHECK(is_outer());
      CHECK(await(first) == kSize);
      CHECK(await(second) == kSize);
      CHECK(is_outer());
    });
    CHECK(outer.get_executor().running_in_this_thread());
    asio::dispatch(outer, [&] { ran = true; });
    CHECK(ran);
  });
  CHECK(outer.run() == 1);
  CHECK(!outer.get_executor().running_in_this_thread());
  monkey::unpatch();
  asyncio::set_log_handler(nullptr);
  CHECK(named == 0);
}

TEST_CASE("in debug mode a task is named that awaits in a handler of Asio's") {
  std::vector<std::string> messages;
  asyncio::set_log_handler([&](const asyncio::LogRecord& record) {
    const auto at = record.message.find("> suspended");
    messages.push_back(at != std::string::npos ? record.message.substr(at) : record.message);
  });
  monkey::patch_all();
  asyncio::Runner runner({.debug = true});
  runner.run([] {
    await(asyncio::create_task([] {
      asio::io_context context;
      asio::post(context, [] { await(asyncio::sleep(0ms)); });
      context.run();
    }));
  });
  asyncio::set_log_handler(nullptr);
  monkey::unpatch();
  CHECK((messages == std::vector<std::string>{
                         "> suspended and left a call of Asio in the thread's list of running "
                         "calls, which other tasks of this thread see. Only patched calls save it: "
                         "see own_thread_state"}));
}

TEST_CASE("io_context::run() in ten tasks with the state of threads") {
  if (const char* why = fiber::core::OwnThread::why_not(true)) {
    MESSAGE("not tested: ", why);
    return;
  }
  monkey::patch_all();
  asyncio::run([] {
    for (int round = 0; round < 5; ++round) {
      std::vector<asyncio::Task<std::size_t>> tasks;
      for (int i = 0; i < 10; ++i)
        tasks.push_back(asyncio::create_task(
            [] { return Echo().run(); }, {.own_thread_state = true, .slow_thread_state = true}));
      for (const auto& task : tasks) CHECK(await(task) == kSize);
    }
    // Asio takes the error of a call that is cut short for readiness, and goes on: stop() ends it.
    asio::io_context context;
    asio::steady_timer timer(context, std::chrono::hours(1));
    timer.async_wait([](error_code) {});
    const auto task = asyncio::create_task([&] { context.run(); },
                                           {.own_thread_state = true, .slow_thread_state = true});
    await(asyncio::sleep(20ms));
    task.cancel();
    await(asyncio::sleep(20ms));
    CHECK(!task.done());
    context.stop();
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
  });
  monkey::unpatch();
}
