// The programs of samples/network, and the servers of samples/apps, as their users run them:
// arguments, errors, and each against a server.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "samples/programs.hpp"
#include "support/folder.hpp"

namespace asyncio = fiber::asyncio;
namespace fs = std::filesystem;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::built;
using support::program;
using support::Result;
using support::run;
using namespace std::chrono_literals;

namespace {

// A program that serves until this ends; it says where in its first line.
class Serving {
 public:
  Serving(const std::string& name, std::vector<std::string> arguments)
      : process_([&] {
          arguments.insert(arguments.begin(), program(name));
          return await(
              asyncio::create_subprocess_exec(arguments, {.stdout_ = asyncio::subprocess::PIPE}));
        }()),
        line_(await(process_.stdout_()->readline())) {}
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  void stop() const {
    process_.terminate();
    await(process_.wait());
  }
  // Returns the status.
  int interrupt() const {
    process_.send_signal(SIGINT);
    return await(process_.wait());
  }
  const std::string& line() const { return line_; }
  std::string next_line() const { return await(process_.stdout_()->readline()); }
  int port() const {
    const std::size_t at = line_.find("127.0.0.1:");
    return std::stoi(line_.substr(at != std::string::npos ? at + 10 : line_.rfind(' ') + 1));
  }

 private:
  asyncio::Process process_;
  std::string line_;
};

std::string exchange(int port, const std::string& text) {
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
  writer.write(text);
  writer.write_eof();
  std::string answer = await(reader.read());
  writer.close();
  return answer;
}

}  // namespace

TEST_CASE("each program says how it is used, and refuses what it does not know") {
  asyncio::run([] {
    for (const char* name :
         {"dns_query", "file_server", "port_forwarder", "send_mail", "tls_echo"}) {
      if (!built(name)) continue;
      CAPTURE(name);
      const Result help = run(name, {"--help"});
      CHECK(help.status == 0);
      CHECK(help.out.starts_with(name));
      CHECK(help.errors.empty());
      const Result wrong = run(name, {"--nonsense"});
      CHECK(wrong.status == 2);
      CHECK(wrong.out.empty());
      CHECK(wrong.errors ==
            std::string(name) + ": unknown option --nonsense\nTry " + name + " --help\n");
    }
  });
}

TEST_CASE("each wrong argument has a message") {
  asyncio::run([] {
    const auto said = [](const std::string& name, const std::vector<std::string>& arguments) {
      const Result result = run(name, arguments);
      CHECK(result.status == 2);
      return result.errors.substr(0, result.errors.find('\n'));
    };
    CHECK(said("dns_query", {"--type", "FAX", "x"}) == "dns_query: unknown type FAX");
    CHECK(said("dns_query", {"--tries=none", "x"}) ==
          "dns_query: --tries must be a number from 1 to 20, not 'none'");
    CHECK(said("dns_query", {"--server"}) == "dns_query: option --server needs a value");
    CHECK(said("port_forwarder", {"0"}) == "port_forwarder: PORT and HOST:PORT are expected");
    CHECK(said("port_forwarder", {"0", "host"}) == "port_forwarder: a port is missing in host");
    CHECK(said("file_server", {"65536"}) ==
          "file_server: a port must be a number from 0 to 65535, not '65536'");
    if (built("send_mail"))
      CHECK(said("send_mail", {"--server", "x"}) == "send_mail: --from is missing");
    const Result missing = run("file_server", {"0", "/nowhere"});
    CHECK(missing.status == 1);
    CHECK(missing.errors.find("/nowhere") != std::string::npos);
  });
}

