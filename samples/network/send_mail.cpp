// send_mail: hands a letter to an SMTP server, over TLS by STARTTLS.
//
// Without arguments it shows itself: a server in the same loop shows the letter that it has got.
#include <fiber/asyncio.hpp>
#include <fiber/ssl.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support/command_line.hpp"
#include "support/identity.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;

namespace {

constexpr const char* kUsage =
    R"(send_mail --server HOST[:PORT] --from ADDRESS --to ADDRESS [OPTIONS] < LETTER

  --to ADDRESS          may be given several times
  --subject TEXT        a header is put before the letter; without, the letter has its own
  --user NAME           to log in with a password, which is
  --password-file FILE  the first line of this file
  --cafile FILE         whom to trust, in place of what this machine does
  --plain               also without TLS, where the server has none (no password is sent then)

PORT is 587 unless told otherwise. Status 1: the server has not taken the letter. Without arguments
it shows itself.
)";

// The server has refused a command.
class SMTPResponseError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

struct Letter {
  std::string from;
  std::vector<std::string> to;
  std::string text;
};

struct Login {
  std::string user;
  std::string password;
};

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    unsigned three = 0;
    for (std::size_t i = 0; i < 3; ++i)
      three =
          three << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    for (unsigned i = 0; i < 4; ++i)
      text += at + i > bytes.size() ? '=' : kLetters[three >> (18 - 6 * i) & 63U];
  }
  return text;
}

// Lines end by CR LF, and one that begins with a dot gets another: RFC 5321, section 4.5.2. A bare
// CR or LF ends a line as well: were it sent as it is, some servers would take the text behind it
// for another line, and others not.
std::string on_the_wire(std::string_view text) {
  std::string wire;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    if (!text.empty()) text.remove_prefix(text.starts_with("\r\n") ? 2 : 1);
    if (line.starts_with('.')) wire += '.';
    wire += line;
    wire += "\r\n";
  }
  return wire + ".\r\n";
}

// A session as a client. Throws SMTPResponseError, OSError, ssl::SSLError.
class SMTP {
 public:
  SMTP(const std::string& host, int port)
      : host_(host),
        connection_(await(asyncio::open_connection(host, port, {.limit = kLongestLine}))) {
    expect("2", "");
    greet();
  }
  bool has(std::string_view extension) const {
    return features_.find("-" + std::string(extension)) != std::string::npos ||
           features_.find(" " + std::string(extension)) != std::string::npos;
  }
  void starttls(const ssl::SSLContext& context) {
    command("STARTTLS", "2");
    await(writer().start_tls(context, {.server_hostname = host_, .ssl_handshake_timeout = 30s}));
    greet();  // earlier replies may have been anybody's
  }
  void login(const Login& login) {
    command("AUTH PLAIN " + base64('\0' + login.user + '\0' + login.password), "2");
  }
  void send(const Letter& letter) {
    command("MAIL FROM:<" + letter.from + ">", "2");
    for (const std::string& to : letter.to) command("RCPT TO:<" + to + ">", "2");
    command("DATA", "3");
    writer().write(on_the_wire(letter.text));
    await(writer().drain());
    expect("2", "the letter");
  }
  void quit() {
    command("QUIT", "2");
    writer().close();
  }

 private:
  static constexpr std::size_t kLongestLine = 8192;
  static constexpr std::size_t kLongestReply = 65536;
  static constexpr int kMostLines = 100;

  const StreamReader& reader() const { return connection_.first; }
  const StreamWriter& writer() const { return connection_.second; }

  void greet() {
    char name[256] = "localhost";
    ::gethostname(name, sizeof name - 1);
    features_ = command("EHLO " + std::string(name), "2");
  }
  std::string command(const std::string& line, std::string_view wanted) {
    writer().write(line + "\r\n");
    return expect(wanted, line.substr(0, line.find(' ')));
  }
  std::string reply_line() {
    try {
      return await(asyncio::wait_for(reader().readline(), 60s));
    } catch (const ValueError&) {
      throw ConnectionError("the server's reply has a line of more than " +
                            std::to_string(kLongestLine) + " bytes");
    }
  }
  // "250-..." is followed by more lines, "250 ..." is the last.
  std::string reply() {
    std::string all;
    for (int lines = 0; lines < kMostLines && all.size() < kLongestReply; ++lines) {
      const std::string line = reply_line();
      if (line.size() < 4) throw ConnectionError("the server has hung up");
      all += line;
      if (line[3] != '-') return all;
    }
    throw ConnectionError("the server's reply does not end: more than " +
                          std::to_string(kMostLines) + " lines or " +
                          std::to_string(kLongestReply) + " bytes");
  }
  std::string expect(std::string_view wanted, const std::string& command) {
    std::string all = reply();
    if (!all.starts_with(wanted))
      throw SMTPResponseError("the server says to " + (command.empty() ? "us" : command) + ": " +
                              all.substr(0, all.find_last_not_of("\r\n") + 1));
    return all;
  }

  std::string host_;
  asyncio::StreamPair connection_;
  std::string features_;
};

void send(const std::string& host, int port, const Letter& letter,
          const std::optional<Login>& login, const ssl::SSLContext& context, bool plain) {
  SMTP server(host, port);
  if (server.has("STARTTLS"))
    server.starttls(context);
  else if (!plain)
    throw SMTPResponseError("the server has no STARTTLS: --plain sends the letter all the same");
  else if (login)
    throw SMTPResponseError("the server has no STARTTLS: the password is not sent");
  if (login) server.login(*login);
  server.send(letter);
  server.quit();
}

