// The lists of events are those that CPython 3.13 prints for equal programs, with only the types of
// exceptions where a connection is lost.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/recorder.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using namespace std::chrono_literals;
using asyncio::await;
using support::Events;
using support::Recorder;
using support::shown;
using support::thrown_by;
using support::Transport;

namespace {

struct Buffered : asyncio::BufferedProtocol {
  explicit Buffered(Events& say) : say(say) {}
  void connection_made(const Transport&) override { say("made"); }
  std::span<char> get_buffer(std::ptrdiff_t hint) override {
    say("get(" + std::to_string(hint) + ")");
    if (replace) replace();
    return {memory, size};
  }
  void buffer_updated(std::size_t count) override {
    say("updated(" + std::string(memory, count) + ")");
    if (raises) throw fiber::ValueError("updated");
  }
  bool eof_received() override {
    say("eof");
    return false;
  }
  void connection_lost(const std::exception_ptr& error) override {
    say("lost(" + shown(error) + ")");
  }
  Events& say;
  char memory[4] = {};
  std::size_t size = sizeof memory;
  bool raises = false;
  std::function<void()> replace;
};

// A test's actions on one end of a socketpair; the other end belongs to the protocol.
struct Scene {
  const asyncio::EventLoop loop;
  const Transport& transport;
  const sockets::socket& peer;
  Events& say;

  void rest(int iterations = 12) const {
    for (int i = 0; i < iterations; ++i) await(asyncio::sleep(0));
  }
  void send(std::string_view data) const {
    try {
      peer.send(data);
    } catch (const fiber::OSError&) {
      say("broken");
    }
    rest();
  }
  std::size_t take(std::size_t much) const {
    std::size_t count = 0;
    std::string buffer(1 << 20, '\0');
    while (count < much) {
      try {
        count += peer.recv_into(buffer);
      } catch (const fiber::BlockingIOError&) {
        await(asyncio::sleep(0));
      }
    }
    rest();
    return count;
  }
};

constexpr std::size_t kMuch = 2'000'000;

template <class P>
std::string events_of(const std::function<void(const Scene&)>& action,
                      const std::function<void(P&)>& set_up = {}) {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
      say("handler:" + context.message + ":" + fiber::repr(context.exception));
    });
    auto [ours, peer] = sockets::socketpair();
    peer.setblocking(false);
    const auto [transport, protocol] = await(loop.create_connection(
        [&] {
          auto made = std::make_shared<P>(say);
          if (set_up) set_up(*made);
          return made;
        },
        std::move(ours)));
    say("connected");
    const Scene scene{loop, transport, peer, say};
    action(scene);
    scene.rest();
    peer.close();
    if (!transport.is_closing()) transport.abort();
    scene.rest();
  });
  return say.take();
}

std::string recorded(const std::function<void(const Scene&)>& action,
                     const std::function<void(Recorder&)>& set_up = {}) {
  return events_of<Recorder>(action, set_up);
}

void nothing(const Scene&) {}
void peer_sends(const Scene& scene) {
  scene.send("one");
  scene.send("two");
}
void peer_ends(const Scene& scene) {
  scene.peer.send("one");
  scene.peer.shutdown(SHUT_WR);
  scene.rest();
  scene.say(scene.transport.is_closing() ? "closing" : "open");
  scene.transport.write("still");
  scene.rest();
  try {
    scene.say(scene.peer.recv(10));
  } catch (const fiber::OSError&) {
    scene.say("nothing");
  }
}
void close_twice(const Scene& scene) {
  scene.transport.close();
  scene.say(scene.transport.is_closing() ? "closing" : "open");
  scene.transport.close();
  scene.transport.abort();
  scene.rest(1);
  scene.say("later");
  scene.transport.write("x");
  scene.say(scene.transport.get_protocol() == nullptr ? "None" : "protocol");
}
void back_pressure(const Scene& scene) {
  scene.transport.set_write_buffer_limits(1000);
  scene.transport.write(std::string(kMuch, 'x'));
  scene.say("written");
  scene.take(kMuch);
  scene.say(std::to_string(scene.transport.get_write_buffer_size()));
}
void pause_resume(const Scene& scene) {
  scene.transport.pause_reading();
  scene.transport.pause_reading();
  scene.send("one");
  scene.say("paused");
  scene.transport.resume_reading();
  scene.transport.resume_reading();
  scene.rest();
  scene.say(scene.transport.is_reading() ? "True" : "False");
}

