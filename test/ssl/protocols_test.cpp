#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "ssl/tls.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
namespace ssl = fiber::ssl;
using asyncio::await;
using asyncio::Transport;
using support::client_context;
using support::Events;
using support::server_context;
using support::thrown_by;

namespace {

struct Side : asyncio::Protocol {
  Side(Events& say, std::string name) : say(say), name(std::move(name)) {}
  void connection_made(const Transport& its) override {
    say(name + ":made");
    transport = its;
  }
  void data_received(std::string_view data) override {
    if (data == "raise") throw fiber::ValueError("data");
    got += data;
    if (name == "server") transport.write(data);
    if (got.size() >= wanted && !enough.done()) enough.set_result();
  }
  bool eof_received() override {
    say(name + ":eof");
    if (raises_at_eof) throw fiber::ValueError("eof");
    return false;
  }
  void connection_lost(const std::exception_ptr& error) override {
    say(name + ":lost(" + (error ? fiber::type_name(error) : "None") + ")");
    lost.set_result();
  }
  void pause_writing() override { ++pauses; }
  void resume_writing() override { --pauses; }
  Events& say;
  std::string name;
  std::string got;
  std::size_t wanted = 1;
  int pauses = 0;
  bool raises_at_eof = false;
  Transport transport;
  asyncio::Future<> enough = asyncio::get_running_loop().create_future();
  asyncio::Future<> lost = asyncio::get_running_loop().create_future();
};

}  // namespace

TEST_CASE("protocols over TLS: the protocol is told of its connection after the handshake") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    std::shared_ptr<Side> serving;
    const auto server =
        await(loop.create_server([&] { return serving = std::make_shared<Side>(say, "server"); },
                                 "127.0.0.1", 0, {.ssl = server_context()}));
    const auto [transport, protocol] = await(loop.create_connection(
        [&] { return std::make_shared<Side>(say, "client"); }, "127.0.0.1",
        server.sockets().at(0).port(), {.ssl = client_context(), .server_hostname = "localhost"}));
    CHECK(transport.get_extra_info(ssl::ssl_object).has_value());
    CHECK(transport.get_extra_info(ssl::peercert).has_value());
    CHECK_FALSE(transport.can_write_eof());
    std::string much;
    while (protocol->pauses == 0) {
      transport.write(std::string(50'000, 'm'));
      much += std::string(50'000, 'm');
    }
    protocol->wanted = much.size();
    await(protocol->enough);
    CHECK(protocol->got == much);
    CHECK(protocol->pauses == 0);
    transport.pause_reading();
    CHECK_FALSE(transport.is_reading());
    transport.resume_reading();
    transport.close();
    await(protocol->lost);
    await(serving->lost);
    server.close();
    await(server.wait_closed());
  });
  CHECK(say.take().find("made") != std::string::npos);
}

TEST_CASE("protocols over TLS: an exception of data_received aborts the connection") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
      say("handler:" + context.message + ":" + fiber::repr(context.exception));
    });
    std::shared_ptr<Side> serving;
    const auto server =
        await(loop.create_server([&] { return serving = std::make_shared<Side>(say, "server"); },
                                 "127.0.0.1", 0, {.ssl = server_context()}));
    const auto [transport, protocol] = await(loop.create_connection(
        [&] { return std::make_shared<asyncio::Protocol>(); }, "127.0.0.1",
        server.sockets().at(0).port(), {.ssl = client_context(), .server_hostname = "localhost"}));
    transport.write("raise");
    while (serving == nullptr) await(asyncio::sleep(0));
    await(serving->lost);
    transport.abort();
    server.close();
    await(server.wait_closed());
  });
  CHECK(say.take() ==
        "server:made handler:Fatal error on SSL protocol:ValueError('data') "
        "server:lost(ValueError)");
}

TEST_CASE("protocols over TLS: an exception of eof_received is reported and ends the connection") {
  // The end comes from the other side, or as its answer to ours.
  for (const bool we_begin : {false, true}) {
    Events say;
    asyncio::run([&] {
      const auto loop = asyncio::get_running_loop();
      loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
        say("handler:" + context.message + ":" + fiber::repr(context.exception));
      });
      std::shared_ptr<Side> serving;
      Events unheard;
      const auto server = await(
          loop.create_server([&] { return serving = std::make_shared<Side>(unheard, "server"); },
                             "127.0.0.1", 0, {.ssl = server_context()}));
      const auto [transport, protocol] =
          await(loop.create_connection([&] { return std::make_shared<Side>(say, "client"); },
                                       "127.0.0.1", server.sockets().at(0).port(),
                                       {.ssl = client_context(), .server_hostname = "localhost"}));
      protocol->raises_at_eof = true;
      while (serving == nullptr || !serving->transport) await(asyncio::sleep(0));
      (we_begin ? transport : serving->transport).close();
      await(protocol->lost);
      await(serving->lost);
      server.close();
      await(server.wait_closed());
    });
    CHECK(say.take() ==
          "client:made client:eof handler:Error calling eof_received():ValueError('eof') "
          "client:lost(ValueError)");
  }
}