// Returns the address; refuses one that would end the command, or bring in another.
const std::string& checked(const std::string& address) {
  if (address.find_first_of("\r\n<> ") != std::string::npos || address.empty())
    throw command_line::UsageError("no address: '" + address + "'");
  return address;
}

// --- a server -----------------------------------------------------------------------------------

void receive(const StreamReader& reader, const StreamWriter& writer,
             const ssl::SSLContext& context) {
  bool secure = false;
  writer.write("220 here\r\n");
  for (std::string line; !(line = await(reader.readline())).empty();) {
    line.erase(line.find_last_not_of("\r\n") + 1);
    if (line.starts_with("EHLO")) {
      writer.write(secure ? "250-here\r\n250 AUTH PLAIN\r\n" : "250-here\r\n250 STARTTLS\r\n");
      continue;
    }
    std::cout << "server: " << line << (secure ? "" : " (in the open)") << '\n';
    if (line == "STARTTLS") {
      writer.write("220 go ahead\r\n");
      try {
        await(writer.start_tls(context));
      } catch (const OSError&) {
        return;  // the client does not trust us
      }
      secure = true;
    } else if (line == "DATA") {
      writer.write("354 go ahead\r\n");
      while ((line = await(reader.readline())) != ".\r\n")
        std::cout << "server: | " << line.substr(0, line.size() - 2) << '\n';
      writer.write("250 taken\r\n");
    } else if (line.find("nobody") != std::string::npos) {
      writer.write("550 no such user here\r\n");
    } else {
      writer.write(line == "QUIT" ? "221 bye\r\n" : "250 ok\r\n");
    }
  }
  writer.close();
}

void show() {
  const identity::Identity identity = identity::make_identity("send_mail");
  const ssl::SSLContext context = identity::server_context(identity);
  const auto server = await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) { receive(reader, writer, context); },
      "127.0.0.1", 0));
  const int port = server.sockets()[0].port();
  const ssl::SSLContext trusting =
      ssl::create_default_context(ssl::Purpose::SERVER_AUTH, {.cadata = identity.certificate});
  Letter letter{.from = "ada@example.org",
                .to = {"bob@example.org"},
                .text = "Subject: lunch\n\nAt one?\n.. or two\n"};
  send("127.0.0.1", port, letter, Login{"ada", "secret"}, trusting, false);
  letter.to.emplace_back("nobody@example.org");
  try {
    send("127.0.0.1", port, letter, std::nullopt, trusting, false);
  } catch (const SMTPResponseError& error) {
    std::cout << error.what() << '\n';
  }
  try {
    send("127.0.0.1", port, letter, std::nullopt, ssl::create_default_context(), false);
  } catch (const ssl::SSLCertVerificationError& error) {
    std::cout << "not trusted: " << error.verify_message() << '\n';
  }
  server.close();
  server.close_clients();
  await(server.wait_closed());
}

std::string first_line(const std::string& path) {
  if (std::filesystem::is_directory(path)) raise_os_error(EISDIR, path);
  std::ifstream file(path);
  if (!file) raise_os_error(errno, path);
  std::string line;
  if (!std::getline(file, line)) throw RuntimeError(path + " is empty: a password is expected");
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::run(argc, argv, kUsage, [&] {
    const command_line::Arguments given(
        argc, argv,
        {"--server", "--from", "--to", "--subject", "--user", "--password-file", "--cafile"},
        {"--plain"});
    if (argc == 1) {
      asyncio::run(show);
      return 0;
    }
    if (!given.rest.empty()) throw command_line::UsageError("unexpected " + given.rest[0]);
    for (const char* name : {"--server", "--from", "--to"})
      if (!given.has(name)) throw command_line::UsageError(std::string(name) + " is missing");
    if (given.has("--user") != given.has("--password-file"))
      throw command_line::UsageError("--user and --password-file go together");
    const auto [host, port] = command_line::host_and_port(*given.get("--server"), 587);
    Letter letter{.from = checked(*given.get("--from")), .to = given.all("--to"), .text = {}};
    for (const std::string& to : letter.to) checked(to);
    std::optional<Login> login;
    if (given.has("--user"))
      login = Login{*given.get("--user"), first_line(*given.get("--password-file"))};
    const auto context = given.has("--cafile")
                             ? ssl::create_default_context(ssl::Purpose::SERVER_AUTH,
                                                           {.cafile = *given.get("--cafile")})
                             : ssl::create_default_context();
    letter.text.assign(std::istreambuf_iterator<char>(std::cin), {});
    if (const auto subject = given.get("--subject")) {
      if (subject->find_first_of("\r\n") != std::string::npos)
        throw command_line::UsageError("--subject is one line");
      std::string to;
      for (const std::string& one : letter.to) to += (to.empty() ? "" : ", ") + one;
      letter.text =
          "From: " + letter.from + "\nTo: " + to + "\nSubject: " + *subject + "\n\n" + letter.text;
    }
    asyncio::run([&, host = host, port = port] {
      send(host, port, letter, login, context, given.has("--plain"));
    });
    return 0;
  });
}
