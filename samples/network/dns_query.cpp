// dns_query: asks a name server over UDP, again if no answer comes, and over TCP if it is too long.
//
// Without arguments it shows itself: it asks a server of the same loop, which loses the first
// question and cuts a long answer short.
#include <fiber/asyncio.hpp>
#include <fiber/socket.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>

#include "support/command_line.hpp"

using namespace fiber;
using asyncio::await;
using std::chrono::milliseconds;

namespace {

constexpr const char* kUsage =
    R"(dns_query [OPTIONS] NAME

  --server HOST[:PORT]  whom to ask (the first of /etc/resolv.conf)
  --type TYPE           A, AAAA, CNAME, MX, NS, TXT (A)
  --tries N             how often to ask (3)
  --timeout MS          how long to wait for the first answer; each next one twice as long (1000)

Prints a line for each record. Status 1: there is no such name, or no answer. Without arguments it
shows itself.
)";

constexpr std::array<std::pair<std::string_view, int>, 6> kTypes{
    {{"A", 1}, {"NS", 2}, {"CNAME", 5}, {"MX", 15}, {"TXT", 16}, {"AAAA", 28}}};

int type_of(std::string_view name) {
  for (const auto& [known, number] : kTypes)
    if (known == name) return number;
  throw command_line::UsageError("unknown type " + std::string(name));
}
std::string name_of_type(int type) {
  for (const auto& [known, number] : kTypes)
    if (number == type) return std::string(known);
  return "TYPE" + std::to_string(type);
}

// --- messages: RFC 1035 -------------------------------------------------------------------------

std::string two_bytes(unsigned value) {
  return {static_cast<char>(value >> 8U & 0xffU), static_cast<char>(value & 0xffU)};
}

std::string encoded(std::string_view name) {
  std::string bytes;
  while (!name.empty() && name != ".") {
    const std::string_view label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > 63)
      throw ValueError("no name of a host: '" + std::string(name) + "'");
    bytes += static_cast<char>(label.size());
    bytes += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  if (bytes.size() > 254) throw ValueError("the name is too long");
  return bytes + '\0';
}

std::string question_for(unsigned id, std::string_view name, int type) {
  return two_bytes(id) + two_bytes(0x0100) + two_bytes(1) + std::string(6, '\0') + encoded(name) +
         two_bytes(static_cast<unsigned>(type)) + two_bytes(1);
}

// Throws ValueError where a message ends too early, or leads in circles.
class Reader {
 public:
  explicit Reader(std::string_view message, std::size_t at = 0) : message_(message), at_(at) {}
  unsigned byte() { return static_cast<unsigned char>(bytes(1)[0]); }
  unsigned two() {
    const unsigned high = byte();
    return high << 8U | byte();
  }
  unsigned long four() {
    const unsigned long high = two();
    return high << 16U | two();
  }
  std::string_view bytes(std::size_t count) {
    if (message_.size() - at_ < count) throw ValueError("the answer is cut short");
    at_ += count;
    return message_.substr(at_ - count, count);
  }
  std::string name() {
    // RFC 1035, 2.3.4: 255 bytes hold no more labels, and an honest sender no more pointers.
    constexpr int kMostLabels = 127;
    std::string text;
    std::optional<std::size_t> behind;  // the first pointer
    for (int steps = 0; steps <= 2 * kMostLabels; ++steps) {
      const unsigned length = byte();
      if (length == 0) {
        at_ = behind.value_or(at_);
        return text.empty() ? "." : text;
      }
      if (length >= 0xc0) {  // the rest stands earlier in the message
        const std::size_t target = (length & 0x3fU) << 8U | byte();
        if (target >= at_ - 2) throw ValueError("a name of the answer leads in circles");
        if (!behind) behind = at_;
        at_ = target;
        continue;
      }
      if (length > 63) throw ValueError("a name of the answer is malformed");
      if (!text.empty()) text += '.';
      text += bytes(length);
    }
    throw ValueError("a name of the answer is too long");
  }
  std::size_t position() const { return at_; }

 private:
  std::string_view message_;
  std::size_t at_;
};

struct Answer {
  std::vector<std::string> records;
  bool cut_short = false;
  int status = 0;
};

