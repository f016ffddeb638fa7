// Files that are fetched: by both clients, from a server that answers as it is told.
#include <fiber/aiohttp/download.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/http/downloading.hpp>
#include <fiber/requests/download.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/aiohttp_session.hpp"
#include "support/folder.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace fs = std::filesystem;
namespace http = fiber::http;
namespace requests = fiber::requests;
using http::DownloadOptions;
using http::DownloadResult;
using support::Folder;
using support::HttpServer;
using namespace std::chrono_literals;

namespace {

using Names = std::vector<std::string>;
using Download = std::function<DownloadResult(const std::string&, const DownloadOptions&)>;

// `test(download)` with each of the two clients.
template <class Test>
void with_both(Test test) {
  SUBCASE("requests") {
    test([](const std::string& url, const DownloadOptions& options) {
      return requests::download(url, options);
    });
  }
  SUBCASE("aiohttp") {
    test([](const std::string& url, const DownloadOptions& options) {
      DownloadResult result;
      support::with_session([&](aiohttp::ClientSession& session) {
        result = asyncio::await(aiohttp::download(session, url, options));
      });
      return result;
    });
  }
}

std::string answer(const std::string& status, const std::string& fields, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}
std::string whole(const std::string& body, const std::string& tag = "\"v1\"") {
  return answer("200 OK", "ETag: " + tag + "\r\n", body);
}
std::string part(const std::string& range, const std::string& body,
                 const std::string& tag = "\"v1\"") {
  return answer("206 Partial Content", "ETag: " + tag + "\r\nContent-Range: " + range + "\r\n",
                body);
}
// The first bytes of an answer that had to have `size` more.
std::string cut(std::string bytes, std::size_t missing) {
  bytes.resize(bytes.size() - missing);
  return bytes;
}

// "bytes=5- if "v1"", or "all", of each request.
Names ranges(HttpServer& server) {
  Names all;
  for (const std::string& request : server.received()) {
    const auto field = [&](const std::string& name) {
      const auto at = request.find("\r\n" + name + ": ");
      if (at == request.npos) return std::string();
      const auto begin = at + name.size() + 4;
      return request.substr(begin, request.find("\r\n", begin) - begin);
    };
    CHECK(field("Accept-Encoding") == "identity");
    all.push_back(field("Range").empty() ? "all" : field("Range") + " if " + field("If-Range"));
  }
  return all;
}

const DownloadOptions quick{.retry_delay = 1ms};

DownloadOptions into(const Folder& folder, DownloadOptions options = quick) {
  options.directory = folder.path();
  return options;
}

}  // namespace

TEST_CASE("a file is fetched whole, under the name of its URL; one of that name is replaced") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    const DownloadResult first = download(server.url("/bytes/300000?x=/y"), into(folder));
    CHECK(first.path == (folder / "300000"));
    CHECK(first.size == 300'000);
    CHECK(first.resumed_at == 0);
    CHECK(first.requests == 1);
    CHECK((folder.content("300000") == HttpServer::body(300'000)));
    download(server.url("/bytes/5"), into(folder, {.name = "300000"}));
    CHECK(folder.content("300000") == HttpServer::body(5));
    CHECK(folder.names() == Names{"300000"});
    CHECK_THROWS_AS(
        download(server.url("/bytes/6"), into(folder, {.name = "300000", .overwrite = false})),
        fiber::OSError);
    CHECK(folder.content("300000") == HttpServer::body(5));
  });
}

TEST_CASE("a file that breaks off goes on where it was, within one run and in the next") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    server.answer_in_turn("/file", {{cut(whole("0123456789"), 7)},
                                    {cut(part("bytes 3-9/10", "3456789"), 5)},
                                    {part("bytes 5-9/10", "56789")}});
    SUBCASE("one run") {
      const DownloadResult result = download(server.url("/file"), into(folder));
      CHECK(result.resumed_at == 0);
      CHECK(result.requests == 3);
    }
    SUBCASE("several") {
      const DownloadOptions once = into(folder, {.max_retries = 0});
      CHECK_THROWS(download(server.url("/file"), once));
      CHECK(folder.names() == Names{".file.info", ".file.part"});
      CHECK(folder.content(".file.part") == "012");
      CHECK_THROWS(download(server.url("/file"), once));
      const DownloadResult result = download(server.url("/file"), once);
      CHECK(result.resumed_at == 5);
      CHECK(result.requests == 1);
    }
    CHECK(folder.content("file") == "0123456789");
    CHECK(folder.names() == Names{"file"});
    CHECK(ranges(server) == Names{"all", "bytes=3- if \"v1\"", "bytes=5- if \"v1\""});
  });
}

