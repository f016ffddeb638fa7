// Connections that are raced for, lent to sendfile(2), ended by their server, and read by several
// tasks; children whose talk is cut short.
#include "files.hpp"
#include "harness.hpp"
#include "protocols.hpp"

#include <fiber/asyncio.hpp>

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "support/streams.hpp"

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using faults::Closing;
using faults::require;
using support::echo;

namespace {

asyncio::Server serve(void (*callback)(const StreamReader&, const StreamWriter&)) {
  return await(asyncio::start_server(
      [callback](StreamReader& reader, StreamWriter& writer) { callback(reader, writer); },
      "127.0.0.1", 0));
}

int port_of(const asyncio::Server& server) { return server.sockets().at(0).port(); }

void race() {
  asyncio::run([] {
    const Closing<asyncio::Server> server{serve(echo)};
    // Where localhost has an address of IPv6 its attempt fails, and the other one begins.
    auto [reader, writer] = await(asyncio::open_connection(
        "localhost", port_of(server.its), {.happy_eyeballs_delay = 20ms, .interleave = 1}));
    writer.write("a line\n");
    require(await(reader.readline()) == "a line\n", "an echo");
    writer.close();
    await(writer.wait_closed());
  });
}

}  // namespace

FAULTS_SCENARIO(raced_connections, race) { race(); }

FAULTS_SCENARIO(connections_by_several_tasks) {
  asyncio::run([] {
    const Closing<asyncio::Server> server{serve(echo)};
    auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", port_of(server.its), {.limit = 1000}));
    const std::string much(300'000, 'm');
    std::string got;
    asyncio::with(asyncio::TaskGroup(), [&, reader = reader, writer = writer](auto& group) {
      for (int i = 0; i < 2; ++i)
        group.create_task([&, writer] {
          writer.write(much);
          await(writer.drain());
        });
      group.create_task([&, reader] { got = await(reader.readexactly(600'000)); });
    });
    require(got == much + much, "what two tasks have sent");
    writer.write("one|two;three");
    const std::vector<std::string> separators{"|", ";"};
    require(await(reader.readuntil(separators)) == "one|", "the first of two separators");
    require(await(reader.readuntil(separators)) == "two;", "the second of two separators");
    writer.write_eof();
    require(await(reader.read()) == "three", "the rest");
    writer.close();
    await(writer.wait_closed());
  });
}

FAULTS_SCENARIO(files_through_transports) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const std::string text(400'000, 'f');
    const faults::TextFile file(text);
    const Closing<asyncio::Server> server{serve(echo)};
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port_of(server.its)));
    auto reading = asyncio::create_task([reader = reader] { return await(reader.read()); });
    require(await(loop.sendfile(writer.transport(), file.fd())) == text.size(), "a file's size");
    writer.write_eof();
    // A server that lacked memory has sent back a part.
    require(text.starts_with(await(reading)), "a file");
    writer.close();
    await(writer.wait_closed());
  });
}

FAULTS_SCENARIO(clients_ended_by_their_server) {
  asyncio::run([] {
    for (const bool abort : {false, true}) {
      const Closing<asyncio::Server> server{serve(echo)};
      auto forever = asyncio::create_task([its = server.its] { await(its.serve_forever()); });
      std::vector<StreamReader> readers;
      std::vector<StreamWriter> writers;
      for (int i = 0; i < 3; ++i) {
        auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port_of(server.its)));
        writer.write("x");
        await(reader.readexactly(1));
        readers.push_back(reader);
        writers.push_back(writer);
      }
      if (abort)
        server.its.abort_clients();
      else
        server.its.close_clients();
      for (const StreamReader& reader : readers) require(await(reader.read()).empty(), "an end");
      for (const StreamWriter& writer : writers) writer.close();
      forever.cancel();
      await(asyncio::wait({forever}));
      await(server.its.wait_closed());
    }
  });
}

FAULTS_SCENARIO(children_cut_short) {
  using asyncio::subprocess::PIPE;
  asyncio::run([] {
    const auto child = await(asyncio::create_subprocess_exec(
        {"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}));
    struct Kill {
      const asyncio::Process& its;
      ~Kill() {
        if (!its.returncode()) its.kill();
      }
    } kill{child};
    child.stdin_()->write("a line\n");
    require(await(child.stdout_()->readline()) == "a line\n", "a line of a child");
    try {
      await(asyncio::wait_for(
          [child] {
            await(child.stdout_()->read(1));
            await(child.communicate("more"));
          },
          5ms));
      require(false, "a child that says nothing more");
    } catch (const TimeoutError&) {
    }
    child.kill();
    const auto [out, error] = await(child.communicate());
    require(out.empty() && error.empty() && child.returncode() == -SIGKILL, "a killed child");
  });
}