std::string record_text(std::string_view message, std::size_t at, std::size_t size, int type) {
  Reader data(message, at);
  char text[INET6_ADDRSTRLEN] = "";
  switch (type) {
    case 1:
      if (size != 4) throw ValueError("an address has 4 bytes");
      return ::inet_ntop(AF_INET, data.bytes(4).data(), text, sizeof text);
    case 28:
      if (size != 16) throw ValueError("an IPv6 address has 16 bytes");
      return ::inet_ntop(AF_INET6, data.bytes(16).data(), text, sizeof text);
    case 2:
    case 5: return data.name();
    case 15: {
      const unsigned preference = data.two();
      return std::to_string(preference) + " " + data.name();
    }
    case 16: {
      std::string all;
      while (data.position() < at + size) all += data.bytes(data.byte());
      return "\"" + all + "\"";
    }
    default: return std::to_string(size) + " bytes";
  }
}

// Returns nothing if the message answers another question.
std::optional<Answer> parse(std::string_view message, std::string_view question) {
  if (message.size() < question.size() || message.substr(0, 2) != question.substr(0, 2) ||
      message.substr(12, question.size() - 12) != question.substr(12))
    return std::nullopt;
  Reader reader(message, 2);
  const unsigned flags = reader.two();
  if ((flags & 0x8000U) == 0) return std::nullopt;
  Answer answer;
  answer.cut_short = (flags & 0x0200U) != 0;
  answer.status = static_cast<int>(flags & 0xfU);
  reader.two();
  const unsigned count = reader.two();
  reader = Reader(message, question.size());
  for (unsigned i = 0; i < count && !answer.cut_short; ++i) {
    const std::string name = reader.name();
    const int type = static_cast<int>(reader.two());
    reader.two();
    const unsigned long ttl = reader.four();
    const std::size_t size = reader.two();
    answer.records.push_back(name + " " + std::to_string(ttl) + " " + name_of_type(type) + " " +
                             record_text(message, reader.position(), size, type));
    reader.bytes(size);
  }
  return answer;
}

// --- asking -------------------------------------------------------------------------------------

struct Asking {
  asyncio::SocketAddress server;
  int type = 1;
  int tries = 3;
  milliseconds timeout{1000};
};

// A datagram may come from anybody, and late: only the answer to this question ends the wait.
std::optional<Answer> ask_once(const socket::socket& udp, const std::string& question,
                               milliseconds timeout) {
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  await(loop.sock_sendall(udp, question));
  try {
    return await(asyncio::wait_for(
        [&] {
          for (;;)
            if (auto answer = parse(await(loop.sock_recv(udp, 4096)), question)) return *answer;
        },
        timeout));
  } catch (const TimeoutError&) {
    return std::nullopt;
  }
}

Answer ask_over_tcp(const Asking& asking, const std::string& question) {
  auto [reader, writer] =
      await(asyncio::open_connection(asking.server.host(), asking.server.port()));
  writer.write(two_bytes(static_cast<unsigned>(question.size())) + question);
  const std::string head = await(reader.readexactly(2));
  const std::size_t size = Reader(head).two();
  const std::string message = await(reader.readexactly(static_cast<std::ptrdiff_t>(size)));
  writer.close();
  const std::optional<Answer> answer = parse(message, question);
  if (!answer) throw ValueError("the server answers another question");
  return *answer;
}

Answer ask(const Asking& asking, const std::string& name) {
  std::random_device random;  // a forged answer has to guess the number
  milliseconds timeout = asking.timeout;
  for (int i = 0; i < asking.tries; ++i, timeout *= 2) {
    const std::string question = question_for(random() & 0xffffU, name, asking.type);
    // Connected: the kernel drops datagrams of other senders.
    const socket::socket udp(asking.server.family(), SOCK_DGRAM);
    udp.setblocking(false);
    udp.connect(asking.server);
    std::optional<Answer> answer;
    try {
      answer = ask_once(udp, question, timeout);
    } catch (const ConnectionRefusedError&) {
      await(asyncio::sleep(timeout));  // nobody serves there, at present
    }
    if (!answer) continue;
    if (!answer->cut_short) return *answer;
    return await(asyncio::wait_for([&] { return ask_over_tcp(asking, question); }, timeout * 5));
  }
  throw TimeoutError("no answer from " + asking.server.text() + " to " +
                     std::to_string(asking.tries) + " questions");
}

int print(const Answer& answer, std::ostream& out) {
  static constexpr std::array<const char*, 6> kReasons{
      "no error",
      "the question is malformed",
      "the server has failed",
      "there is no such name",
      "the server does not know this kind of question",
      "the server refuses"};
  for (const std::string& record : answer.records) out << record << '\n';
  if (answer.status == 0 && !answer.records.empty()) return 0;
  out << (answer.status == 0  ? "no records of this type"
          : answer.status < 6 ? kReasons[static_cast<std::size_t>(answer.status)]
                              : "status of its own")
      << '\n';
  return 1;
}

