// The tutorial's programs: the lines that they print, and their times, are compared with CPython's
// transcripts; the downloaders run against a server with faults.
#include "samples/transcript.hpp"
#include "support/child_process.hpp"
#include "support/folder.hpp"
#include "support/http_server.hpp"
#include "support/lines.hpp"

#include <doctest/doctest.h>

#include <fiber/config.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ranges>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using support::ChildOptions;
using support::ChildResult;
using support::HttpServer;
using support::lines_of;
using support::run_child;
using support::run_children;

namespace {

#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
constexpr double kLate = 5;
#else
constexpr double kLate = 1.5;
#endif

// Set by meson; the defaults serve a run by hand from the build directory.
fs::path root(const char* variable, const char* otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : otherwise;
}

fs::path program(const std::string& name) {
  return fs::absolute(root("FIBER_BUILD_ROOT", ".")) / "samples" / name;
}

// Programs that need an optional part of the library are not always built.
bool is_built(const std::string& name) {
  if (fs::exists(program(name))) return true;
  const bool optional =
      name.starts_with("download_") || name == "run_in_executor" || name == "concurrent_future";
  if (!optional) FAIL("not built: ", name);
  MESSAGE("not built, so not tested: ", name);
  return false;
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Returns all files, also hidden ones.
std::set<std::string> files_in(const fs::path& directory) {
  std::set<std::string> names;
  if (fs::exists(directory))
    for (const auto& entry : fs::directory_iterator(directory))
      names.insert(entry.path().filename().string());
  return names;
}

bool prints(const ChildResult& result, const std::string& text) {
  return std::ranges::count(result.lines, text, &support::ChildLine::text) == 1;
}

std::vector<std::string> downloaders() {
  std::vector<std::string> names;
  for (const char* name : {"download_requests", "download_aiohttp", "download_executor"})
    if (is_built(name)) names.emplace_back(name);
  return names;
}

}  // namespace

TEST_CASE("every program prints what it prints in CPython, in that order and at that time") {
  std::vector<samples::Transcript> transcripts;
  const fs::path stored = root("FIBER_SOURCE_ROOT", "..") / "test/conformance/tutorial";
  for (const auto& entry : fs::directory_iterator(stored))
    if (entry.path().extension() == ".txt")
      transcripts.push_back(samples::read_transcript(entry.path()));
  REQUIRE(transcripts.size() >= 28);
  // The longest program first: all together take little longer than this one.
  std::ranges::sort(transcripts, std::ranges::greater{}, &samples::Transcript::end);

  std::vector<ChildOptions> children;
  std::vector<samples::Transcript> expected;
  std::vector<support::Folder> folders(transcripts.size());
  for (const samples::Transcript& transcript : transcripts) {
    const std::string name = transcript.name.substr(0, transcript.name.find('-'));
    if (!is_built(name)) continue;
    const std::string tmp = folders[expected.size()].path();
    ChildOptions child{.program = program(name).string(), .directory = tmp};
    for (std::string argument : transcript.arguments) {
      if (const auto at = argument.find("{tmp}"); at != std::string::npos)
        argument.replace(at, 5, tmp);
      child.arguments.push_back(std::move(argument));
    }
    child.interrupt_at = transcript.interrupt_at;
    child.timeout = transcript.end + 30;
    children.push_back(std::move(child));
    expected.push_back(transcript);
  }

  std::vector<ChildResult> results = run_children(children, 8);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto difference = [&](double late) {
      return samples::difference(expected[i], results[i], {.early = 0.35, .late = late});
    };
    // A program with the right output that was late is run again alone: the machine may have been
    // busy.
    for (int again = 0; again < 3 && !difference(kLate).empty() && difference(60).empty();
         ++again) {
      for (const std::string& file : folders[i].names()) fs::remove_all(folders[i] / file);
      results[i] = run_child(children[i]);
    }
    const std::string wrong = difference(kLate);
    CHECK_MESSAGE(wrong.empty(), expected[i].name, " differs from CPython:\n", wrong);
  }

