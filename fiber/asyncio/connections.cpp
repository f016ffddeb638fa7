#include <fiber/asyncio/connections.hpp>

#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <cerrno>

#include <sys/stat.h>

namespace fiber::asyncio::detail {
namespace {

// Tells the protocol of its connection, and waits until it knows, and TLS is ready.
Transport begun(TransportObject& object) {
  Transport transport(object);
  try {
    object.begin_soon();
    object.wait_begun();
  } catch (...) {
    object.close();
    throw;
  }
  return transport;
}

Transport made(Opening& opening, std::shared_ptr<BaseProtocol> protocol,
               core::Owner<TransportLayer> layer) {
  TransportObject& object = opening.transport();
  object.speak_to(std::move(protocol));
  if (layer != nullptr) object.put_layer(std::move(layer), false);
  opening.finish();
  return begun(object);
}

// Makes a connection of a descriptor, which is taken over once the factory has made a protocol.
Transport made_of(LoopObject& loop, GivenDescriptor& sock, const protocol_factory& factory,
                  core::Owner<TransportLayer> layer) {
  check_stream_socket(sock.get());
  loop.selector().refuse_watched(sock.get());
  std::shared_ptr<BaseProtocol> protocol = factory();
  const auto opening = open_given(loop, sock, nullptr, std::nullopt);
  return made(*opening, std::move(protocol), std::move(layer));
}

core::Ref<ServerObject> protocol_server(LoopObject& loop, std::vector<ListeningSocket> sockets,
                                        protocol_factory factory, int backlog) {
  return core::Ref<ServerObject>(
      new ServerObject(loop, std::move(sockets), std::move(factory), backlog));
}

template <class Options>
core::Ref<ServerObject> protocol_server(LoopObject& loop, ListeningSocket socket,
                                        protocol_factory factory, const Options& options) {
  loop.home().check_thread();
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  auto server = protocol_server(loop, std::move(sockets), std::move(factory), options.backlog);
  server->secure(options.ssl, server_arguments(options));
  return server;
}

}  // namespace

Transport connect_protocol(LoopObject& loop, const protocol_factory& factory,
                           const std::string& host, int port,
                           const CreateConnectionOptions& options) {
  core::Owner<TransportLayer> layer = client_layer(options, &host);
  const auto opening = open_tcp(loop, host, port, connect_arguments(options), std::nullopt);
  return made(*opening, factory(), std::move(layer));
}

Transport connect_protocol(LoopObject& loop, const protocol_factory& factory, GivenDescriptor& sock,
                           const CreateConnectionOptions& options) {
  core::Owner<TransportLayer> layer = client_layer(options, nullptr);
  return made_of(loop, sock, factory, std::move(layer));
}

Transport connect_protocol(LoopObject& loop, const protocol_factory& factory,
                           std::vector<AddressInfo> addresses,
                           const CreateConnectionOptions& options) {
  const auto opening =
      open_addresses(loop, std::move(addresses), connect_arguments(options), std::nullopt);
  return made(*opening, factory(), nullptr);
}

Transport connect_unix_protocol(LoopObject& loop, const protocol_factory& factory,
                                const std::string& path,
                                const CreateUnixConnectionOptions& options) {
  core::Owner<TransportLayer> layer = client_layer(options, nullptr);
  const auto opening = open_unix(loop, path, std::nullopt);
  return made(*opening, factory(), std::move(layer));
}

Transport connect_unix_protocol(LoopObject& loop, const protocol_factory& factory,
                                GivenDescriptor& sock, const CreateUnixConnectionOptions& options) {
  check_unix_stream_socket(sock.get());
  core::Owner<TransportLayer> layer = client_layer(options, nullptr);
  return made_of(loop, sock, factory, std::move(layer));
}

Transport accepted_protocol(LoopObject& loop, const protocol_factory& factory,
                            GivenDescriptor& sock, const ConnectAcceptedSocketOptions& options) {
  const LayerArguments arguments = server_arguments(options);
  core::Owner<TransportLayer> layer;
  if (options.ssl) layer = options.ssl.maker(false).make_layer(arguments);
  return made_of(loop, sock, factory, std::move(layer));
}

// --- servers ------------------------------------------------------------------------------------

namespace {

// Serves at the sockets that `bound()` makes.
template <class Options, class Bound>
Server serve_at(LoopObject& loop, protocol_factory factory, const Options& options, Bound bound) {
  loop.home().check_thread();
  const LayerArguments arguments = server_arguments(options);  // before a socket is bound
  auto server = protocol_server(loop, bound(), std::move(factory), options.backlog);
  server->secure(options.ssl, arguments);
  return start(std::move(server), options.start_serving);
}

}  // namespace

Server serve_protocols(LoopObject& loop, protocol_factory factory,
                       const std::vector<std::string>& hosts, int port,
                       const CreateServerOptions& options) {
  return serve_at(loop, std::move(factory), options,
                  [&] { return listening_sockets(loop, hosts, port, listen_arguments(options)); });
}

Server serve_protocols(LoopObject& loop, protocol_factory factory, GivenDescriptor& sock,
                       const CreateServerOptions& options) {
  return start_given(
      protocol_server(loop, listening_socket_of(sock.get()), std::move(factory), options), sock,
      options.start_serving);
}

Server serve_unix_protocols(LoopObject& loop, protocol_factory factory, const std::string& path,
                            const CreateUnixServerOptions& options) {
  return serve_at(loop, std::move(factory), options,
                  [&] { return unix_listening_sockets(path, options.cleanup_socket); });
}

Server serve_unix_protocols(LoopObject& loop, protocol_factory factory, GivenDescriptor& sock,
                            const CreateUnixServerOptions& options) {
  return start_given(
      protocol_server(loop, unix_listening_socket_of(sock.get(), options.cleanup_socket),
                      std::move(factory), options),
      sock, options.start_serving);
}

// --- pipes --------------------------------------------------------------------------------------

Transport connect_pipe(LoopObject& loop, const protocol_factory& factory, GivenDescriptor& pipe,
                       TransportObject::Kind kind) {
  struct stat found {};
  if (::fstat(pipe.get(), &found) != 0) raise_os_error(errno);
  if (!S_ISFIFO(found.st_mode) && !S_ISSOCK(found.st_mode) && !S_ISCHR(found.st_mode))
    throw ValueError(kind == TransportObject::Kind::read_pipe
                         ? "Pipe transport is for pipes/sockets only."
                         : "Pipe transport is only for pipes, sockets and character devices");
  loop.selector().refuse_watched(pipe.get());
  const TransportRef object(new TransportObject(loop, kind, nullptr));
  object->outlives_peer = kind == TransportObject::Kind::write_pipe && S_ISCHR(found.st_mode);
  object->speak_to(factory());
  set_nonblocking(pipe.get());
  pipe.hand_over([&](UniqueFd&& fd) { object->open(std::move(fd)); });
  return begun(*object);
}

// --- TLS over a transport in use ----------------------------------------------------------------

void start_tls(const Transport& transport, std::shared_ptr<BaseProtocol> protocol,
               const ssl_argument& sslcontext, const LoopStartTlsOptions& options) {
  if (!sslcontext.is_context())
    throw TypeError("sslcontext is expected to be an instance of ssl::SSLContext");
  TransportObject* object = transport.object().stream();
  if (object == nullptr || !object->is_socket()) refuse_start_tls(object);
  LayerArguments arguments = layer_arguments(options);
  arguments.server_side = options.server_side;
  arguments.server_hostname = options.server_hostname;
  core::Owner<TransportLayer> layer = sslcontext.maker(false).make_layer(arguments);
  object->check_layer_possible();
  transport.set_protocol(std::move(protocol));
  object->start_layer(std::move(layer), object->reader());
}

}  // namespace fiber::asyncio::detail
