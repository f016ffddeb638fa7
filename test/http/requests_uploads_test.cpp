// Bodies of requests that are read while they are sent: files=, std::ifstream, functions, ranges.

#include <fiber/generator.hpp>
#include <fiber/requests.hpp>

#include "support/http_bodies.hpp"
#include "support/folder.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <future>
#include <istream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>

namespace requests = fiber::requests;
using namespace std::chrono_literals;
using namespace std::string_literals;
using support::body_of;
using support::has;
using support::HttpServer;
using support::TemporaryFile;
using support::text_of;

namespace {

// A text in memory. Once armed, a read waits until the test lets it go on.
class HeldText : public std::stringbuf {
 public:
  using std::stringbuf::stringbuf;

  void arm() { armed_ = true; }
  void wait_until_read() { begun_.get_future().wait(); }
  void let_go() { may_go_on_.set_value(); }
  bool was_let_go() const { return was_let_go_; }

 protected:
  std::streamsize xsgetn(char* to, std::streamsize size) override {
    if (std::exchange(armed_, false)) {
      begun_.set_value();
      // Without the time limit, a test would hang whose rewind() waits for this read.
      was_let_go_ = may_go_on_.get_future().wait_for(5s) == std::future_status::ready;
    }
    return std::stringbuf::xsgetn(to, size);
  }

 private:
  bool armed_ = false;
  bool was_let_go_ = false;
  std::promise<void> begun_, may_go_on_;
};

std::string read_all(fiber::http::BodySource& source) {
  std::string all, piece(10, '\0');
  while (const std::size_t size = source.read(piece.data(), piece.size()))
    all.append(piece, 0, size);
  return all;
}

}  // namespace

TEST_CASE("files and fields are sent as requests writes them") {
  HttpServer server;
  const auto response = requests::post(
      server.url("/echo"),
      {.data = requests::Params{{"f", "v"}, {"g\"", "\u00e4"}},
       .files = {{"a", {"n\"a\r\nme.txt", "c1", "text/csv", {{"X-A", "1"}, {"Expires", "0"}}}},
                 {"b", requests::File("str")},
                 {"c", {std::nullopt, "nofn"}}}});
  const std::string sent = server.received().back();
  CHECK(body_of(sent) ==
        "--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"g%22\"\r\n\r\n\u00e4\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"n%22a%0D%0Ame.txt\"\r\n"
        "Content-Type: text/csv\r\nX-A: 1\r\nExpires: 0\r\n\r\nc1\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"b\"; filename=\"b\"\r\n\r\nstr\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\nnofn\r\n--B--\r\n");
  CHECK(sent.find("\r\nContent-Length: ") != sent.npos);
  CHECK(sent.find("\r\nContent-Type: multipart/form-data; boundary=") != sent.npos);
  CHECK(support::boundary_of(sent).size() == 32);
}

TEST_CASE("a file is sent from the disk, under its own name") {
  const std::string content = HttpServer::body(3'000'000) + "\0\r\n--"s;
  TemporaryFile file(content);
  HttpServer server;
  CHECK(requests::post(server.url("/fixed"),
                       {.files = {{"up", requests::File::open(file.path(), "text/plain")},
                                  {"stream", {"x", std::ifstream(file.path(), std::ios::binary)}}}})
            .ok());
  const std::string sent = server.received().back();
  CHECK(body_of(sent) == "--B\r\nContent-Disposition: form-data; name=\"up\"; filename=\"" +
                             file.name() + "\"\r\nContent-Type: text/plain\r\n\r\n" + content +
                             "\r\n--B\r\nContent-Disposition: form-data; name=\"stream\"; "
                             "filename=\"x\"\r\n\r\n" +
                             content + "\r\n--B--\r\n");
  CHECK(sent.find("\r\nContent-Length: ") != sent.npos);
}

TEST_CASE("what is written to a part's header stays within its line") {
  HttpServer server;
  const auto refused = [&](requests::File file) {
    return text_of<requests::InvalidHeader>([&] {
      requests::post(server.url("/fixed"), {.files = {{"a", file}}});
    });
  };
  CHECK(refused({"n\0me"s, "x"}) == "embedded null byte in the filename of a part");
  CHECK(refused({"n", "x", "text/plain\r\nX: 1"}).find("'Content-Type'") != std::string::npos);
  CHECK(refused({"n", "x", "", {{"X-A", "1\r\nX-B: 2"}}}).find("'X-A'") != std::string::npos);
  CHECK(refused({"n", "x", "", {{"X-A: b\r\n", "1"}}}).starts_with("Invalid header name"));
  CHECK(server.requests() == 0);
}

