// port_forwarder: connections to a port of this machine go on to another machine's.
//
// Without arguments it shows itself: it stands between a client and a server of the same loop.
#include <fiber/asyncio.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>

#include "support/command_line.hpp"
#include "support/serve_until_interrupted.hpp"

using namespace fiber;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using std::chrono::seconds;

namespace {

constexpr const char* kUsage =
    R"(port_forwarder [OPTIONS] PORT HOST:PORT

  --bind ADDRESS    where to listen (127.0.0.1)
  --connect SECONDS how long the other side may take to answer (10)
  --idle SECONDS    close connections on which nothing has come, from neither side, for so long
                    (never)

Each direction ends by itself: a client that has sent all can still read the answer. Prints a line
for each connection. Without arguments it shows itself.
)";

struct Settings {
  std::string host;
  int port = 0;
  seconds connect{10};
  seconds idle{0};
  bool quiet = false;
};

class Forwarder {
 public:
  explicit Forwarder(Settings settings) : settings_(std::move(settings)) {}

  void serve(StreamReader& reader, StreamWriter& writer) const {
    const std::string name = writer.peername().text();
    try {
      auto [far_reader, far_writer] = await(asyncio::wait_for(
          asyncio::open_connection(settings_.host, settings_.port), settings_.connect));
      const auto [sent, received] = both_ways(reader, writer, far_reader, far_writer);
      say(name + ": " + std::to_string(sent) + " bytes there, " + std::to_string(received) +
          " back");
    } catch (const std::exception& error) {
      say(name + ": " + (*error.what() != '\0' ? error.what() : "timed out"));
    }
    writer.close();
  }

 private:
  struct Counts {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
  };

  // The first direction to fail ends the other.
  Counts both_ways(const StreamReader& near_reader, const StreamWriter& near_writer,
                   const StreamReader& far_reader, const StreamWriter& far_writer) const {
    Counts counts;
    // Both directions move the end of the time limit: bytes in one show that both are in use.
    asyncio::Timeout idle(end_of_idleness());
    try {
      asyncio::with(idle, [&](auto&) {
        asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
          (void)group.create_task([&] { copy(near_reader, far_writer, counts.sent, idle); });
          (void)group.create_task([&] { copy(far_reader, near_writer, counts.received, idle); });
        });
      });
    } catch (const AnyExceptionGroup& group) {
      std::rethrow_exception(group.exceptions().front());
    }
    far_writer.close();
    return counts;
  }

  void copy(const StreamReader& from, const StreamWriter& to, std::uint64_t& count,
            asyncio::Timeout& idle) const {
    for (;;) {
      const std::string data = await(from.read(65536));
      if (data.empty()) break;
      if (!idle.expired()) idle.reschedule(end_of_idleness());
      to.write(data);
      await(to.drain());  // a slow reader is not sent more than fits
      count += data.size();
    }
    to.write_eof();
  }

  std::optional<asyncio::nanoseconds> end_of_idleness() const {
    if (settings_.idle == seconds(0)) return std::nullopt;
    return asyncio::get_running_loop().time() + settings_.idle;
  }

  void say(const std::string& line) const {
    if (!settings_.quiet) std::cout << line << std::endl;
  }

  Settings settings_;
};

void serve(const std::string& address, int port, const Settings& settings) {
  const Forwarder forwarder(settings);
  const auto server = await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) { forwarder.serve(reader, writer); }, address,
      port));
  for (const asyncio::Socket& socket : server.sockets())
    std::cout << "forwarding " << socket.getsockname().text() << " to " << settings.host << ':'
              << settings.port << std::endl;
  serve_until_interrupted(server);
}

std::string ask(int port, const std::string& text) {
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
  writer.write(text);
  writer.write_eof();
  std::string answer = await(reader.read());
  writer.close();
  return answer;
}

void show() {
  // Answers when its client has said all.
  const auto counting = await(asyncio::start_server(
      [](StreamReader& reader, StreamWriter& writer) {
        const std::string text = await(reader.read());
        writer.write(std::to_string(text.size()) + " bytes came");
        writer.close();
      },
      "127.0.0.1", 0));
  const Forwarder there({.host = "127.0.0.1", .port = counting.sockets()[0].port(), .quiet = true});
  const auto forwarding = await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) { there.serve(reader, writer); }, "127.0.0.1",
      0));
  const int port = forwarding.sockets()[0].port();
  std::cout << "far side: " << ask(port, "hello") << '\n';
  std::cout << "far side: " << ask(port, std::string(3'000'000, 'x')) << '\n';
  counting.close();
  await(counting.wait_closed());
  std::cout << "far side gone: '" << ask(port, "") << "'\n";
  forwarding.close();
  await(forwarding.wait_closed());
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::run(argc, argv, kUsage, [&] {
    const command_line::Arguments given(argc, argv, {"--bind", "--connect", "--idle"});
    if (argc == 1) {
      asyncio::run(show);
      return 0;
    }
    if (given.rest.size() != 2) throw command_line::UsageError("PORT and HOST:PORT are expected");
    const auto [host, port] = command_line::host_and_port(given.rest[1], -1);
    if (port < 0) throw command_line::UsageError("a port is missing in " + given.rest[1]);
    const auto time = [&](const char* name, const char* usual) {
      return seconds(command_line::number(given.get(name, usual), name, 0, 86400));
    };
    const Settings settings{.host = host,
                            .port = port,
                            .connect = time("--connect", "10"),
                            .idle = time("--idle", "0")};
    asyncio::run([&] {
      serve(given.get("--bind", "127.0.0.1"), command_line::port(given.rest[0]), settings);
    });
    return 0;
  });
}