TEST_CASE("dns_query asks as often as it is told, and gives up") {
  asyncio::run([] {
    struct Silent : asyncio::DatagramProtocol {
      void datagram_received(std::string_view, const asyncio::SocketAddress&) override { ++asked; }
      int asked = 0;
    };
    const auto [transport, protocol] = await(asyncio::get_running_loop().create_datagram_endpoint(
        [] { return std::make_shared<Silent>(); },
        asyncio::CreateDatagramEndpointOptions{.local_addr = {{"127.0.0.1", 0}}}));
    const std::string server = transport.sockname().text();
    const Result result =
        run("dns_query", {"--server", server, "--tries", "3", "--timeout", "5", "x.example"});
    CHECK(result.status == 1);
    CHECK(result.errors.find("no answer from " + server + " to 3 questions") != std::string::npos);
    CHECK(protocol->asked == 3);
    transport.close();
  });
}

TEST_CASE("dns_query refuses a name that is a long chain of pointers") {
  asyncio::run([] {
    struct Hostile : asyncio::DatagramProtocol {
      void connection_made(const asyncio::DatagramTransport& its) override { transport = its; }
      void datagram_received(std::string_view question,
                             const asyncio::SocketAddress& from) override {
        const auto two = [](std::size_t number) {
          return std::string{static_cast<char>(number >> 8U), static_cast<char>(number & 255U)};
        };
        std::string answer(question);
        answer.replace(2, 6, "\x81\x80" + two(1) + two(2));
        constexpr std::size_t kPointers = 1900;
        answer += two(0xc00c) + two(99) + two(1) + two(0) + two(60) + two(2 * kPointers);
        std::size_t target = 12;  // the name of the question
        for (std::size_t i = 0; i < kPointers; ++i) {
          const std::size_t here = answer.size();
          answer += two(0xc000 + target);
          target = here;
        }
        answer += two(0xc000 + target) + two(1) + two(1) + two(0) + two(60) + two(0);
        transport.sendto(answer, from);
      }
      asyncio::DatagramTransport transport;
    };
    const auto [transport, protocol] = await(asyncio::get_running_loop().create_datagram_endpoint(
        [] { return std::make_shared<Hostile>(); },
        asyncio::CreateDatagramEndpointOptions{.local_addr = {{"127.0.0.1", 0}}}));
    const Result result = run("dns_query", {"--server", transport.sockname().text(), "x.example"});
    CHECK(result.status == 1);
    CHECK(result.errors == "dns_query: a name of the answer is too long\n");
    transport.close();
  });
}

TEST_CASE("port_forwarder counts a connection as idle only if neither side says anything") {
  asyncio::run([] {
    const auto far = await(asyncio::start_server(
        [](StreamReader& reader, StreamWriter& writer) {
          for (int i = 0; i < 8; ++i) {
            writer.write("tick ");
            await(asyncio::sleep(0.5s));
          }
          await(reader.read());
          writer.close();
        },
        "127.0.0.1", 0));
    const Serving forwarder(
        "port_forwarder",
        {"--idle", "3", "0", "127.0.0.1:" + std::to_string(far.sockets()[0].port())});
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", forwarder.port()));
    CHECK(await(reader.read()) == "tick tick tick tick tick tick tick tick ");
    CHECK(forwarder.next_line().ends_with(": timed out\n"));
    writer.close();
    forwarder.stop();
    far.close();
    far.close_clients();
    await(far.wait_closed());
  });
}

TEST_CASE("port_forwarder serves several connections, each to its end") {
  asyncio::run([] {
    const auto far = await(asyncio::start_server(
        [](StreamReader& reader, StreamWriter& writer) {
          writer.write("<" + await(reader.read()) + ">");
          writer.close();
        },
        "127.0.0.1", 0));
    const Serving forwarder("port_forwarder",
                            {"0", "127.0.0.1:" + std::to_string(far.sockets()[0].port())});
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(
          asyncio::create_task([&, i] { return exchange(forwarder.port(), std::to_string(i)); }));
    std::string all;
    for (const std::string& answer : await(asyncio::gather(tasks))) all += answer;
    CHECK(all == "<0><1><2><3><4><5><6><7><8><9>");
    far.close();
    await(far.wait_closed());
    // A forwarder that closes before it has read the byte resets the connection.
    const auto answer = [&]() -> std::string {
      try {
        return exchange(forwarder.port(), "x");
      } catch (const fiber::ConnectionResetError&) {
        return {};
      }
    };
    CHECK(answer().empty());
    forwarder.stop();
  });
}