TEST_CASE(
    "buffered protocols over TLS: one buffer in each iteration, and what it wants in between") {
  struct Buffered : asyncio::BufferedProtocol {
    Buffered(Events& say, std::function<void(Buffered&)> action)
        : say(say), action(std::move(action)) {}
    void connection_made(const Transport& its) override { transport = its; }
    std::span<char> get_buffer(std::ptrdiff_t) override { return memory; }
    void buffer_updated(std::size_t count) override {
      say(std::string(memory, count));
      if (std::exchange(first, false)) action(*this);
    }
    bool eof_received() override {
      say("eof");
      return false;
    }
    Events& say;
    std::function<void(Buffered&)> action;
    char memory[3] = {};
    bool first = true;
    Transport transport;
  };
  Events say;
  const auto events = [&](const std::function<void(Buffered&)>& action) {
    asyncio::run([&] {
      const auto loop = asyncio::get_running_loop();
      std::shared_ptr<Side> serving;
      const auto server =
          await(loop.create_server([&] { return serving = std::make_shared<Side>(say, "server"); },
                                   "127.0.0.1", 0, {.ssl = server_context()}));
      const auto [transport, protocol] =
          await(loop.create_connection([&] { return std::make_shared<Buffered>(say, action); },
                                       "127.0.0.1", server.sockets().at(0).port(),
                                       {.ssl = client_context(), .server_hostname = "localhost"}));
      // The client's handshake is done before the server's.
      while (serving == nullptr || !serving->transport) await(asyncio::sleep(0));
      say.take();
      serving->transport.write("abcdefgh");
      serving->transport.close();
      await(serving->lost);
      for (int i = 0; i < 20; ++i) await(asyncio::sleep(0));
      say("|");
      if (!transport.is_closing()) transport.resume_reading();
      for (int i = 0; i < 20; ++i) await(asyncio::sleep(0));
      transport.abort();
      server.close();
      await(server.wait_closed());
    });
    std::string all = say.take();
    for (std::size_t at = 0; (at = all.find("server:")) != all.npos;)
      all.erase(at, all.find(' ', at) + 1 - at);
    return all;
  };
  CHECK(events([](Buffered&) {}) == "abc def gh eof |");
  CHECK(events([](Buffered& p) { p.transport.pause_reading(); }) == "abc | def gh eof");
  CHECK(events([](Buffered& p) { p.transport.abort(); }) == "abc |");
  CHECK(events([](Buffered& p) {
          struct Next : asyncio::Protocol {
            explicit Next(Events& say) : say(say) {}
            void data_received(std::string_view data) override { say("next:" + std::string(data)); }
            Events& say;
          };
          p.transport.set_protocol(std::make_shared<Next>(p.say));
        }) == "abc next:defgh |");
}

TEST_CASE("loop.start_tls is refused on a lost connection, and while it is in progress") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [a, b] = fiber::socket::socketpair();
    const auto make = [&](const char* name) {
      return [&say, name] { return std::make_shared<Side>(say, name); };
    };
    const auto client = await(loop.create_connection(make("client"), std::move(a)));
    const auto server = await(loop.create_connection(make("server"), std::move(b)));
    const auto start = [&] {
      await(loop.start_tls(client.first, client.second, client_context(),
                           {.server_hostname = "localhost"}));
    };
    const auto first = asyncio::create_task(start);
    await(asyncio::sleep(0));
    CHECK(
        thrown_by(start) ==
        "RuntimeError('Cannot call start_tls() twice at once, or before the connection is made')");
    await(loop.start_tls(server.first, server.second, server_context(), {.server_side = true}));
    await(first);
    client.first.write("x");
    await(client.second->enough);
    client.first.close();
    await(client.second->lost);
    await(server.second->lost);
    CHECK(thrown_by(start) == "ConnectionResetError('Connection lost')");
    CHECK(client.first.get_protocol() == nullptr);
  });
  CHECK(say.take().starts_with("client:made server:made"));
}

TEST_CASE("loop.start_tls: both sides go on over TLS with the protocols they name") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [a, b] = fiber::socket::socketpair();
    const auto make = [&](const char* name) {
      return [&say, name] { return std::make_shared<Side>(say, name); };
    };
    const auto client = await(loop.create_connection(make("client"), std::move(a)));
    const auto server = await(loop.create_connection(make("server"), std::move(b)));
    const auto secured = asyncio::create_task([&] {
      return await(
          loop.start_tls(server.first, server.second, server_context(), {.server_side = true}));
    });
    const Transport transport = await(loop.start_tls(client.first, client.second, client_context(),
                                                     {.server_hostname = "localhost"}));
    CHECK(await(secured) == server.first);
    CHECK(transport.get_extra_info(ssl::cipher).has_value());
    transport.write("x");
    await(client.second->enough);
    CHECK(client.second->got == "x");
    CHECK(thrown_by([&] { await(loop.start_tls(transport, client.second, true)); }) ==
          "TypeError('sslcontext is expected to be an instance of ssl::SSLContext')");
    transport.close();
    await(client.second->lost);
    await(server.second->lost);
  });
  const std::string events = say.take();
  CHECK(events.starts_with("client:made server:made"));
}

TEST_CASE("a TLS handshake that fails: create_connection throws, the protocol is not told") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto server =
        await(loop.create_server([&] { return std::make_shared<Side>(say, "server"); }, "127.0.0.1",
                                 0, {.ssl = server_context()}));
    loop.set_exception_handler([](const asyncio::EventLoop&, const auto&) {});
    CHECK_THROWS_AS(
        await(loop.create_connection([&] { return std::make_shared<Side>(say, "client"); },
                                     "127.0.0.1", server.sockets().at(0).port(),
                                     {.ssl = client_context(), .server_hostname = "other.test"})),
        ssl::SSLCertVerificationError);
    server.close();
    await(server.wait_closed());
  });
  CHECK(say.take().find("client:") == std::string::npos);
}
