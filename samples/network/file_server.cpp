// file_server: the files of a folder over HTTP, sent by sendfile(2), with ranges.
//
// Without arguments it shows itself: it serves a folder of its own, and asks for the files in it.
#include <fiber/asyncio.hpp>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/command_line.hpp"
#include "support/serve_until_interrupted.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::StreamReader;
using asyncio::StreamWriter;

namespace {

constexpr const char* kUsage =
    R"(file_server [--bind ADDRESS] [PORT [FOLDER]]

Serves the files of FOLDER (this one) at PORT (8000), at 127.0.0.1 unless told otherwise: GET and
HEAD, one range of bytes at a time. Links that lead out of the folder are followed nowhere. Prints a
line for each request. Without arguments it shows itself.
)";

// Answered in place of a file.
struct Status {
  int code;
  const char* reason;
};

struct Request {
  std::string method;
  std::string path;   // decoded
  std::string range;  // what stands behind "bytes="
  bool keep_alive = true;
};

struct Part {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned code = 0;
    if (text[at] == '%' && at + 2 < text.size() &&
        std::from_chars(&text[at + 1], &text[at + 1] + 2, code, 16).ptr == &text[at + 1] + 2) {
      plain += static_cast<char>(code);
      at += 2;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// For the log: a client must not write lines of its own into it, or move a terminal's cursor.
std::string printable(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string plain;
  for (const char c : text) {
    if (c > ' ' && c < 0x7f && c != '%') {
      plain += c;
    } else {
      const auto code = static_cast<unsigned char>(c);
      plain += {'%', kDigits[code / 16], kDigits[code % 16]};
    }
  }
  return plain;
}

// Nothing at the end of the connection. Throws Status.
std::optional<Request> read_request(const StreamReader& reader) {
  std::string head;
  try {
    head = await(asyncio::wait_for(reader.readuntil("\r\n\r\n"), 30s));
  } catch (const asyncio::IncompleteReadError&) {
    return std::nullopt;
  } catch (const asyncio::LimitOverrunError&) {
    throw Status{431, "Request Header Fields Too Large"};
  }
  std::istringstream lines(head);
  Request request;
  std::string target;
  std::string version;
  lines >> request.method >> target >> version;
  if (!version.starts_with("HTTP/1.")) throw Status{400, "Bad Request"};
  request.keep_alive = version != "HTTP/1.0";
  request.path = decoded(target.substr(0, target.find('?')));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line != "\r") {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) throw Status{400, "Bad Request"};
    const std::string name = lower(line.substr(0, colon));
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    const std::string value =
        begin < line.size() ? lower(line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin))
                            : "";
    if (name == "connection" && value == "close") request.keep_alive = false;
    if (name == "range" && value.starts_with("bytes=")) request.range = value.substr(6);
    // A body would be taken for the next request.
    if (name == "content-length" || name == "transfer-encoding") request.keep_alive = false;
  }
  return request;
}

// "5-9", "5-", "-3" of a file of that size; nothing: all of it. Throws Status.
std::optional<Part> part_of(const std::string& range, std::int64_t size) {
  const std::size_t dash = range.find('-');
  if (dash == std::string::npos || range.find(',') != std::string::npos) return std::nullopt;
  const auto read = [](std::string_view text) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
  };
  const auto first = read(std::string_view(range).substr(0, dash));
  const auto last = read(std::string_view(range).substr(dash + 1));
  if (dash == 0 && !last) return std::nullopt;
  if ((dash > 0 && !first) || (dash + 1 < range.size() && !last)) return std::nullopt;
  Part part;
  part.first = dash == 0 ? std::max<std::int64_t>(0, size - *last) : *first;
  const std::int64_t end = dash == 0 || !last || *last >= size ? size : *last + 1;
  if (part.first >= size || part.first >= end) throw Status{416, "Range Not Satisfiable"};
  part.count = end - part.first;
  return part;
}

class FileServer {
 public:
  explicit FileServer(const std::string& folder, bool quiet = false)
      : root_(std::filesystem::canonical(folder)), quiet_(quiet) {
    if (!std::filesystem::is_directory(root_)) raise_os_error(ENOTDIR, folder);
  }

  void serve(const StreamReader& reader, const StreamWriter& writer) const {
    try {
      while (answer_one(reader, writer)) {
      }
    } catch (const OSError& error) {
      say(writer, error.what());  // the client has left, or takes too long
    }
    writer.close();
  }

 private:
  bool answer_one(const StreamReader& reader, const StreamWriter& writer) const {
    Request request;
    try {
      std::optional<Request> read = read_request(reader);
      if (!read) return false;
      request = *std::move(read);
      if (request.method != "GET" && request.method != "HEAD")
        throw Status{405, "Method Not Allowed"};
      if (!send_file(request, writer)) return false;
    } catch (const Status& status) {
      const std::string text = std::to_string(status.code) + " " + status.reason;
      say(writer, printable(request.method) + " " + printable(request.path) + " " + text);
      writer.write("HTTP/1.1 " + text + "\r\nContent-Type: text/plain\r\nContent-Length: " +
                   std::to_string(text.size() + 1) + "\r\nConnection: close\r\n\r\n" +
                   (request.method == "HEAD" ? "" : text + "\n"));
      return false;
    }
    return request.keep_alive;
  }

