// The common parts of the hand-written HTTP programs: connections, plain or by OpenSSL alone, and
// clients of one server. An error ends the program.
#pragma once

#include "../echo/socket.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace by_hand {

struct Free {
  void operator()(SSL* ssl) const { ::SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, Free>;

// A connected socket that does not block; with a context, in TLS.
class Stream {
 public:
  Stream(int fd, SSL_CTX* context) : fd_(fd), ssl_(context ? ::SSL_new(context) : nullptr) {
    if (ssl_) ::SSL_set_fd(ssl_.get(), fd);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  }

  // The server's handshake goes on in read(), the client's is complete after connect().
  void accept() {
    if (ssl_) ::SSL_set_accept_state(ssl_.get());
  }
  void connect() {
    if (!ssl_) return;
    ::SSL_set_connect_state(ssl_.get());
    for (int done = 0; (done = ::SSL_do_handshake(ssl_.get())) != 1;)
      echo::check(again(done), "the handshake");
  }

  // Returns the number of bytes, 0 if there are none now, -1 at the end. `dropped`: the bytes of a
  // plain connection need not be copied.
  long read(char* to, std::size_t size, bool dropped = false) {
    if (ssl_) {
      const int got = ::SSL_read(ssl_.get(), to, static_cast<int>(size));
      return got > 0 ? got : again(got) ? 0 : -1;
    }
    const ssize_t got = ::recv(fd_, to, size, dropped ? MSG_TRUNC : 0);
    return got > 0 ? got : got < 0 && errno == EAGAIN ? 0 : -1;
  }
  // What is written is small: the socket has room for it.
  void write(std::string_view data) {
    if (ssl_)
      echo::check(::SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size())) > 0, "write");
    else
      echo::send_all(fd_, data.data(), data.size());
  }
  bool is_tls() const { return ssl_ != nullptr; }

 private:
  bool again(int result) const {
    const int error = ::SSL_get_error(ssl_.get(), result);
    ::ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  int fd_;
  std::unique_ptr<SSL, Free> ssl_;
};

// Connections to http://127.0.0.1:PORT/PATH, or https, which is not verified. Each has one request
// under way at most. All answers have the size of the first one.
class Clients {
 public:
  Clients(const char* url, std::size_t count) {
    char scheme[6] = "", path[256] = "/";
    int port = 0;
    echo::check(std::sscanf(url, "%5[a-z]://127.0.0.1:%d%255s", scheme, &port, path) >= 2, url);
    if (std::string_view(scheme) == "https") context_.reset(::SSL_CTX_new(::TLS_client_method()));
    request_ = "GET " + std::string(path) + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
               "\r\nUser-Agent: by hand\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n\r\n";
    poller_ = ::epoll_create1(0);
    for (std::size_t i = 0; i < count; ++i) {
      const int fd = echo::connect_to(port);
      echo::watch(poller_, fd, i);
      streams_.emplace_back(fd, context_.get()).connect();
    }
    left_.resize(count);
    measure_answer();
  }

  std::size_t count() const { return streams_.size(); }
  void ask(std::size_t which) {
    left_[which] = size_;
    streams_[which].write(request_);
  }
  // Waits up to so long, and calls done(which) for each answer that is complete.
  template <class Done>
  void wait(int milliseconds, Done done) {
    epoll_event events[256];
    const int found = ::epoll_wait(poller_, events, 256, milliseconds);
    echo::check(found >= 0 && (found > 0 || milliseconds == 0), "no answer in time");
    for (int i = 0; i < found; ++i) {
      const auto which = static_cast<std::size_t>(events[i].data.u64);
      if (receive(which)) done(which);
    }
  }

 private:
  void measure_answer() {
    streams_[0].write(request_);
    std::string answer;
    std::size_t head = std::string::npos, body = 0;
    while (head == std::string::npos || answer.size() < head + 4 + body) {
      const long got = streams_[0].read(buffer_.data(), buffer_.size());
      echo::check(got >= 0, "the first answer");
      answer.append(buffer_.data(), static_cast<std::size_t>(got));
      head = answer.find("\r\n\r\n");
      const std::size_t length = answer.find("Content-Length: ");
      if (length != std::string::npos && length < head)
        body = std::strtoul(answer.c_str() + length + 16, nullptr, 10);
    }
    echo::check(answer.starts_with(kGood) && body != 0, "the first answer");
    size_ = answer.size();
  }
  // True: the answer is complete.
  bool receive(std::size_t which) {
    std::size_t& left = left_[which];
    Stream& stream = streams_[which];
    // The work of the load generator must not dominate the measurement.
    const bool dropped = size_ > buffer_.size();
    do {
      const long got = stream.read(buffer_.data(), buffer_.size(), dropped);
      if (got == 0) return false;
      echo::check(got > 0 && static_cast<std::size_t>(got) <= left, "an answer");
      if (left == size_ && !(dropped && !stream.is_tls()))
        echo::check(std::string_view(buffer_.data(), kGood.size()) == kGood, "an answer");
      left -= static_cast<std::size_t>(got);
    } while (left > 0 && stream.is_tls());  // a part may be in OpenSSL's memory
    return left == 0;
  }

  static constexpr std::string_view kGood = "HTTP/1.1 200 OK\r\n";
  int poller_ = -1;
  Context context_;
  std::string request_;
  std::size_t size_ = 0;
  std::vector<Stream> streams_;
  std::vector<std::size_t> left_;
  std::vector<char> buffer_ = std::vector<char>(std::size_t{256} * 1024);
};

}  // namespace by_hand
