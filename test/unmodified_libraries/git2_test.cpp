// libgit2, unmodified, against Git's daemon.
#include <git2.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

class GitDaemon : public Server {
 public:
  GitDaemon() {
    const std::string git = need_program("git", "git");
    const std::string program = need_program("git-daemon", "git", {"/usr/lib/git-core"});
    const std::string repository = directory_ / "repository";
    const std::string log = directory_ / "log";
    run_program({git, "init", "-q", "-b", "main", repository}, log);
    run_program({git, "-C", repository, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q",
                 "--allow-empty", "-m", "first"},
                log);
    command_ = {program, "--listen=127.0.0.1", "--port=" + std::to_string(port_), "--export-all",
                "--base-path=" + directory_.path()};
    start();
  }
};

// Returns the names of the references on the remote side.
std::string list(int port) {
  const auto must = [](int status) {
    if (status < 0) throw Failure(git_error_last() != nullptr ? git_error_last()->message : "?");
  };
  git_remote* raw = nullptr;
  const std::string url = "git://127.0.0.1:" + std::to_string(port) + "/repository";
  must(git_remote_create_detached(&raw, url.c_str()));
  const std::unique_ptr<git_remote, void (*)(git_remote*)> remote(raw, git_remote_free);
  must(git_remote_connect(raw, GIT_DIRECTION_FETCH, nullptr, nullptr, nullptr));
  const git_remote_head** heads = nullptr;
  std::size_t count = 0;
  must(git_remote_ls(&heads, &count, raw));
  std::string names;
  for (std::size_t i = 0; i < count; ++i) names += std::string(heads[i]->name) + " ";
  return names;
}

}  // namespace

TEST_CASE("libgit2: what is on the other side") {
  const GitDaemon daemon;
  git_libgit2_init();
  try_out({.library = "libgit2",
           .version = LIBGIT2_VERSION,
           .function = "git_libgit2_init",
           .server = "git daemon",
           .port = daemon.port(),
           .call = list,
           .answer = "HEAD refs/heads/main ",
           .at_once = 20});
  git_libgit2_shutdown();
}
