// Clients of real servers, by fiber-run.
#include <unistd.h>

#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/slapd.hpp"
#include "unmodified_libraries/sshd.hpp"
#include "unmodified_programs/programs.hpp"
#if defined(FIBER_TEST_LIBPQ)
#include "unmodified_libraries/postgres.hpp"
#endif

using namespace unmodified;

namespace {

const std::string kHost = "127.0.0.1";

// A certificate for the host, and its key.
struct Certificate {
  std::string certificate, key;
};
Certificate certificate() {
  const legacy_test::TemporaryDirectory directory;
  legacy_test::run_program(
      {find("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
       "/CN=" + kHost, "-addext", "subjectAltName=IP:" + kHost, "-keyout", directory / "key",
       "-out", directory / "certificate"},
      directory / "log");
  return {legacy_test::text_of(directory / "certificate"), legacy_test::text_of(directory / "key")};
}

}  // namespace

TEST_CASE("curl and wget") {
  if (!has({"nginx"})) return;
  const legacy_test::Nginx nginx;
  const std::string closed = "http://" + kHost + ":1/";
  if (has({"curl"})) {
    const std::vector<std::string> curl{"curl", "-sS", "--noproxy", "*"};
    const auto get = [&](std::vector<std::string> more, int status = 0) {
      std::vector<std::string> command = curl;
      command.insert(command.end(), more.begin(), more.end());
      return same(command, status);
    };
    CHECK(get({nginx.url("/page")}).size() > legacy_test::Nginx::kPageSize);
    get({"-w", "%{http_code} %{size_download} %{num_connects}", nginx.url("/page"),
         nginx.url("/slow/page"), nginx.url("/nothing")});
    get({"-f", nginx.url("/nothing")}, 22);
    get({"--no-show-error", "-m", "0.3", "-o", "/dev/null", "-f", nginx.url("/stuck/page")}, 28);
    get({closed}, 7);
    get({"http://no-such-host.invalid/"}, 6);
    get({"http://localhost:" + std::to_string(nginx.port()) + "/page"});
    get({"--stderr", "/dev/null", "--parallel", "--parallel-max", "5", "-o", "#1",
         nginx.url("/slow/{page,page?2,page?3}")});
    same({"curl", "-sS", "-T", "-", nginx.url("/upload")}, 0, {.input = std::string(300'000, 'x')});
  }
  if (has({"wget"})) {
    const std::vector<std::string> quiet{"wget", "--no-proxy", "-q", "-O", "-"};
    const auto get = [&](std::vector<std::string> more, int status = 0) {
      std::vector<std::string> command = quiet;
      command.insert(command.end(), more.begin(), more.end());
      return same(command, status);
    };
    CHECK(get({nginx.url("/page")}).size() > legacy_test::Nginx::kPageSize);
    get({nginx.url("/slow/page"), nginx.url("/page")});
    get({nginx.url("/nothing")}, 8);
    get({"-t", "1", closed}, 4);
    get({"-t", "1", "http://no-such-host.invalid/"}, 4);
    same({"wget", "--no-proxy", "-q", nginx.url("/page")}, 0, {}, {"page"});
  }
}

TEST_CASE("TLS: openssl s_client, curl, wget") {
  if (!has({"nginx", "openssl"})) return;
  const Certificate its = certificate();
  const legacy_test::Nginx nginx(its.certificate, its.key);
  const legacy_test::TemporaryDirectory directory;
  directory.write("ca", its.certificate);
  const std::string ca = directory / "ca";
  const std::string address = kHost + ":" + std::to_string(nginx.port());
  const auto s_client = [&](const std::string& request, const std::vector<std::string>& more,
                            int status = 0) {
    std::vector<std::string> command{"openssl", "s_client", "-quiet", "-connect", address};
    command.insert(command.end(), more.begin(), more.end());
    return same(command, status, {.input = request});
  };
  // HTTP/0.9: an answer without a date.
  const std::string page = s_client("GET /page\r\n", {"-CAfile", ca, "-verify_return_error"});
  CHECK(page.find(std::string(legacy_test::Nginx::kPageSize, 'p')) != std::string::npos);
  s_client("GET /slow/page\r\n", {"-CAfile", ca, "-tls1_2"});
  s_client("GET /page\r\n", {"-verify_return_error"}, 1);
  same({"openssl", "s_client", "-connect", kHost + ":1"}, 1);
  same({"openssl", "dgst", "-sha256"}, 0, {.input = std::string(100'000, 'x')});
  same({"openssl", "x509", "-in", ca, "-noout", "-text"});
  if (has({"curl"})) {
    same({"curl", "-sS", "--noproxy", "*", "--cacert", ca, nginx.url("/slow/page")});
    same({"curl", "-s", "--noproxy", "*", nginx.url("/page")}, 60);
  }
  if (has({"wget"})) {
    same({"wget", "--no-proxy", "-q", "-O", "-", "--ca-certificate=" + ca, nginx.url("/page")});
    same({"wget", "--no-proxy", "-q", "-O", "-", nginx.url("/page")}, 5);
  }
}

TEST_CASE("git") {
  if (!has({"git"})) return;
  const legacy_test::TemporaryDirectory directory;
  const std::string source = directory / "source";
  const std::vector<std::string> settings{
      "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"};
  const auto git = [&](std::vector<std::string> command, int status = 0, bool children = false) {
    std::vector<std::string> all{"git"};
    all.insert(all.end(), settings.begin(), settings.end());
    all.insert(all.end(), command.begin(), command.end());
    return same(all, status, {.children = children});
  };
  std::string script = "set -e; export GIT_CONFIG_NOSYSTEM=1 HOME=" + directory.path() +
                       " GIT_AUTHOR_DATE='2001-01-01 00:00 +0000' "
                       "GIT_COMMITTER_DATE='2001-01-01 00:00 +0000'; git config --global "
                       "user.name a; git config --global user.email a@b; git config --global "
                       "init.defaultBranch main; git init -q " +
                       source + "; cd " + source +
                       "; for i in 1 2 3 4 5; do seq $i 9999 > $i; git add $i; git commit -q -m "
                       "\"number $i\"; done; git update-server-info";
  legacy_test::run_program({"/bin/sh", "-c", script}, directory / "log");
  // As root, git refuses the repository, which belongs to another user.
  directory.write("settings", "[safe]\ndirectory = *\n");
  ::setenv("GIT_CONFIG_GLOBAL", (directory / "settings").c_str(), 1);
  for (const bool children : {false, true}) {
    CAPTURE(children);
    git({"clone", "-q", source, "copy"}, 0, children);
    git({"clone", "-q", "--no-local", source, "copy"}, 0, children);
    git({"clone", "-q", "file://" + source, "copy"}, 0, children);
    git({"clone", "/no/such/repository", "copy"}, 128, children);
    CHECK(git({"-C", source, "log", "--stat", "--oneline"}, 0, children).find("number 5") !=
          std::string::npos);
    git({"-C", source, "fsck", "--full"}, 0, children);
    git({"-C", source, "grep", "-c", "77"}, 0, children);
    git({"-C", source, "archive", "--format=tar.gz", "HEAD"}, 0, children);
    git({"-C", source, "diff", "--exit-code", "HEAD~2", "HEAD", "--", "3", "4"}, 1, children);
  }
  if (!has({"nginx"})) return;
  legacy_test::Nginx nginx;
  const std::string copied = nginx.directory() + "/www/";
  legacy_test::run_program({"/bin/sh", "-c",
                            "git clone -q --bare " + source + " " + directory.path() +
                                "/bare; cd " + directory.path() + "/bare; git update-server-info"},
                           directory / "log");
  std::filesystem::copy(directory / "bare", copied + "bare",
                        std::filesystem::copy_options::recursive);
  for (const bool children : {false, true}) {
    CAPTURE(children);
    git({"clone", "-q", nginx.url("/bare"), "copy"}, 0, children);
    git({"ls-remote", nginx.url("/bare")}, 0, children);
    git({"clone", "-q", nginx.url("/nothing"), "copy"}, 128, children);
  }
}

#if defined(FIBER_TEST_LIBPQ)
TEST_CASE("psql") {
  if (!has({"psql"})) return;
  const legacy_test::Postgres server;
  const auto psql = [&](std::vector<std::string> more, int status = 0,
                        const std::string& input = "") {
    std::vector<std::string> command{"psql", "-X", "-d", server.address()};
    command.insert(command.end(), more.begin(), more.end());
    return same(command, status, {.input = input});
  };
  CHECK(psql({"-c", "select 6 * 7 as answer"}).find("42") != std::string::npos);
  psql({"-A", "-t", "-c", "select i, repeat('x', i) from generate_series(1, 500) i"});
  psql({"-c", "select pg_sleep(0.2)", "-c", "select 'after'"});
  psql({"-c", "select nothing"}, 1);
  psql({"-v", "ON_ERROR_STOP=1"}, 3, "select 1;\nselect 1/0;\nselect 2;\n");
  psql({"-q"}, 0,
       "create temp table t(a int, b text);\n\\copy t from pstdin\n1\tone\n2\ttwo\n\\.\n"
       "\\copy t to pstdout\n\\! echo from a shell\nlisten x;\nselect count(*) from t;\n"
       "set statement_timeout = 100;\nselect pg_sleep(20);\n");
  same({"psql", "-X", "-h", kHost, "-p", "1", "-U", "nobody", "postgres"}, 2);
}
#else
TEST_CASE("psql") { std::cout << "SKIP: libpq-dev is missing" << std::endl; }
#endif

TEST_CASE("ssh and scp") {
  if (!has({"ssh", "scp", "sshd", "ssh-keygen"})) return;
  const legacy_test::Sshd sshd;
  const std::vector<std::string> options{"-F", "none",
                                         "-i", sshd.key(),
                                         "-o", "StrictHostKeyChecking=no",
                                         "-o", "UserKnownHostsFile=/dev/null",
                                         "-o", "LogLevel=ERROR",
                                         "-o", "BatchMode=yes"};
  const auto run = [&](const std::string& program, std::vector<std::string> more, int status = 0,
                       const std::string& input = "", const std::vector<std::string>& files = {},
                       bool children = false) {
    std::vector<std::string> command{program};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), {program == "ssh" ? "-p" : "-P", std::to_string(sshd.port())});
    command.insert(command.end(), more.begin(), more.end());
    return same(command, status, {.input = input, .children = children}, files);
  };
  CHECK(run("ssh", {kHost, "echo out; echo err >&2; exit 7"}, 7) == "out\n");
  run("ssh", {kHost, "sleep 0.2; cat | tr a b"}, 0, std::string(500'000, 'a'));
  run("ssh", {"-n", kHost, "seq 200000"});
  run("ssh", {"-tt", kHost, "tty >/dev/null && echo terminal"});
  run("ssh", {"-o", "PreferredAuthentications=none", kHost, "true"}, 255);
  same({"ssh", "-F", "none", "-p", "1", kHost, "true"}, 255);
  const legacy_test::TemporaryDirectory directory;
  directory.write("file", std::string(700'000, 'f'));
  for (const bool children : {false, true}) {
    CAPTURE(children);
    run("scp", {kHost + ":" + (directory / "file"), "copy"}, 0, "", {"copy"}, children);
    run("scp", {"-O", kHost + ":" + (directory / "file"), "copy"}, 0, "", {"copy"}, children);
    run("scp", {directory / "file", kHost + ":" + (directory / "there")}, 0, "", {}, children);
    CHECK(legacy_test::text_of(directory / "there") == legacy_test::text_of(directory / "file"));
    run("scp", {kHost + ":/no/such/file", "copy"}, 1, "", {}, children);
  }
}

TEST_CASE("ldapsearch") {
  if (!has({"ldapsearch", "slapd", "slapadd"})) return;
  const legacy_test::Slapd slapd;
  const std::string url = slapd.url();
  CHECK(same({"ldapsearch", "-LLL", "-x", "-H", url, "-b", "dc=x", "(cn=n7)", "cn", "sn"})
            .find("dn: cn=n7,dc=x") != std::string::npos);
  same({"ldapsearch", "-LLL", "-x", "-H", url, "-b", "dc=x"});
  same({"ldapsearch", "-x", "-H", url, "-b", "dc=x", "-z", "3"}, 4);
  same({"ldapsearch", "-x", "-H", url, "-b", "dc=nothing"}, 32);
  same({"ldapsearch", "-x", "-D", "cn=admin,dc=x", "-w", "wrong", "-H", url}, 49);
  same({"ldapsearch", "-x", "-H", "ldap://" + kHost + ":1", "-b", "dc=x"}, 255);
}
