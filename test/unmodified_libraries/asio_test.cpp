// Boost.Asio, which is a part of the program: io_context::run() in many tasks of one thread. Asio
// keeps a list of running calls per thread, so that each task needs own_thread_state.
#include <fiber/core/own_thread.hpp>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
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

TEST_CASE("io_context::run() in ten tasks of one thread") {
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
