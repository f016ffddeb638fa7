// The lists of events are those that CPython 3.13 prints for equal programs.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "support/descriptor.hpp"
#include "support/emulator.hpp"
#include "support/events.hpp"
#include "support/recorder.hpp"

namespace asyncio = fiber::asyncio;
namespace sockets = fiber::socket;
using asyncio::await;
using asyncio::Transport;
using support::Events;
using support::shown;
using support::thrown_by;

namespace {

struct Recorder : asyncio::Protocol {
  explicit Recorder(Events& say) : say(say) {}
  void connection_made(const Transport&) override { say("made"); }
  void data_received(std::string_view data) override {
    say("data(" + std::string(data) + ")");
    if (raises) throw fiber::ValueError("data");
  }
  bool eof_received() override {
    say("eof");
    return true;
  }
  void connection_lost(const std::exception_ptr& error) override {
    say("lost(" + shown(error) + ")");
  }
  void pause_writing() override { say("pause"); }
  void resume_writing() override { say("resume"); }
  Events& say;
  bool raises = false;
};

struct Pipe : support::Pipe {
  std::string read() const {
    char data[100];
    const auto count = ::read(reads, data, sizeof data);
    return {data, static_cast<std::size_t>(count)};
  }
  void write(std::string_view data) const {
    REQUIRE(::write(writes, data.data(), data.size()) == std::ssize(data));
  }
};

void rest() {
  for (int i = 0; i < 12; ++i) await(asyncio::sleep(0));
}

std::string events_of_reading(bool raises) {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    loop.set_exception_handler([&](const asyncio::EventLoop&, const auto& context) {
      say("handler:" + context.message + ":" + fiber::repr(context.exception));
    });
    Pipe pipe;
    const auto [transport, protocol] = await(loop.connect_read_pipe(
        [&] { return std::make_shared<Recorder>(say); }, pipe.reads.release()));
    protocol->raises = raises;
    say("connected");
    pipe.write("one");
    rest();
    pipe.write("two");
    rest();
    pipe.writes.close();
    rest();
    say(transport.is_closing() ? "True" : "False");
  });
  return say.take();
}

struct Child : asyncio::SubprocessProtocol {
  explicit Child(Events& say) : say(say) {}
  void connection_made(const asyncio::SubprocessTransport& its) override {
    say("made");
    transport = its;
  }
  void pipe_data_received(int fd, std::string_view data) override { (fd == 1 ? out : err) += data; }
  void pipe_connection_lost(int fd, const std::exception_ptr& error) override {
    lost_pipes[fd] = shown(error);
  }
  void process_exited() override { exits += std::to_string(*transport.get_returncode()); }
  void connection_lost(const std::exception_ptr& error) override {
    say("lost(" + shown(error) + ")");
    if (at_end) at_end();
    ended.set_result();
  }
  Events& say;
  asyncio::SubprocessTransport transport;
  std::string out, err, exits;
  std::string lost_pipes[3];
  std::function<void()> at_end;
  asyncio::Future<> ended = asyncio::get_running_loop().create_future();
};

}  // namespace

TEST_CASE("read pipe: data, end, and a callback that throws, which is reported alone") {
  CHECK(events_of_reading(false) == "made connected data(one) data(two) eof lost(None) True");
  CHECK(events_of_reading(true) ==
        "made connected data(one) handler:Exception in callback:ValueError('data') data(two) "
        "handler:Exception in callback:ValueError('data') eof lost(None) True");
}

TEST_CASE("the end of a read pipe goes to the protocol that it had then, its loss to the last") {
  struct Numbered : asyncio::Protocol {
    Numbered(Events& say, int number) : say(say), number(number) {}
    bool eof_received() override {
      say("eof of " + std::to_string(number));
      return true;
    }
    void connection_lost(const std::exception_ptr&) override {
      say("lost by " + std::to_string(number));
    }
    Events& say;
    int number;
  };
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    Pipe pipe;
    const auto [transport, first] = await(loop.connect_read_pipe(
        [&] { return std::make_shared<Numbered>(say, 0); }, pipe.reads.release()));
    pipe.writes.close();
    for (int number = 1; number < 6; ++number) {
      transport.set_protocol(std::make_shared<Numbered>(say, number));
      await(asyncio::sleep(0));
    }
  });
  CHECK(say.take() == "eof of 2 lost by 3");
}

