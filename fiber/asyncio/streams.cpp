#include <fiber/asyncio/streams.hpp>

#include <fiber/asyncio/tasks.hpp>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::asyncio {

static_assert(AI_PASSIVE == 1);  // start_server_options::flags

StreamReader::StreamReader(std::size_t limit) : StreamReader(limit, get_event_loop()) {}
StreamReader::StreamReader(std::size_t limit, const EventLoop& loop)
    : object_(new detail::ReaderObject(loop.object(), limit)) {}

namespace detail {
namespace {

using TransportRef = core::Ref<TransportObject>;

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

// --- TLS: what the arguments mean ---------------------------------------------------------------

std::optional<std::int64_t> checked(const time_limit& limit, const char* name) {
  if (!limit.value()) return std::nullopt;
  if (limit.value()->count() <= 0)
    throw ValueError(std::string(name) + " should be a positive number, got " +
                     std::to_string(std::chrono::duration<double>(*limit.value()).count()) +
                     " seconds");
  return limit.value()->count();
}

template <class Options>
LayerArguments layer_arguments(const Options& options) {
  return {.handshake_timeout = checked(options.ssl_handshake_timeout, "ssl_handshake_timeout"),
          .shutdown_timeout = checked(options.ssl_shutdown_timeout, "ssl_shutdown_timeout")};
}

template <class Options>
void check_times_without_ssl(const Options& options) {
  if (options.ssl_handshake_timeout.value())
    throw ValueError("ssl_handshake_timeout is only meaningful with ssl");
  if (options.ssl_shutdown_timeout.value())
    throw ValueError("ssl_shutdown_timeout is only meaningful with ssl");
}

// Null for a plain connection. `host`: what the certificate is for, unless that is said.
template <class Options>
std::unique_ptr<TransportLayer> client_layer(const Options& options, const std::string* host) {
  if (!options.ssl) {
    if (options.server_hostname) throw ValueError("server_hostname is only meaningful with ssl");
    check_times_without_ssl(options);
    return nullptr;
  }
  if (!options.server_hostname && (host == nullptr || host->empty()))
    throw ValueError("You must set server_hostname when using ssl without a host");
  LayerArguments arguments = layer_arguments(options);
  arguments.server_hostname = options.server_hostname ? *options.server_hostname : *host;
  return options.ssl.maker(!arguments.server_hostname.empty()).make_layer(arguments);
}

template <class Options>
LayerArguments server_arguments(const Options& options) {
  if (!options.ssl) {
    check_times_without_ssl(options);
    return {};
  }
  if (!options.ssl.is_context())
    throw TypeError("ssl argument must be an SSLContext, or nothing: a server needs a certificate");
  LayerArguments arguments = layer_arguments(options);
  arguments.server_side = true;
  return arguments;
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
  StreamPair finish(std::unique_ptr<TransportLayer> layer) {
    if (layer != nullptr) transport_->put_layer(std::move(layer), false);
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
  core::Ref<ReaderObject> reader_;
  TransportRef transport_;
  bool finished_ = false;
};

std::unique_ptr<Opening> connect_to(UniqueFd fd, const SocketAddress& address, std::size_t limit) {
  auto opening = std::make_unique<Opening>(running_loop(), limit);
  opening->transport().peername = address;
  const bool in_progress = begin_connect(fd.get(), address);
  opening->transport().open(std::move(fd));
  if (in_progress) opening->transport().wait_connected();
  return opening;
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
  std::unique_ptr<TransportLayer> layer = client_layer(options, &host);
  const getaddrinfo_options hints{.family = options.family,
                                  .type = SOCK_STREAM,
                                  .proto = options.proto,
                                  .flags = options.flags};
  const std::vector<AddressInfo> infos = resolve(loop, host, port, hints);
  std::vector<AddressInfo> local_infos;
  if (options.local_addr)
    local_infos = resolve(loop, options.local_addr->first, options.local_addr->second, hints);
  std::unique_ptr<Opening> opening;
  std::vector<std::exception_ptr> errors;
  for (const AddressInfo& info : infos) {
    try {
      opening = connect_to(bound_socket(info, local_infos), info.address, options.limit);
      break;
    } catch (const OSError&) {
      errors.push_back(std::current_exception());
    }
  }
  if (opening == nullptr) throw_all(errors);
  return opening->finish(std::move(layer));
}

StreamPair connect_unix(const std::string& path, const open_unix_connection_options& options) {
  std::unique_ptr<TransportLayer> layer = client_layer(options, nullptr);
  const SocketAddress address = SocketAddress::from_path(path);
  return connect_to(make_socket(AF_UNIX, SOCK_STREAM, 0), address, options.limit)
      ->finish(std::move(layer));
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
StreamPair connect_fd(int fd, const open_unix_connection_options& options) {
  LoopObject& loop = running_loop();
  std::unique_ptr<TransportLayer> layer = client_layer(options, nullptr);
  check_stream_socket(fd);
  loop.refuse_watched(fd);
  Opening opening(loop, options.limit);
  if (layer != nullptr) opening.transport().put_layer(std::move(layer), false);
  set_nonblocking(fd);
  opening.transport().peername = SocketAddress::of_peer(fd);
  UniqueFd adopted(fd);
  try {
    opening.transport().open(std::move(adopted));
  } catch (...) {
    static_cast<void>(adopted.release());
    throw;
  }
  return opening.finish(nullptr);
}

// The connection of a server is told apart by the server.
void start_tls(TransportObject& transport, const ssl_argument& sslcontext,
               const start_tls_options& options) {
  if (!sslcontext.is_context())
    throw TypeError("sslcontext is expected to be an instance of ssl::SSLContext");
  LayerArguments arguments = layer_arguments(options);
  arguments.server_side = transport.server != nullptr;
  arguments.server_hostname = options.server_hostname;
  transport.drain();
  if (transport.is_closing()) throw ConnectionResetError("Connection lost");
  transport.start_layer(sslcontext.maker(false).make_layer(arguments));
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

template <class Options>
Server make_server(std::vector<ListeningSocket> sockets, client_connected callback,
                   const Options& options) {
  check_limit(options.limit);
  const Server server(new ServerObject(running_loop(), std::move(sockets),
                                       in_task(std::move(callback)), options.backlog,
                                       options.limit));
  server.object().secure(options.ssl, server_arguments(options));
  return server;
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
template <class Options>
Server serve_lent(client_connected callback, int fd, ListeningSocket socket,
                  const Options& options) {
  check_limit(options.limit);
  server_arguments(options);
  running_loop().refuse_watched(fd);
  set_nonblocking(fd);
  set_nodelay(fd, socket.address.family());
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  const Server server = make_server(std::move(sockets), std::move(callback), options);
  server.object().take_over(fd);
  if (!options.start_serving) return server;
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
  server_arguments(options);  // before anything is bound
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
  return started(make_server(std::move(sockets), std::move(callback), options),
                 options.start_serving);
}

Server serve_fd(client_connected callback, int fd, const start_server_options& options) {
  check_stream_socket(fd);
  ListeningSocket socket{.fd = UniqueFd(), .address = SocketAddress::of_socket(fd)};
  return serve_lent(std::move(callback), fd, std::move(socket), options);
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
  return serve_lent(std::move(callback), fd, std::move(socket), options);
}

Server serve_unix(client_connected callback, const std::string& path,
                  const start_unix_server_options& options) {
  server_arguments(options);
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
  return started(make_server(std::move(sockets), std::move(callback), options),
                 options.start_serving);
}

}  // namespace detail
}  // namespace fiber::asyncio