std::string usual_server() {
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    std::string address;
    if (words >> word >> address && word == "nameserver") return address;
  }
  throw command_line::UsageError("/etc/resolv.conf names no server: use --server");
}

// --- a server -----------------------------------------------------------------------------------

std::string answer_to(std::string_view question, bool whole) {
  const std::string name = Reader(question, 12).name();
  std::string records;
  unsigned count = 0;
  const auto add = [&](unsigned type, const std::string& data) {
    records += two_bytes(0xc00c) + two_bytes(type) + two_bytes(1) + std::string("\0\0\0\x3c", 4) +
               two_bytes(static_cast<unsigned>(data.size())) + data;
    ++count;
  };
  if (name == "host.example") add(1, {10, 0, 0, 7});
  if (name == "mail.example") add(15, two_bytes(10) + '\x02' + "mx" + two_bytes(0xc00c));
  if (name == "long.example" && whole)
    for (char i = 1; i <= 3; ++i) add(16, char(60) + std::string(60, static_cast<char>('0' + i)));
  const bool cut = name == "long.example" && !whole;
  const unsigned flags = 0x8180U | (cut ? 0x0200U : 0U) | (count == 0 && !cut ? 3U : 0U);
  return std::string(question.substr(0, 2)) + two_bytes(flags) + two_bytes(1) + two_bytes(count) +
         std::string(4, '\0') + std::string(question.substr(12)) + records;
}

class NameServer final : public asyncio::DatagramProtocol {
 public:
  void connection_made(const asyncio::DatagramTransport& transport) override {
    transport_ = transport;
  }
  void datagram_received(std::string_view data, const asyncio::SocketAddress& from) override {
    if (lost_++ > 0) transport_->sendto(answer_to(data, false), from);
  }

 private:
  std::optional<asyncio::DatagramTransport> transport_;
  int lost_ = 0;
};

void serve_over_tcp(const asyncio::StreamReader& reader, const asyncio::StreamWriter& writer) {
  const std::string head = await(reader.readexactly(2));
  const std::string question =
      await(reader.readexactly(static_cast<std::ptrdiff_t>(Reader(head).two())));
  const std::string answer = answer_to(question, true);
  writer.write(two_bytes(static_cast<unsigned>(answer.size())) + answer);
  writer.close();
}

void show() {
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  // The same port for both, which must be free for both.
  asyncio::Server tcp;
  std::optional<asyncio::DatagramTransport> udp;
  while (!udp) {
    tcp = await(asyncio::start_server(serve_over_tcp, "127.0.0.1", 0));
    try {
      udp = await(loop.create_datagram_endpoint(
                      [] { return std::make_shared<NameServer>(); },
                      asyncio::CreateDatagramEndpointOptions{
                          .local_addr = {{"127.0.0.1", tcp.sockets()[0].port()}}}))
                .first;
    } catch (const OSError&) {
      tcp.close();
    }
  }
  const int port = tcp.sockets()[0].port();
  Asking asking{.server = {"127.0.0.1", port}, .timeout = milliseconds(50)};
  for (const auto& [name, type] :
       {std::pair("host.example", "A"), std::pair("mail.example", "MX"),
        std::pair("long.example", "TXT"), std::pair("none.example", "A")}) {
    asking.type = type_of(type);
    print(ask(asking, name), std::cout);
  }
  udp->close();
  tcp.close();
  await(tcp.wait_closed());
}

}  // namespace

int main(int argc, char** argv) {
  return command_line::run(argc, argv, kUsage, [&] {
    const command_line::Arguments given(argc, argv, {"--server", "--type", "--tries", "--timeout"});
    if (argc == 1) {
      asyncio::run(show);
      return 0;
    }
    if (given.rest.size() != 1) throw command_line::UsageError("one NAME is expected");
    Asking asking;
    asking.type = type_of(given.get("--type", "A"));
    asking.tries = command_line::number(given.get("--tries", "3"), "--tries", 1, 20);
    asking.timeout =
        milliseconds(command_line::number(given.get("--timeout", "1000"), "--timeout", 1, 60'000));
    const auto [host, port] = command_line::host_and_port(
        given.has("--server") ? *given.get("--server") : usual_server(), 53);
    return asyncio::run([&, host = host, port = port] {
      asking.server = await(asyncio::get_running_loop().getaddrinfo(host, port))[0].address;
      return print(ask(asking, given.rest[0]), std::cout);
    });
  });
}