TEST_CASE("a file that has changed is fetched from its beginning") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    const std::string other = "abcdefgh";
    std::vector<HttpServer::Canned> answers{{cut(whole("0123456789"), 7)}};
    SUBCASE("200") { answers.push_back({whole(other, "\"v2\"")}); }
    SUBCASE("another tag") {
      answers.push_back({part("bytes 3-9/10", "defghij", "\"v2\"")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    SUBCASE("another size") {
      answers.push_back({part("bytes 3-10/11", "3456789a")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    SUBCASE("another part") {
      answers.push_back({part("bytes 2-9/10", "23456789")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    SUBCASE("no part at all") {
      answers.push_back({answer("206 Partial Content", "", "3456789")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    SUBCASE("an encoded part") {
      answers.push_back(
          {answer("206 Partial Content",
                  "Content-Range: bytes 3-9/10\r\nContent-Encoding: x-odd\r\n", "3456789")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    SUBCASE("416") {
      answers.push_back({answer("416 Range Not Satisfiable", "Content-Range: bytes */2\r\n", "")});
      answers.push_back({whole(other, "\"v2\"")});
    }
    server.answer_in_turn("/file", answers);
    download(server.url("/file"), into(folder));
    CHECK(folder.content("file") == other);
    CHECK(folder.names() == Names{"file"});
  });
}

TEST_CASE("a file that is there already, but for its name, is asked for and taken") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    folder.make(".file.part", "01234");
    folder.make(".file.info", "fiber download 1\n" + server.url("/file") + "\n\"v1\"\n5\nend\n");
    server.answer_with("/file",
                       {answer("416 Range Not Satisfiable", "Content-Range: bytes */5\r\n", "")});
    const DownloadResult result = download(server.url("/file"), into(folder));
    CHECK(result.resumed_at == 5);
    CHECK(folder.content("file") == "01234");
    CHECK(folder.names() == Names{"file"});
  });
}

TEST_CASE("what an earlier run has left counts only if it says what it is, and nothing else") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    const std::string url = server.url("/file");
    const std::string good = "fiber download 1\n" + url + "\n\"v1\"\n10\nend\n";
    server.answer_with("/file", {whole("0123456789")});
    const auto left = [&](const std::string& info) {
      folder.make(".file.part", "xyz");
      folder.make(".file.info", info);
      CHECK(download(url, into(folder)).resumed_at == 0);
      CHECK(folder.content("file") == "0123456789");
      CHECK(folder.names() == Names{"file"});
    };
    left("");
    left(good.substr(0, good.size() - 4));
    left(good + "more\n");
    left("fiber download 2" + good.substr(16));
    left("fiber download 1\n" + url + "\n\n10\nend\n");
    left("fiber download 1\n" + url + "\n\"v1\"\n2\nend\n");
    left("fiber download 1\n" + url + "\n\"v1\"\n-1\nend\n");
    left("fiber download 1\n" + url + "/other\n\"v1\"\n10\nend\n");
    left(std::string(100'000, 'x'));
    fs::remove(folder / ".file.info");
    folder.make(".file.part", "xyz");
    CHECK(download(url, into(folder)).resumed_at == 0);
    for (const std::string& range : ranges(server)) CHECK(range == "all");
  });
}

TEST_CASE("without a strong tag or a date a file is not gone on with") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    std::string fields;
    SUBCASE("nothing") {}
    SUBCASE("a weak tag") { fields = "ETag: W/\"v1\"\r\n"; }
    SUBCASE("a date of this second") {
      fields =
          "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    }
    SUBCASE("no ranges") { fields = "ETag: \"v1\"\r\nAccept-Ranges: none\r\n"; }
    const std::string full = answer("200 OK", fields, "0123456789");
    server.answer_in_turn("/file", {{cut(full, 5)}, {full}});
    download(server.url("/file"), into(folder));
    CHECK(folder.content("file") == "0123456789");
    CHECK(ranges(server) == Names{"all", "all"});
  });
}

TEST_CASE("a date does as well as a tag") {
  HttpServer server;
  const Folder folder;
  const std::string date = "Sun, 06 Nov 1994 08:49:37 GMT";
  server.answer_in_turn(
      "/file", {{cut(answer("200 OK", "Last-Modified: " + date + "\r\n", "0123456789"), 5)},
                {answer("206 Partial Content", "Content-Range: bytes 5-9/*\r\n", "56789")}});
  requests::download(server.url("/file"), into(folder));
  CHECK(folder.content("file") == "0123456789");
  CHECK(ranges(server) == Names{"all", "bytes=5- if " + date});
}

TEST_CASE("tries have a number; a status that will not change is thrown at once") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    server.answer_with("/busy", {answer("503 Service Unavailable", "", "")});
    CHECK_THROWS(
        download(server.url("/busy"), into(folder, {.max_retries = 2, .retry_delay = 1ms})));
    CHECK(server.requests() == 3);
    CHECK_THROWS(download(server.url("/status/404"), into(folder)));
    CHECK(server.requests() == 4);
    CHECK_THROWS(download(server.url("/status/204"), into(folder)));
    CHECK(server.requests() == 5);
    // A server that never comes to an end.
    server.answer_with("/short", {cut(whole("0123456789"), 5)});
    CHECK_THROWS(
        download(server.url("/short"), into(folder, {.max_retries = 2, .retry_delay = 1ms})));
    CHECK(server.requests() == 8);
    server.answer_in_turn("/liar",
                          {{cut(whole("0123456789"), 5)}, {part("bytes 0-4/10", "01234")}});
    CHECK_THROWS(download(server.url("/liar"), into(folder)));
    CHECK_FALSE(fs::exists(folder / "liar"));
  });
}

TEST_CASE("a file has a limit, announced or not") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    const std::string body(1000, 'x');
    server.answer_with("/announced", {whole(body)});
    server.answer_with("/until-the-end", {"HTTP/1.1 200 OK\r\n\r\n" + body});
    for (const char* path : {"/announced", "/until-the-end"}) {
      CAPTURE(path);
      CHECK_THROWS(download(server.url(path), into(folder, {.max_size = 999})));
      CHECK(download(server.url(path), into(folder, {.max_size = 1000})).size == 1000);
    }
    CHECK(server.requests() == 4);
    CHECK(folder.names() == Names{"announced", "until-the-end"});
  });
}