[[noreturn]] void raise(const char* what) { throw fiber::ValueError(what); }

}  // namespace

TEST_CASE("protocol: made, data, end and loss, as CPython has them") {
  CHECK(recorded(nothing) == "made connected lost(None)");
  CHECK(recorded(peer_sends) == "made connected data(one) data(two) lost(None)");
  CHECK(recorded(peer_ends) == "made connected data(one) eof lost(None) closing ");
  CHECK(recorded(peer_ends, [](Recorder& p) { p.keep_open = true; }) ==
        "made connected data(one) eof open still lost(None)");
  CHECK(recorded(close_twice) == "made connected closing lost(None) later None");
}

TEST_CASE("protocol: a pair over TCP, in CPython's order") {
  Events say;
  struct Side : asyncio::Protocol {
    Side(Events& say, std::string name) : say(say), name(std::move(name)) {}
    void connection_made(const Transport& its) override {
      say(name + ":made");
      transport = its;
      asyncio::get_running_loop().call_soon([this] { say(name + ":soon"); });
    }
    void data_received(std::string_view data) override {
      say(name + ":data(" + std::string(data) + ")");
      if (name == "server")
        transport.write("HELLO");
      else
        transport.write_eof();
    }
    bool eof_received() override {
      say(name + ":eof");
      return false;
    }
    void connection_lost(const std::exception_ptr& error) override {
      say(name + ":lost(" + shown(error) + ")");
      lost.set_result();
    }
    Events& say;
    std::string name;
    Transport transport;
    asyncio::Future<> lost = asyncio::get_running_loop().create_future();
  };
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto server = await(loop.create_server(
        [&] {
          say("factory");
          return std::make_unique<Side>(say, "server");
        },
        "127.0.0.1", 0));
    const auto [transport, protocol] = await(loop.create_connection(
        [&] {
          say("client factory");
          return std::make_shared<Side>(say, "client");
        },
        "127.0.0.1", server.sockets().at(0).port()));
    say("connected");
    CHECK(transport.peername() == server.sockets().at(0).getsockname());
    transport.write("hello");
    await(protocol->lost);
    CHECK(transport.is_closing());
    server.close();
    await(server.wait_closed());
  });
  // Some kernels tell the server's end a step later than the client's.
  const std::string events = say.take();
  CHECK(events.find("client factory") != std::string::npos);
  CHECK(
      events.ends_with("server:data(hello) client:data(HELLO) server:eof server:lost(None) "
                       "client:eof client:lost(None)"));
}

TEST_CASE("protocol: flow control") {
  CHECK(recorded(pause_resume) == "made connected paused data(one) True lost(None)");
  CHECK(recorded(back_pressure) == "made connected pause written resume 0 lost(None)");
  CHECK(recorded([](const Scene& scene) {
          scene.transport.write(std::string(kMuch, 'x'));
          scene.transport.close();
          scene.say("closed");
          scene.say(std::to_string(scene.take(kMuch)));
        }) == "made connected pause closed resume lost(None) 2000000");
  CHECK(recorded([](const Scene& scene) {
          scene.transport.write(std::string(kMuch, 'x'));
          scene.transport.abort();
          scene.rest();
        }) == "made connected pause lost(None)");
  CHECK(recorded([](const Scene& scene) {
          scene.say(thrown_by([&] { scene.transport.set_write_buffer_limits(1, 2); }));
          const auto limits = [&] {
            const auto [low, high] = scene.transport.get_write_buffer_limits();
            scene.say("(" + std::to_string(low) + ", " + std::to_string(high) + ")");
          };
          limits();
          scene.transport.set_write_buffer_limits({}, 10);
          limits();
          scene.transport.set_write_buffer_limits(0);
          limits();
        }) ==
        "made connected ValueError('high (1) must be >= low (2) must be >= 0') (16384, "
        "65536) (10, 40) (0, 0) lost(None)");
}

