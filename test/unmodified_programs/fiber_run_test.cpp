// fiber-run itself: a program runs in a task without noticing.
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "unmodified_programs/programs.hpp"

using namespace unmodified;

namespace {

ChildResult run(const std::vector<std::string>& arguments) {
  return support::run_child({.program = fiber_run(), .arguments = arguments});
}

// Resets an ignored signal: children would inherit that, as SIGHUP under nohup(1).
void heed(int signal) {
  struct sigaction now {};
  if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN)
    std::signal(signal, SIG_DFL);
}

}  // namespace

TEST_CASE("main() runs in a task, with its arguments, and gives its status") {
  const std::string where = built("test/unmodified_programs-where");
  const ChildResult plain = support::run_child({.program = where, .arguments = {"7", "x"}});
  CHECK(plain.out() == "the thread's stack, 2 arguments, LD_PRELOAD unset\n");
  const ChildResult in_task = run({where, "7", "x"});
  CHECK(in_task.out() == "another stack, 2 arguments, LD_PRELOAD unset\n");
  CHECK(in_task.errors == "");
  CHECK(in_task.status == 7);
  CHECK(run({"--", where}).out() == "another stack, 0 arguments, LD_PRELOAD unset\n");
}

TEST_CASE("a program that asks for the stack of its main thread is told the one it runs on") {
  const std::string where = built("test/unmodified_programs-where");
  CHECK(run({where, "0", "stack"}).out() ==
        "another stack, 2 arguments, LD_PRELOAD unset\non the stack\n");
}

TEST_CASE(
    "a program whose stack is executable, as for nested functions of C, runs on such a stack") {
  for (const std::string name : {"where", "execstack"}) {
    const std::string program = built("test/unmodified_programs-" + name);
    const ChildResult plain =
        support::run_child({.program = program, .arguments = {"0", "executable"}});
    const ChildResult in_task = run({program, "0", "executable"});
    REQUIRE(plain.lines.size() == 2);
    REQUIRE(in_task.lines.size() == 2);
    CHECK(plain.lines[1].text == (name == "where" ? "rw-p" : "rwxp"));
    CHECK(in_task.lines[1].text == plain.lines[1].text);
  }
}

TEST_CASE("the stack is as large as the limit allows, and large without one") {
  const std::string where = built("test/unmodified_programs-where");
  const auto deep = [&](const std::string& limits) {
    return support::run_child(
        {.program = "/bin/sh",
         .arguments = {"-c", limits + "exec \"$@\"", "sh", fiber_run(), where, "0", "deep"}});
  };
  const ChildResult without = deep("ulimit -S -s unlimited || exit 77; ");
  if (without.status != 77) {
    CHECK(without.errors == "");
    CHECK(without.out() == "another stack, 2 arguments, LD_PRELOAD unset\n40 MiB deep\n");
    // There is no room for the largest one.
    const ChildResult little = deep("ulimit -S -s unlimited; ulimit -v 400000; ");
    CHECK(little.errors == "");
    CHECK(little.out() == without.out());
  }
}

TEST_CASE("main() may end its thread alone, or be cancelled while it waits") {
  const std::string where = built("test/unmodified_programs-where");
  for (const std::string how : {"pthread_exit", "pthread_cancel", "cancel_itself"}) {
    CAPTURE(how);
    const ChildResult plain = support::run_child({.program = where, .arguments = {"7", how}});
    const ChildResult in_task = run({where, "7", how});
    CHECK(plain.status == 0);
    CHECK(in_task.status == 0);
    CHECK(in_task.errors == "");
    REQUIRE(plain.lines.size() == 3);
    REQUIRE(in_task.lines.size() == 3);
    for (const std::size_t i : {1U, 2U}) CHECK(in_task.lines[i].text == plain.lines[i].text);
  }
}

TEST_CASE("child programs run in a task as well with --children, and not without") {
  const std::string where = built("test/unmodified_programs-where");
  const std::string script = where + " 0 | cat; exec " + where + " 3";
  const ChildResult alone = run({"/bin/sh", "-c", script});
  CHECK(alone.out() ==
        "the thread's stack, 1 arguments, LD_PRELOAD unset\n"
        "the thread's stack, 1 arguments, LD_PRELOAD unset\n");
  CHECK(alone.status == 3);
  const ChildResult all = run({"--children", "/bin/sh", "-c", script});
  CHECK(all.lines.size() == 2);
  for (const auto& line : all.lines) CHECK(line.text.starts_with("another stack, 1 arguments"));
  CHECK(all.status == 3);
}

TEST_CASE("a program that fiber-run cannot run is refused with a reason") {
  const legacy_test::TemporaryDirectory directory;
  CHECK(run({}).status == 125);
  CHECK(run({"--no-such-option", "true"}).errors ==
        "fiber-run: there is no option '--no-such-option'\n");
  CHECK(run({"no-such-program-at-all"}).status == 127);
  CHECK(run({"no-such-program-at-all"}).errors ==
        "fiber-run: there is no program 'no-such-program-at-all'\n");
  CHECK(run({"/no/such/program"}).status == 127);
  CHECK(run({directory.path()}).status == 126);
  directory.write("text", "no program");
  CHECK(run({directory / "text"}).status == 126);
  directory.write("suid", "");
  REQUIRE(::chmod((directory / "suid").c_str(), 04755) == 0);
  if (::geteuid() == 0) {
    REQUIRE(::chown((directory / "suid").c_str(), 1, 1) == 0);
    REQUIRE(::chmod((directory / "suid").c_str(), 04755) == 0);
    CHECK(run({directory / "suid"}).errors.find("runs as another user") != std::string::npos);
  }
  const std::string linked = built("test/unmodified_programs-static");
  if (std::filesystem::exists(linked)) {
    CHECK(run({linked}).status == 126);
    CHECK(run({linked}).errors.find("is statically linked") != std::string::npos);
  }
}

