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

// Two ends, of which the loop gets `near`; `far` is the scenario's own.
struct Ends {
  explicit Ends(std::string kind);
  ~Ends();
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  // The next bytes that one of the ends sends.
  std::string data(std::size_t size);
  bool datagrams() const { return kind == "dgram"; }
  // Null unless a transport of bytes has the near end.
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
  // Nothing is written down any more.
  bool over = false;

  // Aborts what is open, and lets the loop see to that.
  void close(const fiber::asyncio::EventLoop& loop);
};

// Nothing if there is no such statement.
std::optional<Value> immediate_on_network(Interpreter& run, const Statement& statement);
bool waits_on_network(const std::string& op);
Value wait_on_network(Interpreter& run, const Statement& statement);

}  // namespace differential