TEST_CASE("files beside another body are an error, and so is one that is not there") {
  HttpServer server;
  const requests::Files files{{"a", requests::File("x")}};
  CHECK(text_of<fiber::ValueError>([&] {
          requests::post(server.url("/fixed"), {.data = "bytes", .files = files});
        }) == "Data must not be a string.");
  CHECK(text_of<fiber::NotImplementedError>([&] {
          requests::post(server.url("/fixed"), {.data = std::istringstream("x"), .files = files});
        }) == "Streamed bodies and files are mutually exclusive.");
  CHECK_THROWS_AS(requests::File::open("/nowhere/at/all"), fiber::FileNotFoundError);
  CHECK(text_of<fiber::OSError>([] { requests::File::open("/tmp"); }).find("Is a directory") !=
        std::string::npos);
  CHECK_THROWS_AS(requests::post(server.url("/fixed"), {.data = std::ifstream("/nowhere")}),
                  fiber::OSError);
  CHECK(server.requests() == 0);
}

TEST_CASE("a stream is sent from where it stands, with its length") {
  HttpServer server;
  TemporaryFile file("0123456789");
  std::ifstream stream(file.path(), std::ios::binary);
  stream.seekg(3);
  CHECK(requests::put(server.url("/echo"), {.data = std::move(stream)}).ok());
  CHECK(has(server.received().back(), "Content-Length: 7"));
  CHECK(server.received().back().ends_with("\r\n\r\n3456789"));
  CHECK(requests::put(server.url("/echo"), {.data = std::istringstream("")}).ok());
  CHECK(has(server.received().back(), "Transfer-Encoding: chunked"));
  CHECK(server.received().back().ends_with("\r\n\r\n"));
  const std::string large = HttpServer::body(2'000'000);
  CHECK(requests::post(server.url("/fixed"), {.data = std::istringstream(large)}).ok());
  CHECK(server.received().back().ends_with("\r\n\r\n" + large));
}

TEST_CASE("a file that hides its size, as those of /proc do, is sent all the same") {
  HttpServer server;
  std::ifstream file("/proc/version");
  std::string content;
  std::getline(file, content);
  content += '\n';
  CHECK(requests::post(server.url("/fixed"), {.data = std::ifstream("/proc/version")}).ok());
  CHECK(body_of(server.received().back()) == content);
  CHECK(requests::post(server.url("/fixed"),
                       {.files = {{"f", requests::File::open("/proc/version")}}})
            .ok());
  CHECK(has(server.received().back(), "Transfer-Encoding: chunked"));
  CHECK(body_of(server.received().back()).find(content) != std::string::npos);
  // None is no body, as in Python.
  CHECK(requests::post(server.url("/fixed"), {.data = std::shared_ptr<std::istream>()}).ok());
  CHECK(has(server.received().back(), "Content-Length: 0"));
}

TEST_CASE("a file is opened once: a pipe is sent, and what has taken a file's name is not") {
  HttpServer server;
  TemporaryFile file("first");
  const requests::Files files{{"f", requests::File::open(file.path())}};
  REQUIRE(std::remove(file.path().c_str()) == 0);
  REQUIRE(::mkfifo(file.path().c_str(), 0600) == 0);
  // Both wait for each other to open the pipe.
  std::promise<void> opened;
  std::thread writer([&, ready = opened.get_future()] {
    std::ofstream(file.path()) << "through the pipe";
    // Without this, a test would hang that opens the pipe again.
    if (ready.wait_for(5s) != std::future_status::ready) std::ofstream(file.path()) << "late";
  });
  requests::Files pipe{{"p", requests::File::open(file.path())}};
  opened.set_value();
  CHECK(requests::post(server.url("/fixed"), {.files = std::move(pipe)}).ok());
  writer.join();
  CHECK(has(server.received().back(), "Transfer-Encoding: chunked"));
  CHECK(body_of(server.received().back()).find("\r\n\r\nthrough the pipe\r\n") !=
        std::string::npos);
  CHECK(requests::post(server.url("/fixed"), {.files = files}).ok());
  CHECK(body_of(server.received().back()).find("\r\n\r\nfirst\r\n") != std::string::npos);
  CHECK(text_of<fiber::ValueError>([] { requests::File::open("/tmp\0x"s); }) ==
        "embedded null byte");
}

