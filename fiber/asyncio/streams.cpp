#include <fiber/asyncio/streams.hpp>

#include <fiber/asyncio/tasks.hpp>

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::asyncio {

static_assert(start_server_options{}.flags == AI_PASSIVE);

StreamReader::StreamReader(std::size_t limit) : StreamReader(limit, get_event_loop()) {}
StreamReader::StreamReader(std::size_t limit, const EventLoop& loop)
    : object_(new detail::ReaderObject(loop.object(), limit)) {}

namespace detail {
namespace {

using TransportRef = Counted<TransportObject>;

void set_option(int fd, int level, int option, const char* what) {
  constexpr int kOn = 1;
  if (::setsockopt(fd, level, option, &kOn, sizeof kOn) != 0) raise_os_error(errno, what);
}

// Small writes are sent without waiting for the acknowledgement of earlier ones.
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

// --- clients ------------------------------------------------------------------------------------

// Closes a connection that did not come to be.
class Opening {
 public:
  Opening(LoopObject& loop, std::size_t limit)
      : reader_(new ReaderObject(loop, limit)),
        transport_(new TransportObject(loop, TransportObject::Kind::socket, reader_.get())) {}
  ~Opening() {
    if (!finished_) transport_->discard();
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  TransportObject& transport() const noexcept { return *transport_; }
  StreamPair finish() {
    transport_->sockname = SocketAddress::of_socket(transport_->fileno());
    set_nodelay(transport_->fileno(), transport_->sockname.family());
    finished_ = true;
    // Closed, as the last one goes, if the wait is cancelled.
    StreamPair pair(*reader_, *transport_);
    transport_->begin_soon();
    transport_->wait_begun();
    return pair;
  }

 private:
  Counted<ReaderObject> reader_;
  TransportRef transport_;
  bool finished_ = false;
};

StreamPair connect_to(UniqueFd fd, const SocketAddress& address, std::size_t limit) {
  Opening opening(running_loop(), limit);
  opening.transport().peername = address;
  const bool in_progress = begin_connect(fd.get(), address);
  opening.transport().open(std::move(fd));
  if (in_progress) opening.transport().wait_connected();
  return opening.finish();
}

UniqueFd bound_socket(const AddressInfo& info, const std::vector<AddressInfo>& local_infos) {
  UniqueFd fd = make_socket(info.family, info.type, info.proto);
  int error = 0;
  std::string detail = "no matching local address found";
  for (const AddressInfo& local : local_infos) {
    if (local.family != info.family) continue;
    if (::bind(fd.get(), local.address.data(), local.address.size()) == 0) return fd;
    error = errno;
    detail = "error while attempting to bind on address " + repr(local.address);
  }
  if (error != 0) raise_os_error(error, detail);
  if (!local_infos.empty()) throw OSError(detail);
  return fd;
}

// As CPython: what all agree on, or everything that was said.
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

}  // namespace

StreamPair connect(const std::string& host, int port, const open_connection_options& options) {
  LoopObject& loop = running_loop();
  const getaddrinfo_options hints{.family = options.family,
                                  .type = SOCK_STREAM,
                                  .proto = options.proto,
                                  .flags = options.flags};
  const std::vector<AddressInfo> infos = resolve(loop, host, port, hints);
  std::vector<AddressInfo> local_infos;
  if (options.local_addr)
    local_infos = resolve(loop, options.local_addr->first, options.local_addr->second, hints);
  std::vector<std::exception_ptr> errors;
  for (const AddressInfo& info : infos) {
    try {
      return connect_to(bound_socket(info, local_infos), info.address, options.limit);
    } catch (const OSError&) {
      errors.push_back(std::current_exception());
    }
  }
  throw_all(errors);
}

StreamPair connect_unix(const std::string& path, std::size_t limit) {
  return connect_to(make_socket(AF_UNIX, SOCK_STREAM, 0), SocketAddress::from_path(path), limit);
}

namespace {

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

}  // namespace

// Nothing is done to a descriptor that will not be taken over.
StreamPair connect_fd(int fd, std::size_t limit) {
  LoopObject& loop = running_loop();
  check_stream_socket(fd);
  loop.refuse_watched(fd);
  Opening opening(loop, limit);
  set_nonblocking(fd);
  opening.transport().peername = SocketAddress::of_peer(fd);
  UniqueFd adopted(fd);
  try {
    opening.transport().open(std::move(adopted));
  } catch (...) {
    static_cast<void>(adopted.release());
    throw;
  }
  return opening.finish();
}

// --- servers ------------------------------------------------------------------------------------

namespace {

// Each connection is served by a task of its own.
connection_made in_task(client_connected callback) {
  return [callback = std::make_shared<const client_connected>(std::move(callback))](
             TransportObject& transport, ReaderObject& reader) {
    const auto task = EventLoop(&transport.loop())
                          .create_task([callback, reader = StreamReader(reader),
                                        writer = StreamWriter(transport)]() mutable {
                            (*callback)(reader, writer);
                          });
    task.add_done_callback([transport = TransportRef(&transport)](const Future<>& done) {
      if (!done.cancelled()) {
        const std::exception_ptr error = done.exception();
        if (error == nullptr) return;
        transport->loop().call_exception_handler(
            {.message = "Unhandled exception in client_connected_cb", .exception = error});
      }
      transport->close();
    });
  };
}

void check_limit(std::size_t limit) {
  if (limit == 0) throw ValueError("Limit cannot be <= 0");
}

Server make_server(std::vector<ListeningSocket> sockets, client_connected callback, int backlog,
                   std::size_t limit) {
  check_limit(limit);
  return Server(new ServerObject(running_loop(), std::move(sockets), in_task(std::move(callback)),
                                 backlog, limit));
}

// A server that nobody gets a handle to would serve for ever.
Server started(const Server& server, bool start_serving) {
  if (!start_serving) return server;
  try {
    asyncio::await(server.start_serving());
  } catch (...) {
    server.close();
    throw;
  }
  return server;
}

// The descriptor is the caller's until it is served.
Server serve_lent(client_connected callback, int fd, ListeningSocket socket, int backlog,
                  std::size_t limit, bool start_serving) {
  check_limit(limit);
  running_loop().refuse_watched(fd);
  set_nonblocking(fd);
  set_nodelay(fd, socket.address.family());
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  const Server server = make_server(std::move(sockets), std::move(callback), backlog, limit);
  server.object().take_over(fd);
  if (!start_serving) return server;
  try {
    server.object().start_serving();
  } catch (...) {
    server.object().give_back();
    throw;
  }
  return started(server, true);
}

// Nothing if the address is of a kind that this machine does not have.
std::optional<ListeningSocket> listening_socket(const AddressInfo& info,
                                                const start_server_options& options) {
  UniqueFd fd(::socket(info.family, info.type | SOCK_NONBLOCK | SOCK_CLOEXEC, info.proto));
  if (fd.get() < 0) return std::nullopt;
  if (options.reuse_address) set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
  if (options.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT");
  if (options.keep_alive) set_option(fd.get(), SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE");
  // One socket per kind of address, even where one could serve both.
  if (info.family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
  set_nodelay(fd.get(), info.family);  // connections inherit it
  if (::bind(fd.get(), info.address.data(), info.address.size()) != 0) {
    if (errno == EADDRNOTAVAIL) return std::nullopt;
    raise_os_error(errno, "error while attempting to bind on address " + repr(info.address));
  }
  ListeningSocket socket{.fd = std::move(fd), .address = {}};
  socket.address = SocketAddress::of_socket(socket.fd.get());
  return socket;
}

}  // namespace

Server serve(client_connected callback, const std::vector<std::string>& hosts, int port,
             const start_server_options& options) {
  LoopObject& loop = running_loop();
  std::vector<Coroutine<std::vector<AddressInfo>>> lookups;
  for (const std::string& host : hosts)
    lookups.emplace_back([&loop, host, port, &options] {
      return resolve(loop, host, port,
                     {.family = options.family, .type = SOCK_STREAM, .flags = options.flags});
    });
  std::vector<AddressInfo> infos;
  for (const std::vector<AddressInfo>& found : asyncio::await(asyncio::gather(lookups)))
    for (const AddressInfo& info : found)
      if (std::none_of(infos.begin(), infos.end(),
                       [&](const AddressInfo& other) { return other.address == info.address; }))
        infos.push_back(info);
  std::vector<ListeningSocket> sockets;
  for (const AddressInfo& info : infos)
    if (auto socket = listening_socket(info, options)) sockets.push_back(std::move(*socket));
  if (sockets.empty()) {
    std::string text = "could not bind on any address out of [";
    const char* comma = "";
    for (const AddressInfo& info : infos) text += std::exchange(comma, ", ") + repr(info.address);
    throw OSError(text + "]");
  }
  return started(
      make_server(std::move(sockets), std::move(callback), options.backlog, options.limit),
      options.start_serving);
}

Server serve_fd(client_connected callback, int fd, const start_server_options& options) {
  check_stream_socket(fd);
  ListeningSocket socket{.fd = UniqueFd(), .address = SocketAddress::of_socket(fd)};
  return serve_lent(std::move(callback), fd, std::move(socket), options.backlog, options.limit,
                    options.start_serving);
}

namespace {

// Of the file of a Unix socket, if it has one that is to go with it.
ino_t file_to_remove(const SocketAddress& address, bool remove) {
  const std::string path = address.path();
  struct stat found {};
  if (!remove || path.empty() || path.starts_with('\0') || ::stat(path.c_str(), &found) != 0)
    return 0;
  return found.st_ino;
}

}  // namespace

Server serve_unix_fd(client_connected callback, int fd, const start_unix_server_options& options) {
  check_stream_socket(fd);
  ListeningSocket socket{.fd = UniqueFd(), .address = SocketAddress::of_socket(fd)};
  if (socket.address.family() != AF_UNIX)
    throw ValueError("A UNIX Domain Stream Socket was expected, got descriptor " +
                     std::to_string(fd));
  socket.inode = file_to_remove(socket.address, options.cleanup_socket);
  return serve_lent(std::move(callback), fd, std::move(socket), options.backlog, options.limit,
                    options.start_serving);
}

Server serve_unix(client_connected callback, const std::string& path,
                  const start_unix_server_options& options) {
  const SocketAddress address = SocketAddress::from_path(path);
  const bool named = !path.starts_with('\0');
  struct stat found {};
  if (named && ::stat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  ListeningSocket socket{.fd = make_socket(AF_UNIX, SOCK_STREAM, 0), .address = address};
  if (::bind(socket.fd.get(), address.data(), address.size()) != 0)
    raise_os_error(errno, "'" + path + "'");
  socket.inode = file_to_remove(address, options.cleanup_socket);
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  return started(
      make_server(std::move(sockets), std::move(callback), options.backlog, options.limit),
      options.start_serving);
}

}  // namespace detail
}  // namespace fiber::asyncio