TEST_CASE("file_server keeps a connection, and serves nothing outside of its folder") {
  const support::Folder folder;
  folder.make("page", "content");
  asyncio::run([&] {
    const Serving server("file_server", {"0", folder.path()});
    const std::string answer =
        exchange(server.port(),
                 "GET /page HTTP/1.1\r\n\r\nHEAD /page HTTP/1.1\r\n\r\nGET /page HTTP/1.0\r\n\r\n");
    std::size_t count = 0;
    for (std::size_t at = 0; (at = answer.find("200 OK", at)) != std::string::npos; ++at) ++count;
    CHECK(count == 3);
    CHECK(answer.ends_with("\r\n\r\ncontent"));
    const auto status = [&](const std::string& request) {
      return exchange(server.port(), request + "\r\n\r\n").substr(9, 3);
    };
    CHECK(status("GET /../../../../etc/passwd HTTP/1.1") == "404");
    CHECK(status("GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1") == "404");
    CHECK(status("GET / HTTP/1.1") == "404");
    CHECK(status("DELETE /page HTTP/1.1") == "405");
    CHECK(status("GET /page SPDY/3") == "400");
    CHECK(status("GET /page HTTP/1.1\r\nRange: bytes=2-3") == "206");
    CHECK(status("GET /page HTTP/1.1\r\nRange: bytes=7-") == "416");
    CHECK(status("GET /page HTTP/1.1\r\nRange: furlongs=1") == "200");
    server.stop();
  });
}

TEST_CASE("tls_echo serves, and talks to who has its certificate") {
  if (!built("tls_echo")) return;
  const support::Folder folder;
  const fs::path here = fs::current_path();
  fs::current_path(folder.path());  // where the certificate is written
  asyncio::run([&] {
    const Serving server("tls_echo", {"serve", "0"});
    const std::string port = server.line().substr(server.line().rfind(' ') + 1);
    const Result result =
        run("tls_echo", {"talk", "localhost", std::to_string(std::stoi(port)), "tls_echo.pem"},
            "one\ntwo\n");
    CHECK(result.status == 0);
    CHECK(result.out == "TLSv1.3, tls_echo\none\ntwo\n");
    CHECK(result.errors.empty());
    server.stop();
  });
  fs::current_path(here);
}

TEST_CASE("Ctrl-C ends a server with a client") {
  std::signal(SIGINT, SIG_DFL);  // a shell in the background has it ignored, in its children too
  const support::Folder folder;
  folder.make("page", "content");
  const fs::path here = fs::current_path();
  fs::current_path(folder.path());
  asyncio::run([&] {
    const auto far = await(asyncio::start_server(
        [](StreamReader&, StreamWriter& writer) { writer.write("hello\n"); }, "127.0.0.1", 0));
    const std::string there = "127.0.0.1:" + std::to_string(far.sockets()[0].port());
    const std::vector<std::vector<std::string>> commands{{"chat_server", "0"},
                                                         {"file_server", "0", folder.path()},
                                                         {"port_forwarder", "0", there},
                                                         {"tls_echo", "serve", "0"}};
    for (const std::vector<std::string>& command : commands) {
      const std::string& name = command[0];
      CAPTURE(name);
      if (!built(name)) continue;
      const Serving server(name, {command.begin() + 1, command.end()});
      auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", server.port()));
      writer.write("GET /page HTTP/1.1\r\n\r\n");
      if (name != "tls_echo") CHECK(!await(reader.readline()).empty());
      CHECK(server.interrupt() == 130);
      writer.close();
    }
    far.close();
    far.close_clients();
    await(far.wait_closed());
  });
  fs::current_path(here);
}

