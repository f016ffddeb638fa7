// Connections, datagrams and pipes of a scenario (endpoints.cpp), and the statements about them
// (network.cpp). Python's side is network.py.
#pragma once

#include "language.hpp"
#include "value.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace differential {

class Interpreter;

// A connected pair: the loop uses `near`, and the scenario itself reads and writes `far`.
struct Ends {
  explicit Ends(std::string kind);
  ~Ends();
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  // Returns the next `size` bytes of the pattern that both ends send.
  std::string data(std::size_t size);
  bool datagrams() const { return kind == "dgram"; }
  // Returns the byte transport that owns the near end; null if there is none.
  const fiber::asyncio::Transport* stream() const { return transport ? &*transport : nullptr; }

  std::string kind;
  int near = -1;  // -1 after a transport has taken it
  int far = -1;
  enum class Used { no, by_transport, by_socket } used = Used::no;
  std::set<std::string> waits;  // the waits under way, by direction
  std::size_t sent = 0;
  std::optional<fiber::asyncio::Transport> transport;
  std::optional<fiber::asyncio::DatagramTransport> datagram;
  std::optional<fiber::asyncio::StreamPair> streams;
};

// How a protocol behaves: `how` tells its kind or its answer to the end of input ("keep", "close",
// "buffer7"), `actions` are run by event.
struct ProtocolDescription {
  std::string how;
  std::map<std::string, std::string> actions;
};

struct Network {
  std::map<std::string, std::unique_ptr<Ends>> pairs;
  std::map<std::string, ProtocolDescription> protocols;
  // True once events are no longer logged.
  bool over = false;

  // Aborts the open connections, and runs the loop until they are closed.
  void close(const fiber::asyncio::EventLoop& loop);
};

// Returns the size of the data, and a checksum.
std::string digest(std::string_view data);

// Makes a protocol for the near end that behaves as the scenario's protocol of this name.
std::shared_ptr<fiber::asyncio::BaseProtocol> make_protocol(Interpreter& run, Ends& pair,
                                                            const std::string& name);

// Runs a statement; returns nothing if it is not one about connections.
std::optional<Value> immediate_on_network(Interpreter& run, const Statement& statement);
bool waits_on_network(const std::string& op);
Value wait_on_network(Interpreter& run, const Statement& statement);

}  // namespace differential
