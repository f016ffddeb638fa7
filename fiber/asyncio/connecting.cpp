#include <fiber/asyncio/connecting.hpp>

#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/staggered.hpp>
#include <fiber/exceptiongroup.hpp>
#include <fiber/exceptions/repr.hpp>

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace fiber::asyncio::detail {

// --- sockets ------------------------------------------------------------------------------------

void set_option(int fd, int level, int option, const char* name) {
  constexpr int kOn = 1;
  if (::setsockopt(fd, level, option, &kOn, sizeof kOn) != 0) raise_os_error(errno, name);
}

void set_nodelay(int fd, int family) noexcept {
  constexpr int kOn = 1;
  if (family == AF_INET || family == AF_INET6)
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
}

UniqueFd make_socket(int family, int type, int proto) {
  UniqueFd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto));
  if (fd.get() < 0) raise_os_error(errno, "socket");
  return fd;
}

void check_stream_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) raise_os_error(errno);
  if (type != SOCK_STREAM)
    throw ValueError("A Stream Socket was expected, got descriptor " + std::to_string(fd));
}

void set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) raise_os_error(errno, "fcntl");
}

void check_unix_stream_socket(int fd) {
  check_stream_socket(fd);
  if (SocketAddress::of_socket(fd).family() != AF_UNIX)
    throw ValueError("A UNIX Domain Stream Socket was expected, got descriptor " +
                     std::to_string(fd));
}

void refuse_start_tls(const TransportObject* transport) {
  std::string text = "transport <";
  if (transport == nullptr)
    text += "without a stream of bytes";
  else
    text += (transport->is_read_pipe() ? "read pipe fd=" : "write pipe fd=") +
            std::to_string(transport->fileno());
  throw TypeError(text + "> is not supported by start_tls()");
}

std::optional<std::int64_t> checked_time(const time_limit& limit, const char* name) {
  if (!limit.value()) return std::nullopt;
  if (limit.value()->count() <= 0)
    throw ValueError(
        std::string(name) + " should be a positive number, got " +
        fiber::detail::float_repr(std::chrono::duration<double>(*limit.value()).count()) +
        " seconds");
  return limit.value()->count();
}

// --- a connection that is being made ------------------------------------------------------------

Opening::Opening(LoopObject& loop, std::optional<std::size_t> limit) {
  core::Ref<ReaderObject> reader;
  if (limit) reader = core::Ref<ReaderObject>(new ReaderObject(loop, *limit));
  transport_ = TransportRef(new TransportObject(loop, TransportObject::Kind::socket, reader.get()));
}

Opening::~Opening() {
  if (!finished_) transport_->discard();
}

void Opening::finish() {
  transport_->sockname = SocketAddress::of_socket(transport_->fileno());
  // Not the address that was connected to: "0.0.0.0" leads to 127.0.0.1.
  if (const SocketAddress peer = SocketAddress::of_peer(transport_->fileno()))
    transport_->peername = peer;
  set_nodelay(transport_->fileno(), transport_->sockname.family());
  finished_ = true;
}

namespace {

std::unique_ptr<Opening> connect_to(LoopObject& loop, UniqueFd fd, const SocketAddress& address,
                                    std::optional<std::size_t> limit) {
  auto opening = std::make_unique<Opening>(loop, limit);
  opening->transport().peername = address;
  const bool in_progress = begin_connect(fd.get(), address);
  opening->transport().open(std::move(fd));
  if (in_progress) opening->transport().wait_connected();
  return opening;
}

// Returns a socket bound to one of the local addresses. An error of each failed address is kept.
UniqueFd bound_socket(const AddressInfo& info, const std::vector<AddressInfo>& local_infos,
                      std::vector<std::exception_ptr>& errors) {
  UniqueFd fd = make_socket(info.family, info.type, info.proto);
  if (local_infos.empty()) return fd;
  for (const AddressInfo& local : local_infos) {
    if (local.family != info.family) continue;
    if (::bind(fd.get(), local.address.data(), local.address.size()) == 0) return fd;
    errors.push_back(
        os_error(errno, "error while attempting to bind on address " + repr(local.address)));
  }
  if (errors.empty()) throw OSError("no matching local address found");
  const std::exception_ptr last = std::move(errors.back());
  errors.pop_back();
  std::rethrow_exception(last);
}

// Throws as CPython: the error that all attempts share, or else one with the texts of all.
[[noreturn]] void throw_all(const std::vector<std::exception_ptr>& errors) {
  const std::string first = str(errors.front());
  if (std::all_of(errors.begin(), errors.end(),
                  [&](const std::exception_ptr& error) { return str(error) == first; }))
    std::rethrow_exception(errors.front());
  std::string text = "Multiple exceptions: ";
  const char* comma = "";
  for (const std::exception_ptr& error : errors) text += std::exchange(comma, ", ") + str(error);
  throw OSError(text);
}

// Orders addresses as RFC 8305 does: the families take turns, after `first` addresses of the first
// one.
std::vector<AddressInfo> interleaved(const std::vector<AddressInfo>& infos, int first) {
  std::vector<std::vector<AddressInfo>> families;
  for (const AddressInfo& info : infos) {
    const auto same = [&](const std::vector<AddressInfo>& family) {
      return family.front().family == info.family;
    };
    const auto found = std::find_if(families.begin(), families.end(), same);
    if (found != families.end())
      found->push_back(info);
    else
      families.push_back({info});
  }
  std::vector<AddressInfo> mixed;
  if (first > 1 && !families.empty()) {
    std::vector<AddressInfo>& list = families.front();
    const auto end = list.begin() + std::min<std::ptrdiff_t>(first - 1, std::ssize(list));
    mixed.assign(list.begin(), end);
    list.erase(list.begin(), end);
  }
  for (std::size_t turn = 0; mixed.size() < infos.size(); ++turn)
    for (const std::vector<AddressInfo>& family : families)
      if (turn < family.size()) mixed.push_back(family[turn]);
  return mixed;
}

// The attempts of one call; they may outlive it for an iteration.
struct Attempts {
  LoopObject& loop;
  std::optional<std::size_t> limit;
  std::vector<AddressInfo> infos;
  std::vector<AddressInfo> local_infos;
  std::vector<std::vector<std::exception_ptr>> errors;  ///< of each address, in their order
  std::unique_ptr<Opening> opening = {};