TEST_CASE("a script runs in a task if the interpreter can that the kernel executes for it") {
  const legacy_test::TemporaryDirectory directory;
  const auto script = [&](const std::string& name, const std::string& text) {
    directory.write(name, text);
    REQUIRE(::chmod((directory / name).c_str(), 0755) == 0);
    return directory / name;
  };
  const std::string where = built("test/unmodified_programs-where");
  std::string chain = script("0", "#! \t" + where + " word\n");
  for (int i = 1; i < 5; ++i) {
    CHECK(run({chain}).out() ==
          "another stack, " + std::to_string(i + 1) + " arguments, LD_PRELOAD unset\n");
    chain = script(std::to_string(i), "#!" + chain + "\n");
  }
  const std::string too_many = script("5", "#!" + chain + "\n");
  CHECK(run({too_many}).status == 126);
  CHECK(run({too_many}).errors.find(std::strerror(ELOOP)) != std::string::npos);
  CHECK(run({script("no end of line", "#!" + where)}).out().starts_with("another stack"));
  // As execvp() does, of which the kernel's execve() knows nothing.
  for (const std::string head : {"", "\n", "#! \n"}) {
    const std::string by_shell =
        script("no interpreter", head + "echo $0 $*; " + where + " 0; exit 3\n");
    const ChildResult ran = run({"--children", by_shell, "a", "b"});
    REQUIRE(ran.lines.size() == 2);
    CHECK(ran.lines[0].text == by_shell + " a b");
    CHECK(ran.lines[1].text.starts_with("another stack"));
    CHECK(ran.status == 3);
  }
  CHECK(run({script("empty", "")}).status == 0);
  const std::string missing = script("missing", "#!/no/such/interpreter\n");
  CHECK(run({missing}).status == 127);
  CHECK(run({missing}).errors == "fiber-run: '/no/such/interpreter', the interpreter of '" +
                                     missing + "': " + std::strerror(ENOENT) + "\n");
  const std::string linked = built("test/unmodified_programs-static");
  if (std::filesystem::exists(linked)) {
    const std::string by_static = script("static", "#!" + linked + "\n");
    for (const std::string& path : {by_static, script("chained", "#!" + by_static + "\n")}) {
      CHECK(run({path}).status == 126);
      CHECK(run({path}).out() == "");
      CHECK(run({path}).errors == "fiber-run: '" + linked + "', the interpreter of '" + by_static +
                                      "' is statically linked: nothing can be loaded into it\n");
    }
  }
  if (::geteuid() == 0) {
    const std::string suid = script("suid", "");
    REQUIRE(::chown(suid.c_str(), 1, 1) == 0);
    REQUIRE(::chmod(suid.c_str(), 04755) == 0);
    CHECK(run({script("by suid", "#!" + suid + "\n")}).status == 126);
    CHECK(run({script("by suid", "#!" + suid + "\n")}).errors.find("runs as another user") !=
          std::string::npos);
  }
}

TEST_CASE("environment, descriptors, signal masks and dispositions are the program's own") {
  CHECK(same({"env"}).find("LD_PRELOAD") == std::string::npos);
  same({"sh", "-c", "LD_PRELOAD= env | sort"});
  if (has({"bash"})) {
    // The lowest free descriptor is the one of a normal run.
    same({"bash", "-c",
          "exec {a}</dev/null 5</dev/null; exec {b}</dev/null; echo $a $b; ulimit -n; ulimit -s"});
    // Not SigQ, which counts the signals of all programs of the user.
    same({"bash", "-c", "grep ^Sig[^Q] /proc/self/status; grep ^Shd /proc/$$/status; trap"});
  }
  same({"sh", "-c", "umask; pwd -P | sed 's/.*here/here/'; id"});
}

TEST_CASE("a signal ends the program as it does elsewhere") {
  for (const int signal : {SIGTERM, SIGKILL, SIGHUP, SIGINT, SIGSEGV, SIGABRT, SIGPIPE}) {
    CAPTURE(signal);
    heed(signal);
    same({"sh", "-c", "ulimit -c 0; kill -" + std::to_string(signal) + " $$; sleep 10; echo no"},
         128 + signal);
  }
  same({"sh", "-c", "yes | head -n 3"});
  same({"timeout", "0.2", "sleep", "60"}, 124, {.children = true});
  same({"timeout", "-s", "KILL", "0.2", "sleep", "60"}, 137, {.children = true});
}

TEST_CASE("small programs of every kind") {
  same({"true"});
  same({"false"}, 1);
  same({"cat", "-n"}, 0, {.input = "one\ntwo\n"});
  same({"cat", "/no/such/file"}, 1);
  same({"sort", "-r", "-n"}, 0, {.input = "1\n10\n9\n"});
  same({"dd", "bs=1", "count=3", "status=none"}, 0, {.input = "abcdef"});
  same({"expr", "1", "+", "1"});
  same({"sleep", "0.1"});
  same({"sleep", "x"}, 1);
  same({"find", "/usr/share/doc/bash", "-name", "c*"});
  same({"xargs", "-n1", "echo"}, 0, {.input = "a b c", .children = true});
  same({"awk", "{ print $2; system(\"echo x\") }"}, 0, {.input = "a b\nc d\n", .children = true});
  same({"tee", "file"}, 0, {.input = std::string(300'000, 'x')}, {"file"});
  if (has({"gzip"}))
    same({"sh", "-c", "gzip -c | gzip -dc | wc -c"}, 0,
         {.input = std::string(1'000'000, 'z'), .children = true});
}