TEST_CASE("protocol: write_eof, writelines, set_protocol, a reset") {
  CHECK(recorded([](const Scene& scene) {
          scene.say(scene.transport.can_write_eof() ? "True" : "False");
          scene.transport.writelines(std::vector<std::string>{"a", "b"});
          scene.transport.write_eof();
          scene.transport.write_eof();
          scene.say(thrown_by([&] { scene.transport.write("x"); }));
          scene.say(scene.peer.recv(10) + scene.peer.recv(10));
        }) ==
        "made connected True RuntimeError('Cannot call write() after write_eof()') ab lost(None)");
  CHECK(recorded([](const Scene& scene) {
          struct Other : asyncio::Protocol {
            explicit Other(Events& say) : say(say) {}
            void data_received(std::string_view data) override { say("q:" + std::string(data)); }
            void connection_lost(const std::exception_ptr&) override { say("q:lost"); }
            Events& say;
          };
          const auto other = std::make_shared<Other>(scene.say);
          scene.transport.set_protocol(other);
          CHECK(scene.transport.get_protocol() == other);
          scene.send("one");
          scene.transport.close();
        }) == "made connected q:one q:lost");
  CHECK(events_of<Recorder>([](const Scene& scene) {
          scene.transport.write("unread");
          ::shutdown(scene.transport.fileno(), SHUT_RD);
          scene.rest();
        }) == "made connected eof lost(None)");
  CHECK(recorded([](const Scene& scene) {
          struct Datagrams : asyncio::DatagramProtocol {};
          const auto wrong = std::make_shared<Datagrams>();
          scene.say(thrown_by([&] { scene.transport.set_protocol(wrong); }).substr(0, 48));
          scene.say(thrown_by([&] { scene.transport.set_protocol(nullptr); }));
        }) ==
        "made connected TypeError('a Protocol or BufferedProtocol was ex "
        "TypeError('set_protocol() needs a protocol, not null') lost(None)");
}

TEST_CASE(
    "protocol: exceptions of callbacks are reported; those about data and its end are fatal") {
  CHECK(recorded(peer_sends, [](Recorder& p) { p.on_made = [](auto&) { raise("made"); }; }) ==
        "made handler:Exception in callback:ValueError('made') connected data(one) data(two) "
        "lost(None)");
  CHECK(recorded(peer_sends, [](Recorder& p) { p.on_data = [](auto&) { raise("data"); }; }) ==
        "made connected data(one) handler:Fatal error: protocol.data_received() call failed.:"
        "ValueError('data') lost(ValueError) broken");
  CHECK(recorded(peer_ends, [](Recorder& p) { p.on_eof = [](auto&) { raise("eof"); }; }) ==
        "made connected data(one) eof handler:Fatal error: protocol.eof_received() call failed.:"
        "ValueError('eof') lost(ValueError) closing ");
  CHECK(recorded(close_twice, [](Recorder& p) { p.on_lost = [](auto&) { raise("lost"); }; }) ==
        "made connected closing lost(None) handler:Exception in callback:ValueError('lost') later "
        "None");
  CHECK(recorded(back_pressure, [](Recorder& p) { p.on_pause = [](auto&) { raise("pause"); }; }) ==
        "made connected pause handler:protocol.pause_writing() failed:ValueError('pause') written "
        "resume handler:protocol.resume_writing() failed:ValueError('pause') 0 lost(None)");
}

TEST_CASE("protocol: a transport that is closed, aborted or paused in a callback") {
  CHECK(recorded(peer_sends, [](Recorder& p) { p.on_made = [](auto& t) { t.close(); }; }) ==
        "made lost(None) connected broken broken");
  CHECK(recorded(peer_sends, [](Recorder& p) { p.on_data = [](auto& t) { t.close(); }; }) ==
        "made connected data(one) lost(None) broken");
  CHECK(recorded(peer_sends, [](Recorder& p) { p.on_data = [](auto& t) { t.abort(); }; }) ==
        "made connected data(one) lost(None) broken");
  CHECK(recorded(pause_resume, [](Recorder& p) {
          p.on_made = [](auto& t) { t.pause_reading(); };
        }) == "made connected paused data(one) True lost(None)");
}

TEST_CASE("protocol: data that comes while an iteration runs is read in the next one") {
  CHECK(events_of<Recorder>([](const Scene& scene) {
          scene.peer.send("one");
          await(asyncio::sleep(0));
          await(asyncio::sleep(0));
          scene.loop.call_soon([&] { scene.say("soon"); });
          scene.peer.send("two");
          scene.rest();
        }) == "made connected data(one) soon data(two) lost(None)");
}

TEST_CASE("protocol: a pause calls off the read whose turn has not come yet") {
  CHECK(events_of<Recorder>([](const Scene& scene) {
          scene.peer.send("one");
          await(asyncio::sleep(0));
          scene.transport.pause_reading();
          scene.transport.resume_reading();
          scene.loop.call_soon([&] { scene.say("soon"); });
          scene.rest();
        }) == "made connected soon data(one) lost(None)");
}