  // Makes an attempt. Throws its error, which is in `errors` too unless it is a cancellation.
  void make(std::size_t index) {
    try {
      auto made = connect_to(loop, bound_socket(infos[index], local_infos, errors[index]),
                             infos[index].address, limit);
      if (opening == nullptr) opening = std::move(made);
    } catch (const OSError&) {
      errors[index].push_back(std::current_exception());
      throw;
    }
  }
  void one_after_the_other() {
    for (std::size_t index = 0; index < infos.size() && opening == nullptr; ++index) {
      try {
        make(index);
      } catch (const OSError&) {
        // The next attempt may succeed.
      }
    }
  }
};

}  // namespace

std::unique_ptr<Opening> open_tcp(LoopObject& loop, const std::string& host, int port,
                                  const ConnectArguments& arguments,
                                  std::optional<std::size_t> limit) {
  const GetaddrinfoOptions hints{.family = arguments.family,
                                 .type = SOCK_STREAM,
                                 .proto = arguments.proto,
                                 .flags = arguments.flags};
  return open_addresses(loop, resolve(loop, host, port, hints), arguments, limit);
}

std::unique_ptr<Opening> open_addresses(LoopObject& loop, std::vector<AddressInfo> addresses,
                                        const ConnectArguments& arguments,
                                        std::optional<std::size_t> limit) {
  if (addresses.empty()) throw OSError("getaddrinfo() returned empty list");
  const auto attempts = std::make_shared<Attempts>(Attempts{loop, limit, {}, {}, {}});
  attempts->infos = std::move(addresses);
  if (arguments.local_addr)
    attempts->local_infos = resolve(loop, arguments.local_addr->first, arguments.local_addr->second,
                                    {.family = arguments.family,
                                     .type = SOCK_STREAM,
                                     .proto = arguments.proto,
                                     .flags = arguments.flags});
  const int interleave = arguments.interleave.value_or(arguments.happy_eyeballs_delay ? 1 : 0);
  if (interleave != 0) attempts->infos = interleaved(attempts->infos, interleave);
  attempts->errors.resize(attempts->infos.size());
  if (arguments.happy_eyeballs_delay)
    staggered_race(loop, attempts->infos.size(), *arguments.happy_eyeballs_delay,
                   [attempts](std::size_t index) { attempts->make(index); });
  else
    attempts->one_after_the_other();
  if (attempts->opening != nullptr) return std::move(attempts->opening);
  std::vector<std::exception_ptr> errors;
  for (const std::vector<std::exception_ptr>& each : attempts->errors)
    errors.insert(errors.end(), each.begin(), each.end());
  if (arguments.all_errors) throw ExceptionGroup("create_connection failed", std::move(errors));
  throw_all(errors);
}

std::unique_ptr<Opening> open_unix(LoopObject& loop, const std::string& path,
                                   std::optional<std::size_t> limit) {
  const SocketAddress address = SocketAddress::from_path(path);
  return connect_to(loop, make_socket(AF_UNIX, SOCK_STREAM, 0), address, limit);
}

std::unique_ptr<Opening> open_given(LoopObject& loop, GivenDescriptor& sock,
                                    core::Owner<TransportLayer> layer,
                                    std::optional<std::size_t> limit) {
  check_stream_socket(sock.get());
  loop.selector().refuse_watched(sock.get());
  auto opening = std::make_unique<Opening>(loop, limit);
  if (layer != nullptr) opening->transport().put_layer(std::move(layer), false);
  set_nonblocking(sock.get());
  sock.hand_over([&](UniqueFd&& fd) { opening->transport().open(std::move(fd)); });
  return opening;
}

}  // namespace fiber::asyncio::detail