  // Returns false if less was sent than announced: only the end of the connection tells the client.
  bool send_file(const Request& request, const StreamWriter& writer) const {
    struct stat found {};
    const Descriptor file(open(request.path, found));
    const std::optional<Part> asked = part_of(request.range, found.st_size);
    const Part part = asked.value_or(Part{0, found.st_size});
    std::string head = asked ? "HTTP/1.1 206 Partial Content\r\n" : "HTTP/1.1 200 OK\r\n";
    head += "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\nContent-Length: " +
            std::to_string(part.count) + "\r\n";
    if (asked)
      head += "Content-Range: bytes " + std::to_string(part.first) + "-" +
              std::to_string(part.first + part.count - 1) + "/" + std::to_string(found.st_size) +
              "\r\n";
    if (!request.keep_alive) head += "Connection: close\r\n";
    writer.write(head + "\r\n");
    const std::int64_t wanted = request.method == "GET" ? part.count : 0;
    std::int64_t sent = 0;
    if (wanted > 0)
      sent = static_cast<std::int64_t>(await(asyncio::get_running_loop().sendfile(
          writer.transport(), file.get(), {.offset = part.first, .count = wanted})));
    await(writer.drain());
    say(writer, request.method + " " + printable(request.path) + " " + std::to_string(sent) +
                    (sent < wanted ? " bytes: the file has shrunk" : " bytes"));
    return sent == wanted;
  }

  // Throws Status.
  int open(const std::string& path, struct stat& found) const {
    std::error_code error;
    const std::filesystem::path file = std::filesystem::canonical(
        root_ / path.substr(path.find_first_not_of('/') != path.npos ? path.find_first_not_of('/')
                                                                     : path.size()),
        error);
    const auto [end, unused] = std::mismatch(root_.begin(), root_.end(), file.begin(), file.end());
    if (error || path.find('\0') != path.npos || end != root_.end()) throw Status{404, "Not Found"};
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
      throw Status{errno == EACCES ? 403 : 404, errno == EACCES ? "Forbidden" : "Not Found"};
    if (::fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) return fd;
    ::close(fd);
    throw Status{404, "Not Found"};
  }

  void say(const StreamWriter& writer, const std::string& line) const {
    if (!quiet_) std::cout << writer.peername().text() << ' ' << line << std::endl;
  }

  std::filesystem::path root_;
  bool quiet_;
};

void serve(const std::string& address, int port, const std::string& folder) {
  const FileServer files(folder);
  const auto server = await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) { files.serve(reader, writer); }, address,
      port));
  for (const asyncio::Socket& socket : server.sockets())
    std::cout << "serving " << folder << " at http://" << socket.getsockname().text() << std::endl;
  serve_until_interrupted(server);
}

// The status and the body.
std::string get(int port, const std::string& path, const std::string& more = "") {
  auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
  writer.write("GET " + path + " HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + more + "\r\n");
  const std::string answer = await(reader.read());
  writer.close();
  const std::string body = answer.substr(answer.find("\r\n\r\n") + 4);
  return answer.substr(9, 3) + " " +
         (body.size() > 40 ? std::to_string(body.size()) + " bytes"
                           : body.substr(0, body.find('\n')));
}

void show() {
  std::string folder = (std::filesystem::temp_directory_path() / "file_server-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) raise_os_error(errno, folder);
  std::ofstream(folder + "/hello world") << "Hello!\n";
  std::ofstream(folder + "/large") << std::string(3'000'000, 'x');
  std::filesystem::create_symlink("/etc/passwd", folder + "/out");
  const FileServer files(folder, true);
  const auto server = await(asyncio::start_server(
      [&](StreamReader& reader, StreamWriter& writer) { files.serve(reader, writer); }, "127.0.0.1",
      0));
  const int port = server.sockets()[0].port();
  std::cout << get(port, "/hello%20world") << '\n'
            << get(port, "/large") << '\n'
            << get(port, "/hello%20world", "Range: bytes=1-3\r\n") << '\n'
            << get(port, "/hello%20world", "Range: bytes=-3\r\n") << '\n'
            << get(port, "/hello%20world", "Range: bytes=100-\r\n") << '\n'
            << get(port, "/none") << '\n'
            << get(port, "/../../etc/passwd") << '\n'
            << get(port, "/out") << '\n';
  server.close();
  await(server.wait_closed());
  std::filesystem::remove_all(folder);
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::run(argc, argv, kUsage, [&] {
    const command_line::Arguments given(argc, argv, {"--bind"});
    if (argc == 1) {
      asyncio::run(show);
      return 0;
    }
    if (given.rest.size() > 2) throw command_line::UsageError("PORT and FOLDER are expected");
    const int port = given.rest.empty() ? 8000 : command_line::port(given.rest[0]);
    const std::string folder = given.rest.size() == 2 ? given.rest[1] : ".";
    asyncio::run([&] { serve(given.get("--bind", "127.0.0.1"), port, folder); });
    return 0;
  });
}