TEST_CASE("pieces of a function, a generator and a range go out in chunks") {
  HttpServer server;
  const auto sent = [&](requests::Body body, const char* method = "POST") {
    CHECK(requests::request(method, server.url("/fixed"), {.data = std::move(body)}).ok());
    const std::string request = server.received().back();
    CHECK(has(request, "Transfer-Encoding: chunked"));
    CHECK(request.find("Content-Length") == request.npos);
    CHECK(request.starts_with(method));
    return request.substr(request.find("\r\n\r\n") + 4);
  };
  CHECK(sent([i = 0]() mutable { return i < 3 ? std::to_string(i++) : std::string(); }) == "012");
  CHECK(sent([] { return std::string(); }) == "");
  CHECK(sent(std::vector<std::string>{"a", "", "b"}, "PUT") == "ab");
  CHECK(sent(fiber::Generator<std::string>([](auto& self) {
          self.yield("one ");
          self.yield(std::string());
          self.yield(std::string(200'000, 'x'));
        })) == "one " + std::string(200'000, 'x'));
}

TEST_CASE("an exception of a body's source leaves the call") {
  HttpServer server;
  requests::Session session;
  CHECK(text_of<std::logic_error>([&] {
          session.post(server.url("/fixed"), {.data = [i = 0]() mutable -> std::string {
                         if (i++) throw std::logic_error("no more");
                         return "first";
                       }});
        }) == "no more");
  CHECK(session.get(server.url("/fixed")).ok());
}

TEST_CASE("a redirect that keeps the body reads it once more, or says that it cannot") {
  HttpServer server;
  TemporaryFile file("the content");
  const std::string url = server.url("/redirect-as/307?/echo");
  const requests::Files files{{"a", requests::File::open(file.path())}};
  const auto response = requests::post(url, {.files = files});
  CHECK(response.ok());
  CHECK(response.history.size() == 1);
  CHECK(body_of(server.received().front()) == body_of(server.received().back()));
  CHECK(body_of(server.received().back()).find("the content") != std::string::npos);
  CHECK(text_of<requests::UnrewindableBodyError>([&] {
          requests::post(url, {.data = std::vector<std::string>{"a"}});
        }) == "Unable to rewind request body for redirect or another try.");
  // A redirect that changes the method drops the body, and the fields that describe it.
  CHECK(requests::post(server.url("/redirect-as/302?/echo"), {.files = files}).ok());
  const std::string last = server.received().back();
  CHECK(last.starts_with("GET /echo"));
  CHECK(last.find("multipart") == last.npos);
  CHECK(
      requests::post(server.url("/redirect-as/303?/echo"), {.data = std::vector<std::string>{"a"}})
          .ok());
  CHECK(server.received().back().find("chunked") == std::string::npos);
}

TEST_CASE("a body may be given to several requests, if it can be read again") {
  HttpServer server;
  const requests::Body stream = std::istringstream("text");
  for (int i = 0; i < 3; ++i) {
    CHECK(requests::post(server.url("/fixed"), {.data = stream}).ok());
    CHECK(server.received().back().ends_with("\r\n\r\ntext"));
  }
  const requests::Body pieces = std::vector<std::string>{"a"};
  CHECK(requests::post(server.url("/fixed"), {.data = pieces}).ok());
  CHECK_THROWS_AS(requests::post(server.url("/fixed"), {.data = pieces}),
                  requests::UnrewindableBodyError);
}

TEST_CASE(
    "a body goes back to its beginning while an earlier request reads, without waiting for it") {
  HeldText text("0123456789abcdefghijklmnopqrstuvwxyz");
  requests::Body body = std::make_shared<std::istream>(&text);
  SUBCASE("a stream") {}
  SUBCASE("a stream in a form") {
    body = requests::encode_files({{"a", {"name", body}}, {"b", {"other", "text"}}}, {});
  }
  fiber::http::BodySource& source = *body.source();
  CHECK(source.blocks());
  const std::string whole = read_all(source);
  CHECK(source.size() == whole.size());
  CHECK(source.rewind());
  text.arm();
  std::thread earlier([&] {
    std::string piece(4, '\0');
    while (!text.was_let_go() && source.read(piece.data(), piece.size()) > 0) {
    }
  });
  text.wait_until_read();
  CHECK(source.rewind());
  text.let_go();
  earlier.join();
  CHECK(text.was_let_go());
  CHECK(read_all(source) == whole);
  CHECK(read_all(source).empty());
}

TEST_CASE("a kept connection that is dead: the body is read once more if the method allows it") {
  HttpServer server;
  server.answer_in_turn("/once", {{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {}, 0, false}});
  requests::Session session;
  for (int i = 0; i < 3; ++i) {
    CHECK(session.put(server.url("/once"), {.data = std::istringstream("text")}).ok());
    CHECK(server.received().back().ends_with("\r\n\r\ntext"));
  }
}

TEST_CASE("a file that becomes shorter while it is sent is an error") {
  TemporaryFile file(std::string(1'000'000, 'x'));
  HttpServer server;
  const requests::Files files{{"a", requests::File::open(file.path())}};
  file.write("short");
  CHECK(text_of<fiber::OSError>([&] {
          requests::post(server.url("/fixed"), {.files = files});
        }).find("ended after 5 of 1000000 bytes") != std::string::npos);
}
