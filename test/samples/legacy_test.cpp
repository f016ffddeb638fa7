// The output of the programs of samples/legacy and samples/apps.
#include "support/child_process.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using support::ChildOptions;
using support::ChildResult;

namespace {

struct Program {
  std::string name;
  std::vector<std::string> lines;
  bool optional = false;  // needs a library that may be missing
};

const std::vector<Program>& programs() {
  static const std::vector<Program> all{
      {"xml_events",
       {"bread costs 3", "butter & jam costs 7", "(parser freed)", "enough: 10", "begins a",
        "begins b", "(parser freed)", "ValueError: mismatched tag in line 2"},
       true},
      {"sqlite_rows",
       {"Ada [bread, jam]", "Bob []", "Cleo [tea]", "the next order is lost of 4", "first Ada",
        "RuntimeError: no such table: nowhere"},
       true},
      {"sort_by_asking",
       {"[2h, 3h, 9h, Kh, Ah]", "[4s, 5s, 7s, Ts, Js, Qs]", "meanwhile the clock ticked: yes",
        "cancelled in the middle"}},
      {"compare_downloads",
       {"1 and 1: equal: 147510", "1 and 2: they differ at byte 63",
        "1 and none: HTTP response code said error"},
       true},
      {"poll_host",
       {"task: working on alpha", "task: done with alpha which has 5 letters",
        "task: working on beta", "task: done with beta which has 4 letters", "poll: read 3 lines",
        "the loop slept in between: yes"}},
      {"glib_host",
       {"task begins", "task waits for GLib", "GLib rings", "task counts in threads",
        "task ends with 42", "the main loop slept in between: yes"},
       true},
      {"window_toolkit",
       {"click: start", "label: exporting", "label: page 1", "click: start", "label: busy already",
        "label: page 2", "click: cancel", "label: given up", "click: start", "label: exporting",
        "label: page 1", "label: page 2", "label: page 3", "label: exported"},
       true},
      {"libuv_host",
       {"task begins", "task waits for libuv", "libuv rings", "task ends", "task done: yes"},
       true},
      {"glib_guest",
       {"task waits for GLib", "GLib beat 1", "GLib beat 2", "GLib beat 3",
        "task: GLib has beaten three times", "GLib answers 42", "GLib's loop has ended"},
       true},
      {"libuv_guest",
       {"uv tick 1", "uv tick 2", "uv tick 3", "ticks 3", "work 7", "idle turns: 0"},
       true},
      {"curl_multi", {"6 transfers, 885060 bytes", "at the same time: 6"}, true},
      {"thread_calls_fibers",
       {"1: 1", "2: 4", "3: not three", "4: 16", "5: 25", "6: 36", "7: 49", "8: 64",
        "one after the other: no", "timed out", "and its task was cancelled"}},
      {"fiber_calls_threads",
       {"ada@example.org bob@example.org",
        "[cleo@example.org, std::invalid_argument('unknown: nobody'), dan@example.org]", "too slow",
        "the loop ran meanwhile: yes"}},
      {"producer_thread",
       {"reading 1", "reading 2", "reading 3", "reading 4", "reading 5", "reading 6",
        "no more; the thread waited for room: yes"}},
      {"loop_per_thread", {"200 answers, from several threads"}},
      {"c_program",
       {"1 + 20 + 3 = 24", "70 + 50 + 3 = 120", "lexer: told to end", "Bella is served",
        "Ada is served", "Ada: status 0 (no error), answer 3",
        "Bella: status 42 (an error of the program's own), answer 0", "Charlotte: cancelled",
        "Charlotte: status -7 (timed out), answer 0"},
       true},
      {"chat_server",
       {"[Your name?, * Ada is here, Ada: hello,   Ada]",
        "[Your name?, * Bob is here, Bob: anybody?]", "[Your name?, That name will not do.]"}},
      {"task_queue",
       {"urgent is done", "mail is done", "flaky failed: ConnectionError",
        "flaky failed: ConnectionError", "flaky is done", "stuck is given up: TimeoutError",
        "backup is done", "all done"}},
      {"log_pipeline",
       {"10.0.0.1 saw 4 pages, 4000 bytes", "10.0.0.2 saw 3 pages, 3000 bytes",
        "10.0.0.3 saw 3 pages, 3000 bytes", "status 200 came 10 times", "status 404 came 2 times"}},
      {"crawler",
       {"/1 -> 200, 100 bytes", "/10 -> 404, 8 bytes", "/11 -> 404, 8 bytes", "/12 -> 404, 8 bytes",
        "/13 -> 404, 8 bytes", "/14 -> 404, 8 bytes", "/15 -> 404, 8 bytes", "/2 -> 200, 100 bytes",
        "/3 -> 200, 100 bytes", "/4 -> 200, 100 bytes", "/5 -> 200, 102 bytes",
        "/6 -> 200, 102 bytes", "/7 -> 200, 102 bytes", "/8 -> 404, 8 bytes", "/9 -> 404, 8 bytes"},
       true},
      {"tls_echo",
       {"version TLSv1.3", "echo: over the wire, unreadable", "stranger: self-signed certificate",
        "other host: Hostname mismatch, certificate is not valid for 'example.org'."},
       true},
      {"dns_query",
       {"host.example 60 A 10.0.0.7", "mail.example 60 MX 10 mx.mail.example",
        "long.example 60 TXT \"" + std::string(60, '1') + "\"",
        "long.example 60 TXT \"" + std::string(60, '2') + "\"",
        "long.example 60 TXT \"" + std::string(60, '3') + "\"", "there is no such name"}},
      {"port_forwarder",
       {"far side: 5 bytes came", "far side: 3000000 bytes came", "far side gone: ''"}},
      {"send_mail",
       {"server: STARTTLS (in the open)", "server: AUTH PLAIN AGFkYQBzZWNyZXQ=",
        "server: MAIL FROM:<ada@example.org>", "server: RCPT TO:<bob@example.org>", "server: DATA",
        "server: | Subject: lunch", "server: | ", "server: | At one?", "server: | ... or two",
        "server: QUIT", "server: STARTTLS (in the open)", "server: MAIL FROM:<ada@example.org>",
        "server: RCPT TO:<bob@example.org>", "server: RCPT TO:<nobody@example.org>",
        "the server says to RCPT: 550 no such user here", "server: STARTTLS (in the open)",
        "not trusted: self-signed certificate"},
       true},
      {"file_server",
       {"200 Hello!", "200 3000000 bytes", "206 ell", "206 o!", "416 416 Range Not Satisfiable",
        "404 404 Not Found", "404 404 Not Found", "404 404 Not Found"}},
  };
  return all;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("the programs of samples/legacy, apps and network print what they should") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  std::vector<const Program*> expected;
  std::vector<ChildOptions> children;
  for (const Program& program : programs()) {
    const fs::path path = fs::absolute(root != nullptr ? root : ".") / "samples" / program.name;
    if (!fs::exists(path)) {
      if (!program.optional) FAIL_CHECK("not built: ", program.name);
      MESSAGE("not built, so not tested: ", program.name);
      continue;
    }
    expected.push_back(&program);
    children.push_back({.program = path.string()});
  }
  const std::vector<ChildResult> results = support::run_children(children, 4);
  for (std::size_t i = 0; i < results.size(); ++i) {
    CAPTURE(expected[i]->name);
    CHECK(results[i].out() == text_of(expected[i]->lines));
    CHECK(results[i].errors == "");
    CHECK(results[i].status == 0);
  }
}

TEST_CASE("a program of libpq says what is wrong with the address of the server") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  for (const char* name :
       {"libpq_blocking", "libpq_in_a_loop", "libpq_together", "libpq_bounded"}) {
    const fs::path path = fs::absolute(root != nullptr ? root : ".") / "samples" / name;
    CAPTURE(name);
    if (!fs::exists(path)) {
      MESSAGE("not built, so not tested: ", name);
      continue;
    }
    const ChildResult result =
        support::run_child({.program = path.string(), .arguments = {"host=/nowhere"}});
    CHECK(result.status == 1);
    CHECK(result.errors.find("/nowhere") != std::string::npos);
    CHECK(result.out() == "");
  }
}
