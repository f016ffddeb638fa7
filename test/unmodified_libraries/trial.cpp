#include "unmodified_libraries/trial.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <vector>

#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/relays.hpp"
#include "unmodified_libraries/servers.hpp"

namespace legacy_test {
namespace {

std::size_t descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

class PatchedClient {
 public:
  explicit PatchedClient(const char* function) {
    if (function == nullptr) {
      monkey::patch_all();
      return;
    }
    Dl_info where{};
    REQUIRE(::dladdr(::dlsym(RTLD_DEFAULT, function), &where) != 0);
    object_ = where.dli_fname;
    REQUIRE(monkey::patch_library(object_, {.dependencies = true}) > 0);
  }
  PatchedClient(const PatchedClient&) = delete;
  PatchedClient& operator=(const PatchedClient&) = delete;
  ~PatchedClient() { monkey::unpatch(); }

  const char* policy() const {
    for (const monkey::Patched& each : monkey::patched()) {
      if (object_.empty() || !std::filesystem::equivalent(each.object, object_)) continue;
      if (each.cancel == monkey::Cancel::interrupt) return "interrupt";
      if (each.cancel == monkey::Cancel::never) return "never";
    }
    return "error";
  }

 private:
  std::string object_;
};

// For a cell of a table.
std::string shortened(std::string text) {
  constexpr std::size_t kMost = 60;
  for (char& c : text)
    if (c == '\n' || c == '|' || c == '\r') c = ' ';
  if (text.size() > kMost) text = text.substr(0, kMost - 3) + "...";
  return text;
}

class Trial {
 public:
  explicit Trial(const Client& client)
      : client_(client),
        slow_(type(),
              [&](int fd) {
                client.datagrams ? delay_datagrams(fd, client.port)
                                 : delay_streams(fd, client.port);
              }),
        silent_(type(), never_answer) {
    if (!client.datagrams && !client.tries_again) broken_.emplace(type(), break_off);
  }

  void run() {
    const PatchedClient patched(client_.function);
    policy_ = patched.policy();
    asyncio::run([&] {
      CHECK(outcome(client_.port) == client_.answer);  // the first one initialises the library
      const std::size_t before = descriptors();
      many();
      errors();
      limits();
      cancellation();
      CHECK(outcome(client_.port) == client_.answer);
      if (!client_.closes_later) CHECK(descriptors() == before);
    });
    print({client_.library + " " + client_.version, client_.server, client_.at_once, one_, all_,
           refused_, cut_, policy_});
  }

 private:
  int type() const { return client_.datagrams ? SOCK_DGRAM : SOCK_STREAM; }

  // Returns the library's answer, or its text for an error.
  std::string outcome(int port) const {
    try {
      return client_.call(port);
    } catch (const Failure& failure) {
      return std::string("failed: ") + failure.what();
    }
  }

  double at_once(int count) {
    int most = 0, inside = 0, most_inside = 0;
    const auto start = std::chrono::steady_clock::now();
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < count; ++i)
      tasks.push_back(asyncio::create_task([&] {
        most_inside = std::max(most_inside, ++inside);
        std::string text = outcome(slow_.port());
        --inside;
        most = std::max(most, threads());
        return text;
      }));
    for (const auto& task : tasks) CHECK(await(task) == client_.answer);
    CHECK(most <= client_.most_threads + kMostThreads - 1);
    CHECK(most_inside == count);  // a call that blocks ends before the next begins
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  void many() {
    one_ = at_once(1);
    all_ = at_once(client_.at_once);
  }

  void errors() {
    refused_ = outcome(client_.datagrams ? silent_.port() : free_port());
    CHECK(refused_.starts_with("failed: "));
    refused_.erase(0, std::string("failed: ").size());
    if (broken_) CHECK(outcome(broken_->port()).starts_with("failed: "));
  }

  // Whatever the library makes of a call that is cut short, the scope tells the truth.
  void limits() {
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < client_.at_once; ++i)
      tasks.push_back(asyncio::create_task([&] {
        CHECK_THROWS_AS(
            await(asyncio::wait_for([&] { return client_.call(silent_.port()); }, 300ms)),
            asyncio::TimeoutError);
      }));
    await(asyncio::gather(tasks));
  }

  void cancellation() {
    std::vector<asyncio::Task<std::string>> tasks;
    for (int i = 0; i < client_.at_once; ++i)
      tasks.push_back(asyncio::create_task([&] { return cut_ = outcome(silent_.port()); }));
    await(asyncio::sleep(100ms));
    for (const auto& task : tasks) task.cancel();
    await(asyncio::wait(tasks));
    for (const auto& task : tasks) CHECK(task.cancelled());
    if (cut_.starts_with("failed: ")) cut_.erase(0, std::string("failed: ").size());
  }

  const Client& client_;
  const Relay slow_, silent_;
  std::optional<Relay> broken_;
  const char* policy_ = "";
  double one_ = 0, all_ = 0;
  std::string refused_, cut_;
};

}  // namespace

void try_out(const Client& client) { Trial(client).run(); }

void print(const Row& row) {
  std::printf(
      "legacy-row: | %s | %s | %d | %.2f s | %.2f s | %s | %s | %s |\n", row.library.c_str(),
      row.server.c_str(), row.at_once, row.one, row.all, shortened(row.error).c_str(),
      shortened(row.cut_short.empty() ? "(no text)" : row.cut_short).c_str(), row.policy.c_str());
  std::fflush(stdout);
}

}  // namespace legacy_test
