// chat_server: a chat room over TCP, one task for each guest; `chat_server PORT` serves nc.
//
// Without a port it runs a demonstration: it listens at a port that the system chooses, and three
// guests come.
#include <fiber/asyncio.hpp>

#include <charconv>
#include <chrono>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../network/support/serve_until_interrupted.hpp"
#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;

class Room {
 public:
  // One guest, from the first line to the last.
  void welcome(StreamReader& reader, StreamWriter& writer) {
    try {
      talk(reader, writer);
    } catch (const OSError&) {
      // The connection is gone, and the guest with it.
    } catch (const ValueError&) {
      writer.write("That line is too long.\n");
    }
  }

 private:
  void talk(StreamReader& reader, StreamWriter& writer) {
    writer.write("Your name?\n");
    const std::string name = line(reader).value_or("");
    if (name.empty() || guests_.contains(name)) {
      writer.write("That name will not do.\n");
      return;
    }
    guests_.emplace(name, writer);
    // However the guest leaves, the name is free again.
    struct Leaves {
      Room& room;
      const std::string& name;
      ~Leaves() {
        room.guests_.erase(name);
        room.say_to_all("* " + name + " has left\n");
      }
    } const leaves{*this, name};
    say_to_all("* " + name + " is here\n");
    while (const std::optional<std::string> text = line(reader)) {
      if (text == "/who") {
        for (const auto& [guest, unused] : guests_) writer.write("  " + guest + "\n");
      } else if (text == "/quit") {
        break;
      } else if (!text->empty()) {
        say_to_all(name + ": " + *text + "\n");
      }
      await(writer.drain());  // a guest is heard again when he has read most of what waits for him
    }
  }

  // Returns a line without its end; nothing at the end of the connection.
  static std::optional<std::string> line(StreamReader& reader) {
    std::string text = await(reader.readline());
    if (text.empty()) return std::nullopt;
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    return text;
  }
  // A guest with too much unread text has to leave: the others must not wait for a slow reader.
  void say_to_all(std::string_view text) {
    constexpr std::size_t kMost = 1024 * 1024;
    for (const auto& [name, writer] : guests_) {
      if (writer.is_closing()) continue;
      writer.write(text);
      if (writer.transport().get_write_buffer_size() > kMost) writer.transport().abort();
    }
  }

  std::map<std::string, StreamWriter> guests_;
};

// Plays a guest, who waits for an answer before the next line. Returns the lines that were heard.
std::vector<std::string> visit(int port, const std::vector<std::string>& lines) {
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
  std::vector<std::string> heard;
  for (const std::string& line : lines) {
    std::string text = await(reader.readline());
    text.pop_back();
    heard.push_back(text);
    writer.write(line + "\n");
  }
  writer.write_eof();
  for (std::string rest = await(reader.readline()); !rest.empty();
       rest = await(reader.readline())) {
    rest.pop_back();
    heard.push_back(rest);
  }
  writer.close();
  await(writer.wait_closed());
  return heard;
}

int main(int count, char** arguments) {
  const std::string_view given = count > 1 ? arguments[1] : "0";
  int port = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), port);
  if (error != std::errc() || end != given.data() + given.size()) {
    std::cerr << "chat_server [PORT]: '" << given << "' is no port\n";
    return 2;
  }
  Room room;  // outlives the guests, whose tasks end with the loop
  try {
    asyncio::run([&] {
      const asyncio::Server server = await(asyncio::start_server(
          [&](auto& reader, auto& writer) {
            room.welcome(reader, writer);
            writer.close();
          },
          count > 1 ? "" : "127.0.0.1", port));
      if (count > 1) {
        print("listening at port", server.sockets().at(0).port());
        serve_until_interrupted(server);
      }
      const int chosen = server.sockets().at(0).port();
      for (const std::vector<std::string>& lines :
           {std::vector<std::string>{"Ada", "hello", "/who", "/quit"}, {"Bob", "anybody?"}, {""}})
        print(await(asyncio::create_task([&] { return visit(chosen, lines); })));
      server.close();
    });
  } catch (const OSError& error) {
    std::cerr << "chat_server: " << error.what() << '\n';
    return 1;
  } catch (const KeyboardInterrupt&) {
    return 130;
  }
}
