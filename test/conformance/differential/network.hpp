// Connections, datagrams and pipes of a scenario (network.cpp). Python's side is network.py.
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
#include <variant>

namespace differential {

class Interpreter;

// Two ends: `near` is for the loop, `far` is the scenario's own.
struct Ends {
  explicit Ends(std::string kind);
  ~Ends();
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  // Returns the next bytes that one of the ends sends.
  std::string data(std::size_t size);
  bool datagrams() const { return kind == "dgram"; }
  // The transport of bytes that has the near end, or null.
  const fiber::asyncio::Transport* stream() const { return transport ? &*transport : nullptr; }

  std::string kind;
  int near = -1;  // until a transport has it
  int far = -1;
  enum class Used { no, by_transport, by_socket } used = Used::no;
  std::set<std::string> waits;  // the socket statements that wait
  std::size_t sent = 0;
  std::optional<fiber::asyncio::Transport> transport;
  std::optional<fiber::asyncio::DatagramTransport> datagram;
  std::optional<fiber::asyncio::StreamPair> streams;
};

// How a protocol answers: the end of input ("keep", "close", "buffer7"), and an action by event.
struct ProtocolDescription {
  std::string how;
  std::map<std::string, std::string> actions;
};

struct Network {
  std::map<std::string, std::unique_ptr<Ends>> pairs;
  std::map<std::string, ProtocolDescription> protocols;
  // Whether logging has ended.
  bool over = false;

  // Aborts open connections, and lets the loop finish them.
  void close(const fiber::asyncio::EventLoop& loop);
};

// Runs a statement; returns nothing if it is not one about connections.
std::optional<Value> immediate_on_network(Interpreter& run, const Statement& statement);
bool waits_on_network(const std::string& op);
Value wait_on_network(Interpreter& run, const Statement& statement);

}  // namespace differential
