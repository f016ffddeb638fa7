#include "network.hpp"

#include "interpreter.hpp"

#include <fiber/asyncio/without_sigpipe.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace differential {
namespace {

using asyncio::await;

const char* name_of_error(int error) { return ::strerrorname_np(error); }

// --- statements that do not wait ----------------------------------------------------------------

using Operation = std::function<Value(Interpreter& run, Ends& pair, const Words& args)>;

std::optional<std::size_t> number(const Words& args, std::size_t index) {
  if (index >= args.size() || args[index] == "-") return std::nullopt;
  return std::stoul(args[index]);
}

Value make_pair(Interpreter& run, const Words& args) {
  run.network.pairs[args[0]] = std::make_unique<Ends>(args[1]);
  return {};
}

Value make_proto(Interpreter& run, const Words& args) {
  ProtocolDescription made{args[1], {}};
  for (std::size_t i = 2; i < args.size(); ++i) {
    const std::size_t colon = args[i].find(':');
    made.actions[args[i].substr(0, colon)] = args[i].substr(colon + 1);
  }
  run.network.protocols[args[0]] = std::move(made);
  return {};
}

// A statement about the transport of a pair; `except` names the kinds of pairs whose transport has
// no such function.
template <class F>
Operation on_transport(std::vector<std::string> except, F function) {
  return [except = std::move(except), function](Interpreter&, Ends& pair, const Words& args) {
    const bool refused = std::ranges::find(except, pair.kind) != except.end();
    if (refused || (!pair.transport && !pair.datagram)) return Value("unset");
    const auto result = [&](const auto& transport) -> Value {
      if constexpr (requires {
                      { function(pair, transport, args) } -> std::same_as<Value>;
                    })
        return function(pair, transport, args);
      else if constexpr (requires { function(pair, transport, args); }) {
        function(pair, transport, args);
        return {};
      } else {
        return "unset";
      }
    };
    return pair.datagram ? result(*pair.datagram) : result(*pair.transport);
  };
}

template <class T>
concept Bytes = std::same_as<T, asyncio::Transport>;

Operation write() {
  return on_transport({"rpipe"}, [](Ends& pair, const auto& transport, const Words& args) {
    const std::string data = pair.data(*number(args, 1));
    if constexpr (!Bytes<std::remove_cvref_t<decltype(transport)>>)
      transport.sendto(data);
    else if (pair.streams)
      pair.streams->second.write(data);
    else
      transport.write(data);
  });
}

Value write_lines(Ends& pair, const asyncio::Transport& transport, const Words& args) {
  std::vector<std::string> pieces;
  for (std::size_t i = 1; i < args.size(); ++i) pieces.push_back(pair.data(*number(args, i)));
  if (pair.streams)
    pair.streams->second.writelines(pieces);
  else
    transport.writelines(pieces);
  return {};
}

Value marks(Ends&, const auto& transport, const Words&) {
  const auto [low, high] = transport.get_write_buffer_limits();
  return List{Value(low), Value(high)};
}

Value set_protocol(Interpreter& run, Ends& pair, const Words& args) {
  if (pair.streams || (!pair.transport && !pair.datagram)) return "unset";
  const auto protocol = make_protocol(run, pair, args[1]);
  if (pair.datagram)
    pair.datagram->set_protocol(protocol);
  else
    pair.transport->set_protocol(protocol);
  return {};
}

// Statements about the far end. They are system calls, and errors are logged by name.
Value far_send(Interpreter&, Ends& pair, const Words& args) {
  if (pair.far < 0 || pair.kind == "wpipe") return "unset";
  const std::size_t start = pair.sent;
  const std::string data = pair.data(*number(args, 1));
  const asyncio::detail::WithoutSigpipe guard;
  const ssize_t count = ::write(pair.far, data.data(), data.size());
  if (count < 0 || !pair.datagrams())
    pair.sent = start + static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  if (count < 0) return name_of_error(errno);
  return static_cast<std::int64_t>(count);
}

Value far_receive(Interpreter&, Ends& pair, const Words& args) {
  if (pair.far < 0 || pair.kind == "rpipe") return "unset";
  std::string data(*number(args, 1), '\0');
  const ssize_t count = ::read(pair.far, data.data(), data.size());
  if (count < 0) return name_of_error(errno);
  return digest({data.data(), static_cast<std::size_t>(count)});
}

Value far_shut(Interpreter&, Ends& pair, const Words&) {
  if (pair.far < 0 || pair.kind != "stream") return "unset";
  if (::shutdown(pair.far, SHUT_WR) != 0) return name_of_error(errno);
  return {};
}

Value far_close(Interpreter&, Ends& pair, const Words&) {
  if (pair.far < 0) return "unset";
  ::close(std::exchange(pair.far, -1));
  return {};
}

const std::unordered_map<std::string, Operation>& table() {
  static const std::vector<std::string> kWriters = {"dgram", "rpipe"};  // no writing
  static const std::vector<std::string> kReaders = {"dgram", "wpipe"};
  static const std::unordered_map<std::string, Operation> operations = {
      {"twrite", write()},
      {"twritelines", on_transport(kWriters, write_lines)},
      {"teof",
       on_transport(kWriters, [](Ends&, const asyncio::Transport& t, const Words&) {
         t.write_eof();
       })},
      {"tclose", on_transport({}, [](Ends&, const auto& t, const Words&) { t.close(); })},
      {"tabort", on_transport({"rpipe"}, [](Ends&, const auto& t, const Words&) { t.abort(); })},
      {"tpause", on_transport(kReaders, [](Ends&, const asyncio::Transport& t, const Words&) {
         t.pause_reading();
       })},
      {"tresume", on_transport(kReaders, [](Ends&, const asyncio::Transport& t, const Words&) {
         t.resume_reading();
       })},
      {"treading", on_transport(kReaders, [](Ends&, const asyncio::Transport& t, const Words&) {
         return Value(t.is_reading());
       })},
      {"tclosing", on_transport({}, [](Ends&, const auto& t, const Words&) {
         return Value(t.is_closing());
       })},
      {"tlimits", on_transport({"rpipe"}, [](Ends&, const auto& t, const Words& args) {
         t.set_write_buffer_limits(number(args, 1), number(args, 2));
       })},
      {"tmarks", on_transport({"rpipe"}, [](Ends& pair, const auto& t, const Words& args) {
         return marks(pair, t, args);
       })},
      {"tsize", on_transport({"rpipe"}, [](Ends&, const auto& t, const Words&) {
         return Value(t.get_write_buffer_size());
       })},
      {"tcaneof", on_transport(kWriters, [](Ends&, const asyncio::Transport& t, const Words&) {
         return Value(t.can_write_eof());
       })},
      {"tproto", set_protocol},
      {"rateof",
       [](Interpreter&, Ends& pair, const Words&) -> Value {
         if (!pair.streams) return "unset";
         return pair.streams->first.at_eof();
       }},
      {"psend", far_send},
      {"precv", far_receive},
      {"pshut", far_shut},
      {"pclose", far_close},
  };
  return operations;
}

// --- statements that may suspend ----------------------------------------------------------------

// Marks the pair as used by a transport. Returns false if it was in use already.
bool take(Ends& pair) {
  if (pair.used != Ends::Used::no) return false;
  pair.used = Ends::Used::by_transport;
  return true;
}

Value connect(Interpreter& run, Ends& pair, const Words& args) {
  if (!take(pair)) return "unset";
  const auto factory = [&run, &pair, name = args[1]] { return make_protocol(run, pair, name); };
  const auto of = [&]<class P>(std::in_place_type_t<P>) {
    return [factory] { return std::static_pointer_cast<P>(factory()); };
  };
  const auto bytes = [factory] { return factory(); };
  const auto& loop = run.loop;
  asyncio::detail::GivenDescriptor given{asyncio::detail::UniqueFd(std::exchange(pair.near, -1))};
  if (pair.datagrams())
    await(loop.create_datagram_endpoint(of(std::in_place_type<asyncio::DatagramProtocol>),
                                        std::move(given), {}));
  else if (pair.kind == "rpipe")
    await(loop.connect_read_pipe(bytes, std::move(given)));
  else if (pair.kind == "wpipe")
    await(loop.connect_write_pipe(bytes, std::move(given)));
  else if (args.size() > 2)
    await(loop.connect_accepted_socket(bytes, std::move(given)));
  else
    await(loop.create_connection(bytes, std::move(given)));
  return {};
}

Value open(Interpreter&, Ends& pair, const Words& args) {
  if (pair.kind != "stream" || !take(pair)) return "unset";
  pair.streams = await(asyncio::open_connection(
      fiber::socket::socket::from_fd(std::exchange(pair.near, -1)), {.limit = *number(args, 1)}));
  pair.transport = pair.streams->second.transport();
  return {};
}

template <class F>
Operation on_writer(F function) {
  return [function](Interpreter&, Ends& pair, const Words&) -> Value {
    if (!pair.streams) return "unset";
    const asyncio::StreamWriter writer = pair.streams->second;
    function(writer);
    return {};
  };
}

// Marks a statement as waiting while it lives.
class Waiting {
 public:
  Waiting(Ends& pair, const std::string& what) : pair_(pair), what_(what) {
    pair_.waits.insert(what_);
  }
  ~Waiting() { pair_.waits.erase(what_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Ends& pair_;
  std::string what_;
};

// A read. Only one is allowed at a time: in CPython a read is never woken if it begins after
// another read was woken but before that other one has run.
template <class F>
Operation on_reader(F function) {
  return [function](Interpreter&, Ends& pair, const Words& args) -> Value {
    if (!pair.streams || pair.waits.contains("read")) return "unset";
    const Waiting waiting(pair, "read");
    const asyncio::StreamReader reader = pair.streams->first;
    return digest(function(reader, args));
  };
}

// A statement that uses the near end as a socket, which excludes a transport from then on. Only
// one is allowed at a time in each direction: in CPython a second one replaces the first.
template <class F>
Operation on_socket(std::string direction, F function) {
  return [direction, function](Interpreter& run, Ends& pair, const Words& args) -> Value {
    if ((pair.kind != "stream" && pair.kind != "dgram") || pair.used == Ends::Used::by_transport ||
        pair.waits.contains(direction))
      return "unset";
    pair.used = Ends::Used::by_socket;
    const Waiting waiting(pair, direction);
    return function(run, pair, *number(args, 1));
  };
}

const std::unordered_map<std::string, Operation>& waiting_table() {
  using Reader = asyncio::StreamReader;
  using Writer = asyncio::StreamWriter;
  static const std::unordered_map<std::string, Operation> operations = {
      {"connect", connect},
      {"open", open},
      {"rread", on_reader([](const Reader& reader, const Words& args) {
         return await(reader.read(std::stol(args[1])));
       })},
      {"rexactly", on_reader([](const Reader& reader, const Words& args) {
         return await(reader.readexactly(std::stol(args[1])));
       })},
      {"rline",
       on_reader([](const Reader& reader, const Words&) { return await(reader.readline()); })},
      {"runtil", on_reader([](const Reader& reader, const Words& args) {
         return await(reader.readuntil(args[1]));
       })},
      {"wdrain", on_writer([](const Writer& writer) { await(writer.drain()); })},
      {"wclosed", on_writer([](const Writer& writer) { await(writer.wait_closed()); })},
      {"lrecv", on_socket("in",
                          [](Interpreter& run, Ends& pair, std::size_t size) {
                            return digest(await(run.loop.sock_recv(pair.near, size)));
                          })},
      {"lrecvfrom", on_socket("in",
                              [](Interpreter& run, Ends& pair, std::size_t size) {
                                return digest(await(run.loop.sock_recvfrom(pair.near, size)).first);
                              })},
      {"lsendall", on_socket("out",
                             [](Interpreter& run, Ends& pair, std::size_t size) {
                               await(run.loop.sock_sendall(pair.near, pair.data(size)));
                               return Value();
                             })},
  };
  return operations;
}

Ends* find(Interpreter& run, const std::string& name) {
  const auto found = run.network.pairs.find(name);
  return found == run.network.pairs.end() ? nullptr : found->second.get();
}

}  // namespace

std::optional<Value> immediate_on_network(Interpreter& run, const Statement& statement) {
  if (statement.op == "pair") return make_pair(run, statement.args);
  if (statement.op == "proto") return make_proto(run, statement.args);
  const auto found = table().find(statement.op);
  if (found == table().end()) return std::nullopt;
  Ends* pair = find(run, statement.args[0]);
  return pair == nullptr ? Value("unset") : found->second(run, *pair, statement.args);
}

bool waits_on_network(const std::string& op) { return waiting_table().contains(op); }

Value wait_on_network(Interpreter& run, const Statement& statement) {
  Ends* pair = find(run, statement.args[0]);
  if (pair == nullptr) return "unset";
  return waiting_table().at(statement.op)(run, *pair, statement.args);
}

}  // namespace differential
