// send_mail against a server that answers as it expects, and against servers that do not.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "samples/programs.hpp"
#include "support/folder.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;
using support::built;
using support::Result;
using support::run;

namespace {

// Takes letters without TLS, and notes the commands that it gets.
asyncio::Server mail_server(std::string& got) {
  return await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) {
        writer.write("220 here\r\n");
        for (std::string line; !(line = await(reader.readline())).empty();) {
          got += line;
          const bool data = line == "DATA\r\n";
          writer.write(data ? "354 go on\r\n" : "250 ok\r\n");
          if (data) got += await(reader.readuntil("\r\n.\r\n"));
          if (data) writer.write("250 taken\r\n");
        }
        writer.close();
      },
      "127.0.0.1", 0));
}

std::vector<std::string> letter_to(const asyncio::Server& server) {
  return {"--server",  "127.0.0.1:" + std::to_string(server.sockets()[0].port()),
          "--from",    "a@example.org",
          "--to",      "b@example.org",
          "--subject", "x"};
}

void end(const asyncio::Server& server) {
  server.close();
  server.close_clients();
  await(server.wait_closed());
}

}  // namespace

TEST_CASE("send_mail sends no password where there is no TLS") {
  if (!built("send_mail")) return;
  const support::Folder folder;
  folder.make("password", "secret\n");
  asyncio::run([&] {
    std::string got;
    const auto server = mail_server(got);
    std::vector<std::string> arguments = letter_to(server);
    const Result refused = run("send_mail", arguments, "hello\n");
    CHECK(refused.status == 1);
    CHECK(refused.errors.find("the server has no STARTTLS") != std::string::npos);
    arguments.emplace_back("--plain");
    CHECK(run("send_mail", arguments, ".hello\nend").status == 0);
    CHECK(
        got.find("From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\n\r\n..hello\r\nend\r\n"
                 ".\r\nQUIT\r\n") != std::string::npos);
    got.clear();
    arguments.insert(arguments.end(), {"--user", "ada", "--password-file", folder / "password"});
    CHECK(run("send_mail", arguments, "x\n").status == 1);
    CHECK(got.find("AUTH") == std::string::npos);
    end(server);
  });
}

// The letter is what smtplib of CPython 3.13 makes of these lines.
TEST_CASE("send_mail ends every line by CR LF, so that no server sees a command in a letter") {
  if (!built("send_mail")) return;
  asyncio::run([] {
    std::string got;
    const auto server = mail_server(got);
    std::vector<std::string> arguments = letter_to(server);
    arguments.emplace_back("--plain");
    CHECK(run("send_mail", arguments, "hi\r.\rMAIL FROM:<evil@x>\n\r\n\r\r\n.a\n\rb\r").status ==
          0);
    CHECK(
        got.ends_with("\r\n\r\nhi\r\n..\r\nMAIL FROM:<evil@x>\r\n\r\n\r\n\r\n..a\r\n\r\nb\r\n"
                      ".\r\nQUIT\r\n"));
    end(server);
  });
}

TEST_CASE("send_mail reads no reply without an end") {
  if (!built("send_mail")) return;
  const std::pair<std::string, const char*> replies[] = {
      {"250-x\r\n", "the server's reply does not end: more than 100 lines or 65536 bytes"},
      {"250-" + std::string(5000, 'x') + "\r\n",
       "the server's reply does not end: more than 100 lines or 65536 bytes"},
      {"250-" + std::string(100'000, 'x'),
       "the server's reply has a line of more than 8192 bytes"}};
  for (const auto& [piece, text] : replies)
    asyncio::run([&, &piece = piece, &text = text] {
      const auto server = await(asyncio::start_server(
          [&](StreamReader&, StreamWriter& writer) {
            for (int i = 0; i < 1000 && !writer.is_closing(); ++i) {
              writer.write(piece);
              await(writer.drain());
            }
            writer.close();
          },
          "127.0.0.1", 0));
      asyncio::get_running_loop().set_exception_handler(
          [](const asyncio::EventLoop&, const asyncio::ExceptionContext&) {});  // hung up on
      const Result result = run("send_mail", letter_to(server), "hello\n");
      CHECK(result.status == 1);
      CHECK(result.errors == "send_mail: " + std::string(text) + "\n");
      end(server);
    });
}