TEST_CASE("is_reading tells of a pause by the reader of a stream, which the user may end") {
  asyncio::run([] {
    auto [near, peer] = sockets::socketpair();
    auto [reader, writer] = await(asyncio::open_connection(std::move(near), {.limit = 1}));
    CHECK(writer.transport().is_reading());
    peer.send("abc");
    for (int i = 0; i < 5; ++i) await(asyncio::sleep(0));
    CHECK(!writer.transport().is_reading());
    writer.transport().resume_reading();
    CHECK(writer.transport().is_reading());
    CHECK(await(reader.readexactly(3)) == "abc");
    writer.close();
    await(writer.wait_closed());
  });
}

TEST_CASE("a stream pauses by all data that arrived, that of a waiting read included") {
  asyncio::run([] {
    auto [near, peer] = sockets::socketpair();
    auto [reader, writer] = await(asyncio::open_connection(std::move(near), {.limit = 1}));
    peer.send("abc");
    CHECK(await(reader.read(1)) == "a");
    CHECK(!writer.transport().is_reading());
    CHECK(await(reader.read(1)) == "b");
    CHECK(writer.transport().is_reading());
    writer.close();
    await(writer.wait_closed());
  });
}

TEST_CASE("protocol: a callback may not await, and says so; a task may") {
  CHECK(recorded([](const Scene& scene) { scene.send("one"); },
                 [](Recorder& p) {
                   p.on_data = [&say = p.say](auto&) {
                     say(fiber::type_name([] {
                       try {
                         await(asyncio::sleep(0));
                       } catch (...) {
                         return std::current_exception();
                       }
                       return std::exception_ptr();
                     }()));
                     static_cast<void>(asyncio::get_running_loop().create_task([&say] {
                       await(asyncio::sleep(0));
                       say("waited");
                     }));
                   };
                 }) == "made connected data(one) RuntimeError waited lost(None)");
}

TEST_CASE("buffered protocol") {
  const auto ten = [](const Scene& scene) {
    scene.send("abcdefghij");
    scene.peer.shutdown(SHUT_WR);
    scene.rest();
  };
  CHECK(events_of<Buffered>(peer_sends) ==
        "made connected get(-1) updated(one) get(-1) updated(two) lost(None)");
  CHECK(events_of<Buffered>(ten) ==
        "made connected get(-1) updated(abcd) get(-1) updated(efgh) get(-1) updated(ij) get(-1) "
        "eof lost(None)");
  CHECK(events_of<Buffered>(ten, [](Buffered& p) { p.size = 0; }) ==
        "made connected get(-1) handler:Fatal error: protocol.get_buffer() call failed.:"
        "RuntimeError('get_buffer() returned an empty buffer') lost(RuntimeError)");
  CHECK(events_of<Buffered>(ten, [](Buffered& p) { p.raises = true; }) ==
        "made connected get(-1) updated(abcd) handler:Fatal error: protocol.buffer_updated() call "
        "failed.:ValueError('updated') lost(ValueError)");
}

TEST_CASE("buffered protocol: get_buffer() that sets another protocol keeps its buffer meanwhile") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler(
        [&](const asyncio::EventLoop&, const auto& context) { say("handler:" + context.message); });
    const auto after = [&](const auto& make_next) {
      auto [ours, peer] = sockets::socketpair();
      auto [transport, protocol] = await(
          loop.create_connection([&] { return std::make_shared<Buffered>(say); }, std::move(ours)));
      protocol->replace = [&transport = transport, make_next] {
        transport.set_protocol(make_next());
      };
      protocol.reset();  // the transport alone has it, as that of a server
      peer.send("data");
      for (int i = 0; i < 12; ++i) await(asyncio::sleep(0));
      transport.abort();
      await(asyncio::sleep(0));
      return say.take();
    };
    CHECK(after([&] { return std::make_shared<Recorder>(say); }) ==
          "made get(-1) handler:Fatal error: protocol.buffer_updated() call failed. "
          "lost(RuntimeError)");
    struct Counting : Buffered {
      using Buffered::Buffered;
      void buffer_updated(std::size_t count) override { say("next:" + std::to_string(count)); }
    };
    CHECK(after([&] { return std::make_shared<Counting>(say); }) ==
          "made get(-1) next:4 lost(None)");
  });
}