TEST_CASE("file_server hangs up on the client of a file that shrinks") {
  const support::Folder folder;
  folder.make("page", "");
  fs::resize_file(folder / "page", 100'000'000);
  asyncio::run([&] {
    const Serving server("file_server", {"0", folder.path()});
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", server.port()));
    writer.write("GET /page HTTP/1.1\r\n\r\n");
    await(reader.readuntil("\r\n\r\n"));
    fs::resize_file(folder / "page", 0);
    CHECK(await(reader.read()).size() < 100'000'000);
    writer.close();
    CHECK(server.next_line().find("the file has shrunk") != std::string::npos);
    server.stop();
  });
}

TEST_CASE("file_server's log has one line for each request, whatever the client sends") {
  const support::Folder folder;
  asyncio::run([&] {
    const Serving server("file_server", {"0", folder.path()});
    exchange(server.port(), "G\x1bT /a%0a127.0.0.1%1b[2J\xff%25 HTTP/1.1\r\n\r\n");
    CHECK(
        server.next_line().ends_with(" G%1BT /a%0A127.0.0.1%1B[2J%FF%25 405 Method Not Allowed\n"));
    server.stop();
  });
}

TEST_CASE("tls_echo serves only if others can have its certificate") {
  if (!built("tls_echo")) return;
  const support::Folder folder;
  fs::create_directory(folder / "tls_echo.pem");
  const fs::path here = fs::current_path();
  fs::current_path(folder.path());
  asyncio::run([] {
    const Result result = run("tls_echo", {"serve", "0"});
    CHECK(result.status == 1);
    CHECK(result.errors == "tls_echo: [Errno 21] Is a directory: tls_echo.pem\n");
  });
  fs::current_path(here);
}

TEST_CASE("send_mail says what is wrong with the file of the password") {
  if (!built("send_mail")) return;
  asyncio::run([] {
    const auto errors = [](const std::string& file) {
      const Result result = run("send_mail", {"--server", "127.0.0.1:1", "--from", "a@b", "--to",
                                              "a@b", "--user", "a", "--password-file", file});
      CHECK(result.status == 1);
      return result.errors;
    };
    CHECK(errors("/nowhere") == "send_mail: [Errno 2] No such file or directory: /nowhere\n");
    CHECK(errors("/") == "send_mail: [Errno 21] Is a directory: /\n");
    CHECK(errors("/dev/null") == "send_mail: /dev/null is empty: a password is expected\n");
  });
}

TEST_CASE("chat_server keeps a guest who sends an empty line, and no guest who never reads") {
  asyncio::run([] {
    const Serving server("chat_server", {"0"});
    const auto [silent, unread] = await(asyncio::open_connection("127.0.0.1", server.port()));
    unread.write("Ada\n");
    await(silent.readuntil("Ada is here\n"));
    auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", server.port()));
    writer.write("Bob\n\n");
    CHECK(await(reader.readline()) == "Your name?\n");
    CHECK(await(reader.readline()) == "* Bob is here\n");
    const std::string text(60'000, 'x');
    std::string heard;
    for (int i = 0; i < 1000 && heard != "* Ada has left\n"; ++i) {
      writer.write(text + "\n");
      heard = await(reader.readline());
    }
    CHECK(heard == "* Ada has left\n");
    unread.transport().abort();
    writer.close();
    server.stop();
  });
}

TEST_CASE("crawler's status tells whether the first page was there") {
  if (!built("crawler")) return;
  asyncio::run([] {
    CHECK(run("crawler", {"http://127.0.0.1:1/"}).status == 1);
    CHECK(run("crawler", {"nonsense"}).status == 1);
  });
}

TEST_CASE("notes_server takes a form only as a form") {
  if (!built("notes_server")) return;
  asyncio::run([] {
    const Serving server("notes_server", {"0"});
    const auto status = [&](const std::string& type) {
      const std::string head = "POST /notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
      return exchange(server.port(),
                      head + "Content-Type: " + type + "\r\nContent-Length: 8\r\n\r\ntext=foo")
          .substr(9, 3);
    };
    CHECK(status("text/plain") == "415");
    CHECK(status("application/x-www-form-urlencoded") == "303");
    server.stop();
  });
}
