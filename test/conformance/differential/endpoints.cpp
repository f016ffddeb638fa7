// The pairs of descriptors of a scenario, and the protocols at their near ends.
#include "interpreter.hpp"
#include "network.hpp"

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace differential {
namespace {

constexpr int kSmall = 4096;  // size of the kernel's buffer between two ends, in bytes
constexpr std::string_view kCycle = "abcde\nfgh\nijklmnopqrs;t\nuv";

void check(int result) {
  if (result != 0) throw std::system_error(errno, std::generic_category(), "a pair");
}

// Makes two datagram sockets with names: CPython takes a nameless peer for no connection.
void connect_named(int (&ends)[2]) {
  sockaddr_un names[2] = {};
  socklen_t sizes[2] = {};
  for (int i = 0; i < 2; ++i) {
    ends[i] = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    names[i].sun_family = AF_UNIX;
    auto* name = reinterpret_cast<sockaddr*>(&names[i]);
    check(::bind(ends[i], name, sizeof(sa_family_t)));
    sizes[i] = sizeof names[i];
    check(::getsockname(ends[i], name, &sizes[i]));
  }
  for (int i = 0; i < 2; ++i)
    check(::connect(ends[i], reinterpret_cast<sockaddr*>(&names[1 - i]), sizes[1 - i]));
}

}  // namespace

std::string digest(std::string_view data) {
  unsigned total = 0;
  for (const char byte : data) total = (total * 31 + static_cast<unsigned char>(byte)) % 9973;
  return std::to_string(data.size()) + ":" + std::to_string(total);
}

Ends::Ends(std::string its_kind) : kind(std::move(its_kind)) {
  int ends[2] = {-1, -1};
  if (kind == "stream" || kind == "dgram") {
    if (kind == "stream")
      check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends));
    else
      connect_named(ends);
    for (const int end : ends) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kSmall, sizeof kSmall);
  } else {
    check(::pipe2(ends, O_NONBLOCK));
    ::fcntl(ends[1], F_SETPIPE_SZ, kSmall);
    if (kind == "wpipe") std::swap(ends[0], ends[1]);
  }
  near = ends[0];
  far = ends[1];
}

Ends::~Ends() {
  if (near >= 0) ::close(near);
  if (far >= 0) ::close(far);
}

std::string Ends::data(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes += kCycle[(sent + i) % kCycle.size()];
  sent += size;
  return bytes;
}

void Network::close(const asyncio::EventLoop& loop) {
  if (pairs.empty()) return;
  over = true;
  for (const auto& [name, pair] : pairs) {
    if (pair->datagram) pair->datagram->abort();
    if (pair->transport) pair->transport->abort();
  }
  if (!loop.is_closed()) {
    for (int i = 0; i < 2; ++i) {
      loop.call_soon([loop] { loop.stop(); });
      loop.run_forever();
    }
  }
  pairs.clear();
}

namespace {

// Logs the events of a protocol, and runs the action that the scenario gives for each event.
class Notes {
 public:
  Notes(Interpreter& run, Ends& pair, const std::string& name)
      : run_(run),
        pair_(pair),
        label_(name + "#" + std::to_string(run.count(name))),
        its_(run.network.protocols.at(name)) {}

  template <class T>
  void made(const T& transport) {
    if constexpr (std::same_as<T, asyncio::DatagramTransport>)
      pair_.datagram = transport;
    else
      pair_.transport = transport;
    note("made", "made");
  }
  void note(const char* event, const std::string& text) {
    if (run_.network.over) return;
    run_.log(label_, 0, text);
    const auto action = its_.actions.find(event);
    if (action != its_.actions.end() && run_.may_schedule(action->second))
      run_.act(action->second, {});
  }
  void lost(const std::exception_ptr& error) { note("lost", "lost " + show(Value(error))); }
  bool keeps_open() const { return its_.how == "keep"; }

 private:
  Interpreter& run_;
  Ends& pair_;
  std::string label_;
  const ProtocolDescription& its_;
};

template <class Base>
class Noting : public Base {
 public:
  Noting(Interpreter& run, Ends& pair, const std::string& name) : notes(run, pair, name) {}
  void connection_lost(const std::exception_ptr& error) override { notes.lost(error); }
  void pause_writing() override { notes.note("pause", "pause"); }
  void resume_writing() override { notes.note("resume", "resume"); }
  Notes notes;
};

class Stream final : public Noting<asyncio::Protocol> {
 public:
  using Noting::Noting;
  void connection_made(const asyncio::Transport& transport) override { notes.made(transport); }
  void data_received(std::string_view data) override { notes.note("data", "data " + digest(data)); }
  bool eof_received() override {
    notes.note("eof", "eof");
    return notes.keeps_open();
  }
};

class Buffered final : public Noting<asyncio::BufferedProtocol> {
 public:
  Buffered(Interpreter& run, Ends& pair, const std::string& name, std::size_t size)
      : Noting(run, pair, name), memory_(size) {}
  void connection_made(const asyncio::Transport& transport) override { notes.made(transport); }
  std::span<char> get_buffer(std::ptrdiff_t) override { return memory_; }
  void buffer_updated(std::size_t count) override {
    notes.note("data", "updated " + digest({memory_.data(), count}));
  }
  bool eof_received() override {
    notes.note("eof", "eof");
    return notes.keeps_open();
  }

 private:
  std::vector<char> memory_;
};

class Datagram final : public Noting<asyncio::DatagramProtocol> {
 public:
  using Noting::Noting;
  void connection_made(const asyncio::DatagramTransport& transport) override {
    notes.made(transport);
  }
  void datagram_received(std::string_view data, const asyncio::SocketAddress&) override {
    notes.note("data", "datagram " + digest(data));
  }
  void error_received(const std::exception_ptr& error) override {
    notes.note("eof", "error " + show(Value(error)));
  }
};

}  // namespace

std::shared_ptr<asyncio::BaseProtocol> make_protocol(Interpreter& run, Ends& pair,
                                                     const std::string& name) {
  constexpr std::string_view kBuffer = "buffer";
  const std::string& how = run.network.protocols.at(name).how;
  if (pair.datagrams()) return std::make_shared<Datagram>(run, pair, name);
  // CPython has no buffered protocols for pipes.
  if (pair.kind == "stream" && how.starts_with(kBuffer))
    return std::make_shared<Buffered>(run, pair, name, std::stoul(how.substr(kBuffer.size())));
  return std::make_shared<Stream>(run, pair, name);
}

}  // namespace differential