  // The pictures that the downloaders have served themselves.
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!expected[i].name.starts_with("download_")) continue;
    CAPTURE(expected[i].name);
    std::set<std::string> pictures;
    for (const auto& entry : fs::directory_iterator(folders[i] / "images")) {
      const std::string picture = content(entry.path());
      REQUIRE(picture.size() > 54);
      CHECK(picture.substr(0, 2) == "BM");
      const auto byte = [&](int at) { return static_cast<unsigned char>(picture[at]); };
      CHECK((byte(2) | byte(3) << 8 | byte(4) << 16) == static_cast<int>(picture.size()));
      pictures.insert(picture);
    }
    CHECK(pictures.size() == 6);
  }
}

TEST_CASE("downloaders save what is there, byte for byte, report the rest and go on") {
  HttpServer server;
  const std::string missing = server.url("/status/404/missing.png");
  const std::string dropped = server.url("/dropped/dropped.png");
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    const fs::path images = tmp / "images";
    const ChildResult result =
        run_child({.program = program(name).string(),
                   .arguments = {"--output", images.string(), server.url("/bytes/300000/a.png"),
                                 missing, dropped, server.url("/bytes/0/empty.png"),
                                 server.url("/redirect/2/b.png")}});
    CAPTURE(result.errors);
    CHECK(result.status == 1);
    CHECK(files_in(images) == std::set<std::string>{"a.png", "b.png", "empty.png"});
    CHECK(content(images / "a.png") == HttpServer::body(300000));
    CHECK(content(images / "b.png") == "hello");
    CHECK(content(images / "empty.png").empty());
    CHECK(prints(result, "directory made " + images.string()));
    CHECK(prints(result, "saved a.png"));
    CHECK(prints(result, "saved b.png"));

    std::vector<std::string> errors = lines_of(result.errors);
    std::ranges::sort(errors);  // "dropped" comes before "status" in the URLs
    REQUIRE(errors.size() == 2);
    CHECK(errors[0].starts_with(name + ": " + dropped + ": "));
    CHECK(errors[1] == name + ": " + missing + ": status 404");

    const ChildResult again =
        run_child({.program = program(name).string(),
                   .arguments = {server.url("/bytes/5/a.png"), "--output", images.string()}});
    CHECK(again.status == 0);
    CHECK(again.errors.empty());
    CHECK(prints(again, "directory exists " + images.string()));
    CHECK(content(images / "a.png") == HttpServer::body(5));
  }
}

TEST_CASE("downloaders keep pictures of the same name apart, and the names inside the directory") {
  HttpServer server;
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    const fs::path images = tmp / "images";
    const ChildResult result =
        run_child({.program = program(name).string(),
                   .arguments = {"--output", images.string(), server.url("/bytes/1/a.png"),
                                 server.url("/bytes/2/a.png?from=/etc"), server.url("/bytes/3/"),
                                 server.url("/bytes/4/..")}});
    CAPTURE(result.errors);
    CHECK(content(images / "a.png").size() == 1);
    CHECK(content(images / "a-2.png").size() == 2);
    CHECK(content(images / "image").size() == 3);
    CHECK(files_in(tmp.path()) == std::set<std::string>{"images"});
  }
}

TEST_CASE("downloaders say in one line what is wrong with a URL or a host") {
  const std::string closed =
      "http://127.0.0.1:" + std::to_string(HttpServer::unused_port()) + "/a.png";
  for (const std::string& name : downloaders()) {
    for (const std::string& url : {closed, std::string("http://"), std::string("not a url"),
                                   std::string("http://127.0.0.1:port/a.png"),
                                   std::string("http://no-such-host.invalid/a.png")}) {
      CAPTURE(name);
      CAPTURE(url);
      const support::Folder tmp;
      const ChildResult result = run_child(
          {.program = program(name).string(), .arguments = {url}, .directory = tmp.path()});
      CAPTURE(result.errors);
      CHECK(result.status == 1);
      REQUIRE(lines_of(result.errors).size() == 1);
      CHECK(result.errors.starts_with(name + ": " + url + ": "));
      CHECK(files_in(tmp.path()) == std::set<std::string>{"images"});
      CHECK(files_in(tmp / "images").empty());
    }
  }
}

