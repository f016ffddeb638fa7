// A small HTTP/1.1 server with many faults, for tests of HTTP clients.
//
// Plain blocking sockets, a thread per connection, a port of 127.0.0.1 chosen by the system. The
// destructor ends every answer in progress and joins every thread.
//
//   /fixed              "hello", text/plain
//   /continue           the same, after an interim answer (100)
//   /bytes/N            N bytes, byte i being body_byte(i)
//   /status/N           status N with the reason of HTTP and the body "status N"
//   /redirect/N         N redirects (302), then /fixed
//   /redirect-as/N?URL  one redirect with status N to URL
//   /loop               a redirect to itself
//   /gzip               gzip_text(), compressed
//   /bad-gzip           Content-Encoding: gzip, and it is not
//   /chunked            "one two three" in three chunks, with a trailer
//   /slow/N             N bytes, a pause of 5 ms before each
//   /pieces/N           N bytes, each sent when release() allows one more
//   /dropped            half of the promised body, then the end of the connection
//   /dropped-chunk      the same within a chunk
//   /resumable/N        the first half of N bytes, then the end of the connection; with Range, the
//                       bytes from there on
//   /no-answer          the end of the connection
//   /silent             nothing, until the client goes away
//   /stalled            the head and 5 of 10 bytes, then nothing, until the client goes away
//   /gate/N             answers once N requests are at the gate together
//   /echo               the request: method, target, headers, an empty line, body
//   /header-twice       X-Twice: 1 and X-Twice: 2
//   /set-cookie?a=b     Set-Cookie: a=b
//   /garbage            something else than HTTP
//
// and what a test gives it with answer_with().
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {

class HttpServer {
 public:
  HttpServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || ::bind(listener_, any, size) || ::listen(listener_, 1024) ||
        ::getsockname(listener_, any, &size))
      throw std::runtime_error("no listening socket");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const int client : clients_) ::shutdown(client, SHUT_RDWR);
      ::shutdown(listener_, SHUT_RDWR);
      changed_.notify_all();
    }
    acceptor_.join();
    for (auto& worker : workers_) worker.join();
    ::close(listener_);
  }

  int port() const noexcept { return port_; }
  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
  }
  // Returns a port of this machine without a listener.
  static int unused_port() {
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    const bool bound = ::bind(probe, any, size) == 0 && ::getsockname(probe, any, &size) == 0;
    ::close(probe);
    if (!bound) throw std::runtime_error("no port");
    return ntohs(address.sin_port);
  }

  static char body_byte(std::size_t i) { return static_cast<char>('a' + i % 23); }
  static std::string body(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = body_byte(i);
    return bytes;
  }
  static std::string gzip_text() { return "compressed, and none the worse for it"; }

  // The counts so far.
  int connections() const { return connections_; }  // accepted
  int requests() const { return requests_; }        // read to their end
  int open() const { return open_; }                // connections that exist now
  int most_active() const { return most_active_; }  // requests being answered at the same time
  std::size_t sent() const { return sent_; }        // bytes of bodies handed to the system

  // Answers at `path`, whatever its query, with `bytes` unchanged. Closes the connection after
  // them, unless `keep` is set; `pause` milliseconds come before each byte of `slowly`, which is
  // sent after `bytes`.
  struct Canned {
    std::string bytes;
    std::string slowly = {};
    int pause = 0;
    bool keep = false;
  };
  void answer_with(const std::string& path, Canned answer) {
    const std::lock_guard lock(mutex_);
    canned_[path] = std::move(answer);
  }
  // Answers in turn, one answer for each request; the last answer is for all further requests.
  void answer_in_turn(const std::string& path, std::vector<Canned> answers) {
    const std::lock_guard lock(mutex_);
    turns_[path] = std::move(answers);
  }
  // Returns every request so far: method, target, header lines and body.
  std::vector<std::string> received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }

  // Lets /pieces/N send `count` more bytes.
  void release(int count) {
    const std::lock_guard lock(mutex_);
    released_ += count;
    changed_.notify_all();
  }
  // Waits until `condition()`, which reads the counters, holds; false after ten seconds.
  template <class Condition>
  bool wait_until(Condition condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

 private:
  struct Request {
    std::string method, target, head, body;
    // For the target "/bytes/12?x": the number between `prefix` and the query.
    bool is(std::string_view prefix) const { return target.starts_with(prefix); }
    long number(std::string_view prefix) const {
      return std::strtol(target.c_str() + prefix.size(), nullptr, 10);
    }
    std::string query() const {
      const auto mark = target.find('?');
      return mark == target.npos ? "" : target.substr(mark + 1);
    }
  };
  struct Gone {};  // the client has left, or the server is stopping

  static sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void accept_all() {
    for (;;) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const std::lock_guard lock(mutex_);
      if (stopping_ || client < 0) {
        if (client >= 0) ::close(client);
        if (stopping_) return;
        continue;
      }
      const int on = 1;
      ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      clients_.insert(client);
      ++connections_;
      ++open_;
      workers_.emplace_back([this, client] { serve(client); });
    }
  }

  void serve(int client) {
    try {
      for (std::string input;;) {
        const Request request = read_request(client, input);
        {
          const std::lock_guard lock(mutex_);
          received_.push_back(request.method + " " + request.target + "\r\n" + request.head +
                              "\r\n" + request.body);
        }
        ++requests_;
        const int active = ++active_;
        for (int most = most_active_; most < active;)
          if (most_active_.compare_exchange_weak(most, active)) break;
        bool keep = false;
        try {
          keep = answer(client, request);
        } catch (const Gone&) {
        }
        --active_;
        if (!keep) break;
      }
    } catch (const Gone&) {
    }
    const std::lock_guard lock(mutex_);
    clients_.erase(client);
    ::close(client);
    --open_;
    changed_.notify_all();
  }

  static std::string receive(int client) {
    std::array<char, 16384> block;
    const ssize_t size = ::recv(client, block.data(), block.size(), 0);
    if (size <= 0) throw Gone();
    return {block.data(), static_cast<std::size_t>(size)};
  }

  static Request read_request(int client, std::string& input) {
    std::size_t end;
    while ((end = input.find("\r\n\r\n")) == input.npos) {
      input += receive(client);
      if (input[0] == 0x16) throw Gone();  // TLS
    }
    Request request;
    request.head = input.substr(0, end + 2);
    input.erase(0, end + 4);
    const auto space = request.head.find(' ');
    request.method = request.head.substr(0, space);
    request.target = request.head.substr(space + 1, request.head.find(' ', space + 1) - space - 1);
    request.head.erase(0, request.head.find("\r\n") + 2);
    if (const auto at = request.head.find("Content-Length: "); at != request.head.npos) {
      const auto length = std::strtoul(request.head.c_str() + at + 16, nullptr, 10);
      while (input.size() < length) input += receive(client);
      request.body = input.substr(0, length);
      input.erase(0, length);
    }
    if (request.head.find("Transfer-Encoding: chunked") != request.head.npos) {
      const auto take = [&](std::size_t size) {
        while (input.size() < size) input += receive(client);
        std::string bytes = input.substr(0, size);
        input.erase(0, size);
        return bytes;
      };
      for (;;) {
        std::string line;
        while (!line.ends_with("\r\n")) line += take(1);
        const auto size = std::strtoul(line.c_str(), nullptr, 16);
        request.body += take(size);
        take(2);
        if (size == 0) break;
      }
    }
    return request;
  }

  void send(int client, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t size = ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) throw Gone();
      bytes.remove_prefix(static_cast<std::size_t>(size));
    }
  }
  void send_body(int client, std::string_view bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += 65536) {
      const auto piece = bytes.substr(at, 65536);
      send(client, piece);
      sent_ += piece.size();
    }
  }
  void send_head(int client, int status, const std::string& fields) {
    send(client,
         "HTTP/1.1 " + std::to_string(status) + " " + reason(status) + "\r\n" + fields + "\r\n");
  }
  bool send_all(int client, const Request& request, int status, const std::string& body,
                const std::string& fields = "Content-Type: text/plain\r\n") {
    send_head(client, status, fields + "Content-Length: " + std::to_string(body.size()) + "\r\n");
    if (request.method != "HEAD") send_body(client, body);
    return true;
  }

  static std::string reason(int status) {
    static const std::map<int, std::string> reasons{{100, "Continue"},
                                                    {200, "OK"},
                                                    {201, "Created"},
                                                    {204, "No Content"},
                                                    {206, "Partial Content"},
                                                    {301, "Moved Permanently"},
                                                    {302, "Found"},
                                                    {303, "See Other"},
                                                    {307, "Temporary Redirect"},
                                                    {403, "Forbidden"},
                                                    {404, "Not Found"},
                                                    {500, "Internal Server Error"},
                                                    {503, "Service Unavailable"}};
    const auto found = reasons.find(status);
    return found == reasons.end() ? "Unknown" : found->second;
  }

  // Returns one stored block: compression is not tested.
  static std::string gzip(const std::string& text) {
    std::uint32_t crc = ~0u;
    for (const unsigned char c : text) {
      crc ^= c;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    }
    const auto number = [](std::uint32_t value, int bytes) {
      std::string out;
      for (; bytes > 0; --bytes, value >>= 8) out += static_cast<char>(value);
      return out;
    };
    const auto size = static_cast<std::uint32_t>(text.size());
    return std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff\x01", 11) + number(size, 2) +
           number(~size, 2) + text + number(~crc, 4) + number(size, 4);
  }

  void wait_for_the_end(int client) {
    for (;;) receive(client);
  }

  // Answers with a test's own answer and returns whether to keep the connection; nullopt if there
  // is none.
  std::optional<bool> answer_as_told(int client, const Request& request) {
    std::unique_lock lock(mutex_);
    const std::string path = request.target.substr(0, request.target.find('?'));
    if (const auto turn = turns_.find(path); turn != turns_.end()) {
      canned_[path] = turn->second.front();
      if (turn->second.size() > 1) turn->second.erase(turn->second.begin());
    }
    const auto found = canned_.find(path);
    if (found == canned_.end()) return std::nullopt;
    const Canned canned = found->second;
    lock.unlock();
    send(client, canned.bytes);
    for (const char c : canned.slowly) {
      lock.lock();
      changed_.wait_for(lock, std::chrono::milliseconds(canned.pause),
                        [this] { return stopping_; });
      lock.unlock();
      send(client, {&c, 1});
    }
    return canned.keep;
  }

  // Returns false to close the connection.
  bool answer(int client, const Request& request) {
    if (const auto told = answer_as_told(client, request)) return *told;
    const auto all = [&](int status, const std::string& body, const std::string& fields) {
      return send_all(client, request, status, body, fields);
    };
    const auto redirect = [&](int status, const std::string& location) {
      return all(status, "elsewhere", "Location: " + location + "\r\n");
    };
    if (request.is("/fixed")) return send_all(client, request, 200, "hello");
    if (request.is("/continue")) {
      send_head(client, 100, "X-Interim: 1\r\n");
      return send_all(client, request, 200, "hello");
    }
    if (request.is("/bytes/")) return all(200, body(request.number("/bytes/")), "");
    if (request.is("/status/")) {
      const auto status = static_cast<int>(request.number("/status/"));
      return send_all(client, request, status, "status " + std::to_string(status));
    }
    if (request.is("/redirect/")) {
      const long left = request.number("/redirect/");
      return redirect(302, left > 1 ? "/redirect/" + std::to_string(left - 1) : "/fixed");
    }
    if (request.is("/redirect-as/"))
      return redirect(static_cast<int>(request.number("/redirect-as/")), request.query());
    if (request.is("/loop")) return redirect(302, "/loop");
    if (request.is("/gzip")) return all(200, gzip(gzip_text()), "Content-Encoding: gzip\r\n");
    if (request.is("/bad-gzip")) return all(200, "not so", "Content-Encoding: gzip\r\n");
    if (request.is("/chunked")) {
      send_head(client, 200, "Transfer-Encoding: chunked\r\n");
      for (const char* chunk : {"4\r\none \r\n", "4\r\ntwo \r\n", "5\r\nthree\r\n"})
        send(client, chunk);
      send(client, "0\r\nX-Trailer: 1\r\n\r\n");
      return true;
    }
    if (request.is("/slow/"))
      return drip(client, request.number("/slow/"), [this] {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(5), [this] { return stopping_; });
      });
    if (request.is("/pieces/"))
      return drip(client, request.number("/pieces/"), [this] {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || released_ > 0; });
        --released_;
      });
    if (request.is("/resumable/")) return resume(client, request);
    if (request.is("/dropped-chunk")) {
      send_head(client, 200, "Transfer-Encoding: chunked\r\n");
      send(client, "a\r\nhalf");
      return false;
    }
    if (request.is("/dropped")) {
      send_head(client, 200, "Content-Length: 10\r\n");
      send(client, "hello");
      return false;
    }
    if (request.is("/no-answer")) return false;
    if (request.is("/silent")) wait_for_the_end(client);
    if (request.is("/stalled")) {
      send_head(client, 200, "Content-Length: 10\r\n");
      send(client, "hello");
      wait_for_the_end(client);
    }
    if (request.is("/gate/")) {
      std::unique_lock lock(mutex_);
      if (++at_gate_ >= request.number("/gate/")) gate_open_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return stopping_ || gate_open_; });
      lock.unlock();
      return send_all(client, request, 200, "through");
    }
    if (request.is("/echo"))
      return send_all(
          client, request, 200,
          request.method + " " + request.target + "\r\n" + request.head + "\r\n" + request.body);
    if (request.is("/header-twice")) return all(200, "", "X-Twice: 1\r\nX-Twice: 2\r\n");
    if (request.is("/set-cookie"))
      return all(200, "", "Set-Cookie: " + request.query() + "; Path=/\r\n");
    if (request.is("/garbage")) {
      send(client, "220 mail.example.com ESMTP\r\n");
      return false;
    }
    return send_all(client, request, 404, "no such page");
  }

  bool resume(int client, const Request& request) {
    const std::string bytes = body(static_cast<std::size_t>(request.number("/resumable/")));
    const std::string size = std::to_string(bytes.size());
    constexpr std::string_view range = "Range: bytes=";
    const auto at = request.head.find(range);
    if (at == request.head.npos) {
      send_head(client, 200, "ETag: \"it\"\r\nContent-Length: " + size + "\r\n");
      send_body(client, std::string_view(bytes).substr(0, bytes.size() / 2));
      return false;
    }
    const auto begin = std::strtoul(request.head.c_str() + at + range.size(), nullptr, 10);
    const std::string rest = bytes.substr(std::min(begin, bytes.size()));
    return send_all(client, request, 206, rest,
                    "ETag: \"it\"\r\nContent-Range: bytes " + std::to_string(begin) + "-" +
                        std::to_string(bytes.size() - 1) + "/" + size + "\r\n");
  }

  template <class Pause>
  bool drip(int client, long count, Pause pause) {
    send_head(client, 200, "Content-Length: " + std::to_string(count) + "\r\n");
    const std::string bytes = body(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      pause();
      send_body(client, std::string_view(bytes).substr(i, 1));
    }
    return true;
  }

  int listener_;
  int port_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::set<int> clients_;
  bool stopping_ = false;
  std::map<std::string, Canned> canned_;
  std::map<std::string, std::vector<Canned>> turns_;
  std::vector<std::string> received_;
  bool gate_open_ = false;
  long at_gate_ = 0;
  int released_ = 0;
  std::atomic<int> connections_{0}, requests_{0}, open_{0}, active_{0}, most_active_{0};
  std::atomic<std::size_t> sent_{0};
};

}  // namespace support