TEST_CASE("links and files of others are not written to") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder, elsewhere;
    elsewhere.make("victim", "precious");
    SUBCASE("a symbolic link has the part's name") {
      fs::create_symlink(elsewhere / "victim", folder / ".5.part");
    }
    SUBCASE("a hard link") { fs::create_hard_link(elsewhere / "victim", folder / ".5.part"); }
    SUBCASE("a pipe") { REQUIRE(::mkfifo((folder / ".5.part").c_str(), 0600) == 0); }
    SUBCASE("a symbolic link has the file's name") {
      fs::create_symlink(elsewhere / "victim", folder / "5");
    }
    SUBCASE("a symbolic link has the info's name") {
      fs::create_symlink(elsewhere / "victim", folder / ".5.info");
      folder.make(".5.part", "01");
    }
    server.answer_with("/5", {whole(HttpServer::body(5))});
    download(server.url("/5"), into(folder));
    CHECK(elsewhere.content("victim") == "precious");
    CHECK(folder.content("5") == HttpServer::body(5));
    CHECK(fs::is_regular_file(fs::symlink_status(folder / "5")));
  });
}

TEST_CASE("of two downloads to one name the second is refused") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    folder.make(".5.part", "");
    const int other = ::open((folder / ".5.part").c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(::flock(other, LOCK_EX) == 0);
    CHECK_THROWS_AS(download(server.url("/bytes/5"), into(folder)), fiber::BlockingIOError);
    ::close(other);
    CHECK(download(server.url("/bytes/5"), into(folder)).size == 5);
  });
}