TEST_CASE("write pipe: write_eof closes; the reader's end is seen") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&] { return std::make_shared<Recorder>(say); };
    {
      Pipe pipe;
      const auto transport = await(loop.connect_write_pipe(make, pipe.writes.release())).first;
      say("connected");
      transport.write("one");
      say(pipe.read());
      say(transport.can_write_eof() ? "True" : "False");
      transport.write_eof();
      transport.write("two");
      rest();
      say("<" + pipe.read() + ">");
    }
    CHECK(say.take() == "made connected one True lost(None) <>");
    {
      Pipe pipe;
      const auto transport = await(loop.connect_write_pipe(make, pipe.writes.release())).first;
      say("connected");
      pipe.reads.close();
      rest();
    }
    CHECK(say.take() == "made connected lost(None)");
    Pipe pipe;
    const auto transport = await(loop.connect_write_pipe(make, pipe.writes.release())).first;
    say("connected");
    transport.write(std::string(200'000, 'x'));
    rest();
    pipe.reads.close();
    rest();
    CHECK(say.take() == "made connected pause lost(BrokenPipeError)");
  });
}

TEST_CASE("a write pipe that is closing takes nothing more, and sends or gives up what it has") {
  constexpr std::size_t kMuch = 200'000;
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&] { return std::make_shared<Recorder>(say); };
    const auto begin = [&](Pipe& pipe) {
      const auto transport = await(loop.connect_write_pipe(make, pipe.writes.release())).first;
      transport.write(std::string(kMuch, 'x'));
      transport.close();
      transport.write("more");
      return transport;
    };
    {
      Pipe pipe;
      const auto transport = begin(pipe);
      std::size_t got = 0;
      while (got < kMuch) {
        got += pipe.read().size();
        await(asyncio::sleep(0));
      }
      rest();
      say(got == kMuch && pipe.read().empty() ? "all" : "not all");
    }
    CHECK(say.take() == "made pause resume lost(None) all");
    Pipe pipe;
    begin(pipe).abort();
    rest();
    CHECK(say.take() == "made pause lost(None)");
  });
}

TEST_CASE("a write pipe to a terminal stays open when nobody reads there any more") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0);
    REQUIRE(::grantpt(terminal) == 0);
    REQUIRE(::unlockpt(terminal) == 0);
    const std::string name = ::ptsname(terminal);
    const auto open_other_side = [&] {
      const int fd = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
      REQUIRE(fd >= 0);
      termios raw{};
      REQUIRE(::tcgetattr(fd, &raw) == 0);
      ::cfmakeraw(&raw);
      REQUIRE(::tcsetattr(fd, TCSANOW, &raw) == 0);
      return fd;
    };
    int other = open_other_side();
    const auto transport =
        await(loop.connect_write_pipe([&] { return std::make_shared<Recorder>(say); }, terminal))
            .first;
    ::close(other);
    rest();
    CHECK_FALSE(transport.is_closing());
    other = open_other_side();
    transport.write("again");
    char data[10] = {};
    CHECK(::read(other, data, sizeof data) == 5);
    ::close(other);
    transport.close();
    rest();
  });
  CHECK(say.take() == "made lost(None)");
}

TEST_CASE("a write pipe to /dev/null takes everything") {
  Events say;
  const auto open_null = [] { return ::open("/dev/null", O_WRONLY | O_CLOEXEC); };
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const int fd = open_null();
    const auto transport =
        await(loop.connect_write_pipe([&] { return std::make_shared<Recorder>(say); }, fd)).first;
    transport.write(std::string(1'000'000, 'x'));
    CHECK(transport.get_write_buffer_size() == 0);
    rest();
    CHECK_FALSE(transport.is_closing());
    transport.close();
    rest();
    CHECK(::fcntl(fd, F_GETFD) < 0);
    // The next transport ends with its loop.
    await(loop.connect_write_pipe([&] { return std::make_shared<Recorder>(say); }, open_null()));
  });
  CHECK(say.take() == "made lost(None) made");
}