TEST_CASE("downloaders refuse a directory that they cannot make or write to") {
  HttpServer server;
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    const fs::path file = tmp / "file";
    std::ofstream(file) << "in the way";
    std::vector<fs::path> unusable{file, file / "images", "/proc/self/images", "/proc/self"};
    const fs::path read_only = tmp / "read-only";
    fs::create_directory(read_only);
    fs::permissions(read_only, fs::perms::owner_read | fs::perms::owner_exec);
    if (::access(read_only.c_str(), W_OK) != 0) unusable.push_back(read_only);  // not for root

    for (const fs::path& directory : unusable) {
      CAPTURE(directory.string());
      const ChildResult result =
          run_child({.program = program(name).string(),
                     .arguments = {"--output", directory.string(), server.url("/fixed/a.png")}});
      CAPTURE(result.errors);
      CHECK(result.status == 1);
      REQUIRE(lines_of(result.errors).size() == 1);
      CHECK(result.errors.starts_with(name + ": " + directory.string() + ": "));
    }
    CHECK(content(file) == "in the way");
    CHECK(files_in(read_only).empty());
  }
}

TEST_CASE("downloaders leave no part of a file on a full disk") {
  HttpServer server;
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    const ChildResult result = run_child(
        {.program = program(name).string(),
         .arguments = {server.url("/bytes/100000/large.png"), server.url("/bytes/5/small.png")},
         .directory = tmp.path(),
         .file_size_limit = 1000});
    CAPTURE(result.errors);
    CHECK(result.status == 1);
    REQUIRE(lines_of(result.errors).size() == 1);
    CHECK(result.errors.starts_with(name + ": " + server.url("/bytes/100000/large.png") + ": "));
    CHECK(files_in(tmp / "images") == std::set<std::string>{"small.png"});
  }
}

TEST_CASE("downloaders show progress on a terminal only") {
  HttpServer server;
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    ChildOptions child{.program = program(name).string(),
                       .arguments = {server.url("/fixed/a.png"), server.url("/fixed/b.png")},
                       .directory = tmp.path()};
    CHECK(run_child(child).errors.empty());
    child.stderr_is_terminal = true;
    const ChildResult result = run_child(child);
    CAPTURE(result.errors);
    CHECK(result.status == 0);
    CHECK(result.errors.find("1/2") != std::string::npos);
    CHECK(result.errors.find("2/2") != std::string::npos);
  }
}

TEST_CASE("Ctrl-C ends a download at once and leaves nothing behind") {
  HttpServer server;
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const support::Folder tmp;
    const ChildResult result = run_child({.program = program(name).string(),
                                          .arguments = {server.url("/stalled/a.png")},
                                          .directory = tmp.path(),
                                          .interrupt_at = 0.5 + kLate / 5});
    CAPTURE(result.errors);
    CHECK(result.status == 130);
    CHECK(result.end < 0.5 + 10 * kLate);  // the server would never answer
    CHECK(files_in(tmp / "images").empty());
  }
}

TEST_CASE("downloaders explain their options") {
  for (const std::string& name : downloaders()) {
    CAPTURE(name);
    const ChildResult help =
        run_child({.program = program(name).string(), .arguments = {"--help"}});
    CHECK(help.status == 0);
    CHECK(help.errors.empty());
    CHECK(help.lines.size() >= 3);
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--delay", "soon"},
                                                  {"--delay", "-1"},
                                                  {"--output"},
                                                  {"--what"}}) {
      const ChildResult result = run_child({.program = program(name).string(), .arguments = wrong});
      CHECK(result.status == 2);
      CHECK(lines_of(result.errors).size() == 1);
    }
  }
}

TEST_CASE("a program whose output is lost ends with status 1") {
  const ChildResult result = run_child(
      {.program = "/bin/sh",
       .arguments = {"-c", "exec \"$0\" >/dev/full", program("greenlet_switch").string()}});
  CHECK(result.status == 1);
  CHECK(result.errors == "the output could not be written\n");
}