TEST_CASE("names that lead elsewhere are refused, a directory that is not there is an error") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    for (const char* name : {".", "..", "a/b", "/a", "../a"}) {
      CAPTURE(name);
      CHECK_THROWS_AS(download(server.url("/bytes/5"), into(folder, {.name = name})),
                      fiber::ValueError);
    }
    CHECK_THROWS_AS(download(server.url("/bytes/5"), {.directory = folder / "none"}),
                    fiber::FileNotFoundError);
    CHECK(server.requests() == 0);
    CHECK(folder.names().empty());
  });
}

TEST_CASE("progress is told at the beginning and at the end, with what was there before") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    Names told;
    DownloadOptions options = into(folder, {.max_retries = 0});
    options.progress = [&](const http::DownloadProgress& progress) {
      told.push_back(std::to_string(progress.received) + "/" +
                     (progress.total ? std::to_string(*progress.total) : "?") + " from " +
                     std::to_string(progress.resumed_at));
      CHECK(progress.rate >= 0);
    };
    options.progress_interval = 1h;
    server.answer_in_turn("/file",
                          {{cut(whole("0123456789"), 7)}, {part("bytes 3-9/10", "3456789")}});
    CHECK_THROWS(download(server.url("/file"), options));
    download(server.url("/file"), options);
    CHECK(told == Names{"0/? from 0", "3/10 from 3", "10/10 from 3"});
    options.progress = [](const http::DownloadProgress&) { throw fiber::RuntimeError("enough"); };
    CHECK_THROWS_AS(download(server.url("/file"), options), fiber::RuntimeError);
  });
}

TEST_CASE("a progress function may take itself away, and is called to the end") {
  HttpServer server;
  const Folder folder;
  server.answer_with("/file", {whole("abc")});
  DownloadOptions options = into(folder);
  auto alive = std::make_shared<int>();
  const std::weak_ptr<int> watched = alive;
  Names told;
  options.progress = [&, alive = std::move(alive)](const http::DownloadProgress& progress) {
    Names& all = told;  // the references are members of the function
    const std::weak_ptr<int>& seen = watched;
    options.progress = nullptr;
    all.push_back(std::to_string(progress.received) + (seen.expired() ? " destroyed" : ""));
  };
  CHECK(requests::download(server.url("/file"), options).size == 3);
  CHECK(told == Names{"0", "3"});
  CHECK(watched.expired());
}

TEST_CASE("a download that is cancelled leaves what has come for the next") {
  HttpServer server;
  const Folder folder;
  const std::string body = HttpServer::body(1000);
  server.answer_in_turn("/file", {{cut(whole(body), 500), "abc", 100'000}, {whole(body)}});
  support::with_session([&](aiohttp::ClientSession& session) {
    asyncio::Event begun;
    DownloadOptions options = into(folder);
    options.progress_interval = 0s;
    options.progress = [&](const http::DownloadProgress& progress) {
      if (progress.received > 0) begun.set();
    };
    const auto task =
        asyncio::create_task(aiohttp::download(session, server.url("/file"), options));
    asyncio::await(begun.wait());
    task.cancel();
    CHECK_THROWS_AS(asyncio::await(task), asyncio::CancelledError);
    CHECK(folder.names() == Names{".file.info", ".file.part"});
    const auto result = asyncio::await(aiohttp::download(session, server.url("/file"), options));
    CHECK(result.size == 1000);
  });
  CHECK((folder.content("file") == body));
}

TEST_CASE("a large file passes through less than a MiB of memory") {
  with_both([](const Download& download) {
    HttpServer server;
    const Folder folder;
    const std::string body = HttpServer::body(16 * 1024 * 1024);
    server.answer_with("/file", {whole(body)});
    // The server's memory is among these bytes, and does not grow once it sends.
    std::size_t least = ~std::size_t{0}, most = 0;
    DownloadOptions options = into(folder);
    options.progress_interval = 0s;
    options.progress = [&](const http::DownloadProgress& progress) {
      if (progress.received == 0) return;
      const struct mallinfo2 memory = ::mallinfo2();
      const std::size_t used = memory.uordblks + memory.hblkhd;
      if (most == 0) least = used;
      most = std::max(most, used);
    };
    CHECK(download(server.url("/file"), options).size == body.size());
    CHECK((folder.content("file") == body));
    if (most == 0) {
      MESSAGE("SKIP: a sanitizer's malloc does not tell how much is in use");
      return;
    }
    CHECK(most - least < std::size_t{1024} * 1024);
  });
}