TEST_CASE("a descriptor that is no pipe is refused, and stays the caller's") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [] { return std::make_shared<asyncio::Protocol>(); };
    const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(thrown_by([&] { await(loop.connect_read_pipe(make, fd)); }) ==
          "ValueError('Pipe transport is for pipes/sockets only.')");
    CHECK(thrown_by([&] { await(loop.connect_write_pipe(make, fd)); }) ==
          "ValueError('Pipe transport is only for pipes, sockets and character devices')");
    CHECK(::close(fd) == 0);
    CHECK(thrown_by([&] { await(loop.connect_read_pipe(make, -1)); }) ==
          "OSError('[Errno 9] Bad file descriptor')");
  });
}

TEST_CASE("StreamReaderProtocol feeds a reader, which makes its transport wait") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    Pipe pipe;
    const asyncio::StreamReader reader(10);
    const auto [transport, protocol] = await(loop.connect_read_pipe(
        [&] { return std::make_shared<asyncio::StreamReaderProtocol>(reader); },
        pipe.reads.release()));
    pipe.write("one\ntwo\n");
    CHECK(await(reader.readline()) == "one\n");
    pipe.write(std::string(50, 'x'));
    rest();
    CHECK_FALSE(transport.is_reading());
    CHECK(await(reader.read(4)) == "two\n");
    CHECK(await(reader.readexactly(50)) == std::string(50, 'x'));
    CHECK(transport.is_reading());
    pipe.writes.close();
    CHECK(await(reader.read()) == "");
  });
}

TEST_CASE("StreamReaderProtocol serves streams over create_server; StreamWriter drains") {
  asyncio::run([] {
    const auto loop = asyncio::get_running_loop();
    const auto server = await(loop.create_server(
        [] {
          return std::make_shared<asyncio::StreamReaderProtocol>(
              asyncio::StreamReader(),
              [](asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
                writer.write(await(reader.readline()));
                await(writer.drain());
                writer.close();
                await(writer.wait_closed());
              });
        },
        "127.0.0.1", 0));
    const auto [reader, writer] =
        await(asyncio::open_connection("127.0.0.1", server.sockets().at(0).port()));
    const std::string line = std::string(60'000, 'y') + "\n";
    writer.write(line);
    CHECK(await(reader.read()) == line);
    writer.close();
    server.close();
    await(server.wait_closed());
  });
}

TEST_CASE("a writer over a StreamReaderProtocol drains with the error of its reader") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    auto [ours, theirs] = sockets::socketpair();
    const asyncio::StreamReader reader;
    const auto [transport, protocol] = await(loop.create_connection(
        [&] { return std::make_shared<asyncio::StreamReaderProtocol>(reader); }, std::move(ours)));
    const asyncio::StreamWriter writer(transport);
    theirs.close();
    writer.write("x");
    say(thrown_by([&] { await(writer.wait_closed()); }));
    say(thrown_by([&] { await(writer.drain()); }));
  });
  CHECK(say.take() ==
        "BrokenPipeError('[Errno 32] Broken pipe') BrokenPipeError('[Errno 32] Broken pipe')");
}

