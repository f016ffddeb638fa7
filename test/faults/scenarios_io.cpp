// Descriptors, streams, servers, child processes, signals, foreign main loops.
#include "harness.hpp"

#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>

#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/socket_pair.hpp"
#include "support/streams.hpp"

using namespace std::chrono_literals;
using namespace fiber;
using asyncio::await;
using faults::require;
using support::echo;

namespace {

// Talks over a connection. A connection that ends too early throws an error of this scenario, too.
void say(asyncio::StreamReader& reader, asyncio::StreamWriter& writer, std::size_t size) {
  const std::string sent(size, 'x');
  writer.write(sent);
  await(writer.drain());
  const std::string got = await(reader.readexactly(size));
  require(got == sent, "an echo");
  writer.close();
  await(writer.wait_closed());
}

// Closes the server whatever happens.
template <class F>
void with_server(const asyncio::Server& server, F function) {
  struct Close {
    const asyncio::Server& server;
    ~Close() { server.close(); }
  } close{server};
  function();
}

}  // namespace

FAULTS_SCENARIO(readers) {
  asyncio::run([] {
    const support::SocketPair ends;
    auto loop = asyncio::get_running_loop();
    auto readable = loop.create_future<>();
    auto writable = loop.create_future<>();
    const int reader = ends.one;
    const int writer = ends.other;
    struct Remove {
      asyncio::EventLoop& loop;
      int reader;
      int writer;
      ~Remove() {
        loop.remove_reader(reader);
        loop.remove_writer(writer);
      }
    } remove{loop, reader, writer};
    loop.add_reader(reader, [&] {
      loop.remove_reader(reader);
      readable.set_result();
    });
    loop.add_writer(writer, [&] {
      loop.remove_writer(writer);
      writable.set_result();
    });
    await(writable);
    while (::write(writer, "x", 1) != 1) {
    }
    await(readable);
  });
}

FAULTS_SCENARIO(sockets) {
  asyncio::run([] {
    const support::SocketPair ends;
    auto loop = asyncio::get_running_loop();
    const std::string much(300'000, 'x');
    std::size_t received = 0;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      (void)group.create_task([&] { await(loop.sock_sendall(ends.other, much)); });
      while (received < much.size()) received += await(loop.sock_recv(ends.one, 100'000)).size();
    });
  });
}

FAULTS_SCENARIO(streams) {
  asyncio::run([] {
    auto server = await(asyncio::start_server(echo, "127.0.0.1", 0));
    with_server(server, [&] {
      auto [reader, writer] =
          await(asyncio::open_connection("127.0.0.1", server.sockets().at(0).port()));
      say(reader, writer, 100'000);
    });
    await(server.wait_closed());
  });
}

FAULTS_SCENARIO(unix_streams) {
  asyncio::run([] {
    const std::string path = "/tmp/fiber-faults-" + std::to_string(::getpid());
    auto server = await(asyncio::start_unix_server(echo, path));
    with_server(server, [&] {
      auto [reader, writer] = await(asyncio::open_unix_connection(path));
      say(reader, writer, 1000);
    });
    await(server.wait_closed());
  });
}

FAULTS_SCENARIO(lines) {
  asyncio::run([] {
    support::SocketPair ends;
    auto [reader, writer] = await(asyncio::open_connection_from(ends.one));
    ends.one.release();  // taken over only now
    for (int i = 0; i < 50; ++i)
      while (::write(ends.other, "a line of some length, but not more\n", 36) != 36) {
      }
    ends.other.close();
    int lines = 0;
    while (!await(reader.readline()).empty()) ++lines;
    require(lines == 50, "the lines");
    writer.close();
  });
}

FAULTS_SCENARIO(subprocesses) {
  asyncio::run([] {
    using namespace asyncio::subprocess;
    auto process = await(asyncio::create_subprocess_exec(
        {"/bin/cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE}));
    struct Kill {
      asyncio::Process& process;
      ~Kill() {
        if (process.returncode()) return;
        try {
          process.kill();
        } catch (const ProcessLookupError&) {
        }
      }
    } kill{process};
    const auto [out, err] = await(process.communicate(std::string(100'000, 'x')));
    require(out.size() == 100'000 && err.empty(), "what a process writes");
    require(await(process.wait()) == 0, "its status");
  });
}

FAULTS_SCENARIO(signal_handlers) {
  asyncio::run([] {
    auto loop = asyncio::get_running_loop();
    asyncio::Event arrived;
    int count = 0;
    loop.add_signal_handler(SIGUSR1, [&] {
      if (++count == 3) arrived.set();
    });
    struct Remove {
      asyncio::EventLoop& loop;
      ~Remove() { loop.remove_signal_handler(SIGUSR1); }
    } remove{loop};
    for (int i = 0; i < 3; ++i) {
      ::raise(SIGUSR1);
      await(asyncio::sleep(0));
    }
    await(arrived.wait());
  });
}

FAULTS_SCENARIO(foreign_main_loop) {
  int steps = 0;
  auto loop = asyncio::new_event_loop();
  struct Close {
    asyncio::EventLoop& loop;
    ~Close() { loop.close(); }
  } close{loop};
  require(loop.fileno() >= 0, "the descriptor of a loop");
  auto task = loop.create_task([&] {
    for (; steps < 5; ++steps) await(asyncio::sleep(steps % 2 == 0 ? 0ms : 1ms));
  });
  while (!task.done()) loop.run_ready();
  task.result();
  require(steps == 5, "the steps of a task");
}

// glibc reads its settings at the first use in a process, and without memory for them keeps a lock
// for ever (get_locked_global).
static void look_up_once() {
  addrinfo* list = nullptr;
  if (::getaddrinfo("localhost", "80", nullptr, &list) == 0) ::freeaddrinfo(list);
}

FAULTS_SCENARIO(name_look_ups, look_up_once) {
  asyncio::run([] {
    auto loop = asyncio::get_running_loop();
    const auto numeric = await(loop.getaddrinfo("127.0.0.1", 80, {.type = SOCK_STREAM}));
    require(numeric.size() == 1, "an address by numbers");
    const auto named = await(loop.getaddrinfo("localhost", 80, {.family = AF_INET}));
    require(!named.empty(), "an address by name");
    try {
      await(loop.getaddrinfo("localhost", 80, {.family = AF_INET, .type = 1234}));
      require(false, "a look-up that cannot succeed");
    } catch (const asyncio::gaierror&) {
    }
    const auto name = await(loop.getnameinfo(named[0].address, NI_NUMERICHOST | NI_NUMERICSERV));
    require(name.first == "127.0.0.1" && name.second == "80", "a name");
  });
}
