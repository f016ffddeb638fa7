// Datagrams, pipes, child processes by protocol, files that are sent, and the rest of asyncio.
#include "files.hpp"
#include "harness.hpp"
#include "protocols.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/stacks.hpp>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "support/socket_pair.hpp"

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::Closing;
using faults::Collector;
using faults::require;

namespace {

struct Datagrams : asyncio::DatagramProtocol {
  explicit Datagrams(bool echoes) : echoes(echoes) {}
  void connection_made(const asyncio::DatagramTransport& its) override { transport = its; }
  void datagram_received(std::string_view data, const asyncio::SocketAddress& from) override {
    if (echoes)
      transport.sendto(data, from);
    else if (!got.done())
      got.set_result(std::string(data));
  }
  void error_received(const std::exception_ptr& error) override {
    if (!got.done()) got.set_exception(error);
  }
  bool echoes;
  asyncio::DatagramTransport transport;
  asyncio::Future<std::string> got = asyncio::get_running_loop().create_future<std::string>();
};

struct Child : asyncio::SubprocessProtocol {
  void pipe_data_received(int, std::string_view data) override { text += data; }
  void process_exited() override { exited = true; }
  void connection_lost(const std::exception_ptr&) override {
    if (!ended.done()) ended.set_result();
  }
  std::string text;
  bool exited = false;
  asyncio::Future<> ended = asyncio::get_running_loop().create_future<>();
};

struct Ends {
  Ends() {
    int both[2];
    if (::pipe2(both, O_CLOEXEC) != 0) raise_os_error(errno, "pipe2");
    reads = both[0];
    writes = both[1];
  }
  ~Ends() {
    if (reads >= 0) ::close(reads);
    if (writes >= 0) ::close(writes);
  }
  int reads = -1, writes = -1;
};

}  // namespace

FAULTS_SCENARIO(datagrams) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto [first, server] = await(loop.create_datagram_endpoint(
        [] { return std::make_shared<Datagrams>(true); }, {.local_addr = {{"127.0.0.1", 0}}}));
    const Closing<asyncio::DatagramTransport> closing{first};
    const auto [second, client] = await(
        loop.create_datagram_endpoint([] { return std::make_shared<Datagrams>(false); },
                                      {.remote_addr = {{"127.0.0.1", first.sockname().port()}}}));
    const Closing<asyncio::DatagramTransport> closing_too{second};
    second.sendto("a datagram of some length, sent there and back");
    // A datagram may be lost, by an error that its receiver is told of.
    try {
      const std::string got = await(asyncio::wait_for(client->got, 300ms));
      require(got.starts_with("a datagram"), "what comes back");
    } catch (const TimeoutError&) {
    }
  });
}

FAULTS_SCENARIO(pipes) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    Ends ends;
    const auto make = [] { return std::make_shared<Collector>(); };
    // A descriptor that cannot be adopted stays its owner's.
    const auto [reading, collector] = await(loop.connect_read_pipe(make, ends.reads));
    ends.reads = -1;
    const Closing<asyncio::ReadTransport> closing{reading};
    const auto [writing, unused] = await(loop.connect_write_pipe(make, ends.writes));
    ends.writes = -1;
    {
      const Closing<asyncio::WriteTransport> closing_too{writing};
      writing.write(std::string(200'000, 'p'));
    }
    await(asyncio::wait_for(collector->ended, 10s));
    require(collector->text.find_first_not_of('p') == std::string::npos, "what a pipe carries");
  });
}

FAULTS_SCENARIO(children_by_protocol) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto [transport, child] = await(loop.subprocess_exec(
        [] { return std::make_shared<Child>(); }, {"sh", "-c", "echo a line; exit 3"}));
    const Closing<asyncio::SubprocessTransport> closing{transport};
    await(asyncio::wait_for(child->ended, 10s));
    require(child->exited && transport.get_returncode(), "the end of a child");
  });
}

FAULTS_SCENARIO(files_sent) {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const faults::TextFile file(std::string(100'000, 'f'));
    const support::SocketPair ends;
    const int to = ends.one;
    const int from = ends.other;
    std::size_t got = 0;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      group.create_task([&] {
        while (got < 100'000) got += await(loop.sock_recv(from, 65536)).size();
      });
      require(await(loop.sock_sendfile(to, file.fd())) == 100'000, "a file that was sent");
    });
    require(got == 100'000, "a file that arrived");
  });
}

FAULTS_SCENARIO(barriers_and_runners) {
  asyncio::Runner runner;
  const auto meet = [] {
    const asyncio::Barrier barrier(3);
    const asyncio::Event event;
    int passed = 0;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 0; i < 3; ++i)
        group.create_task([&] {
          await(event.wait());
          await(barrier.wait());
          ++passed;
        });
      event.set();
    });
    return passed;
  };
  require(runner.run(meet) == 3, "tasks that meet");
  require(runner.run(meet) == 3, "tasks that meet in a second run");
  runner.close();
}

FAULTS_SCENARIO(stacks_of_all_sizes) {
  struct Before {
    ~Before() {
      stacks::default_size(size);
      stacks::default_guard_size(guard);
      stacks::max_idle(idle);
    }
    std::size_t size = stacks::default_size(64 * 1024);
    std::size_t guard = stacks::default_guard_size(8192);
    std::size_t idle = stacks::max_idle(3);
  } before;
  std::vector<greenlet> waiting;
  for (const std::size_t size : {16UL, 64UL, 256UL, 1024UL}) {
    for (int i = 0; i < 5; ++i)
      waiting.emplace_back([] { getcurrent().parent().switch_(); },
                           GreenletOptions{.stack_size = size * 1024});
    for (std::size_t i = waiting.size() - 5; i < waiting.size(); ++i) waiting[i].switch_();
  }
  require(stacks::census().in_use >= waiting.size(), "stacks in use");
  waiting.clear();
  stacks::trim();
  require(stacks::census().idle == 0, "trimmed stacks");
}