TEST_CASE("subprocess_exec: pipes, output, exit, in an order that is right") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto [transport, protocol] =
        await(loop.subprocess_exec([&] { return std::make_shared<Child>(say); },
                                   {"sh", "-c", "read x; echo \"<$x>\"; echo err >&2; exit 3"}));
    say("started");
    CHECK_FALSE(transport.get_returncode());
    CHECK(transport.get_pid() > 0);
    CHECK_FALSE(static_cast<bool>(transport.get_pipe_transport(7)));
    using fiber::NotImplementedError;
    CHECK_THROWS_AS(transport.get_pipe_transport(1).write("x"), NotImplementedError);
    CHECK_THROWS_AS(transport.get_pipe_transport(1).write_eof(), NotImplementedError);
    CHECK_THROWS_AS(transport.get_pipe_transport(0).pause_reading(), NotImplementedError);
    CHECK_THROWS_AS(transport.get_pipe_transport(0).resume_reading(), NotImplementedError);
    transport.get_pipe_transport(0).write("in\n");
    await(protocol->ended);
    CHECK(protocol->out == "<in>\n");
    CHECK(protocol->err == "err\n");
    CHECK(protocol->exits == "3");
    for (const std::string& lost : protocol->lost_pipes) CHECK(lost == "None");
    CHECK(transport.get_returncode() == 3);
    CHECK_FALSE(transport.is_closing());
    transport.close();
    CHECK_THROWS_AS(transport.kill(), fiber::ProcessLookupError);
  });
  CHECK(say.take() == "made started lost(None)");
}

TEST_CASE("subprocess_shell: killed, closed, without pipes, and one that cannot start") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto make = [&] { return std::make_shared<Child>(say); };
    {
      const auto [transport, protocol] = await(loop.subprocess_shell(make, "exec sleep 1000"));
      transport.kill();
      await(protocol->ended);
      CHECK(transport.get_returncode() == -SIGKILL);
    }
    {
      const auto [transport, protocol] = await(loop.subprocess_shell(make, "exec sleep 1000"));
      transport.close();
      CHECK(transport.is_closing());
      transport.close();
      await(protocol->ended);
      CHECK(protocol->exits == std::to_string(-SIGKILL));
    }
    const auto [transport, protocol] =
        await(loop.subprocess_exec(make, {"true"}, {.stdin_ = {}, .stdout_ = {}, .stderr_ = {}}));
    await(protocol->ended);
    CHECK(transport.get_returncode() == 0);
    CHECK_FALSE(static_cast<bool>(transport.get_pipe_transport(1)));
  });
  CHECK(say.take() == "made lost(None) made lost(None) made lost(None)");
}

TEST_CASE("subprocess_exec of no program is an error, and makes no connection") {
  if (support::lacks_shared_memory_of_vfork()) return;
  Events say;
  asyncio::run([&] {
    const auto make = [&] { return std::make_shared<Child>(say); };
    CHECK_THROWS_AS(await(asyncio::get_running_loop().subprocess_exec(make, {"/nonexistent"})),
                    fiber::FileNotFoundError);
  });
  CHECK(say.take().empty());
}

TEST_CASE("in connection_lost a child may still be signalled, in vain; afterwards no more") {
  Events say;
  asyncio::run([&] {
    const auto loop = asyncio::get_running_loop();
    const auto [transport, protocol] =
        await(loop.subprocess_exec([&] { return std::make_shared<Child>(say); }, {"true"},
                                   {.stdin_ = {}, .stdout_ = {}, .stderr_ = {}}));
    protocol->at_end = [&, transport = transport] {
      say(thrown_by([&] { transport.kill(); }).empty() ? "killed" : "refused");
      say(transport.get_protocol() != nullptr ? "protocol" : "None");
    };
    await(protocol->ended);
    await(asyncio::sleep(0));
    CHECK(transport.get_protocol() == nullptr);
    CHECK_THROWS_AS(transport.terminate(), fiber::ProcessLookupError);
  });
  CHECK(say.take() == "made lost(None) killed protocol");
}

TEST_CASE("a loop that is closed ends its children and lets go of their protocols") {
  Events say;
  std::weak_ptr<Child> held;
  asyncio::EventLoop loop = asyncio::new_event_loop();
  pid_t pid = -1;
  loop.run_until_complete([&] {
    const auto [transport, protocol] = await(
        loop.subprocess_shell([&] { return std::make_shared<Child>(say); }, "exec sleep 1000"));
    pid = transport.get_pid();
    held = protocol;
  });
  loop.close();
  CHECK(held.expired());
  CHECK(::kill(pid, 0) != 0);
}
