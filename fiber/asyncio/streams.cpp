#include <fiber/asyncio/streams.hpp>

#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/failure.hpp>

#include <memory>

#include <netdb.h>

namespace fiber::asyncio {

static_assert(AI_PASSIVE == 1);  // StartServerOptions::flags

StreamReader::StreamReader(std::size_t limit) : StreamReader(limit, get_event_loop()) {}
StreamReader::StreamReader(std::size_t limit, const EventLoop& loop)
    : object_(new detail::ReaderObject(loop.object(), limit)) {}

void StreamReader::refuse_moved() { throw ValueError("this StreamReader was moved from"); }
void StreamWriter::refuse_moved() { throw ValueError("this StreamWriter was moved from"); }

StreamWriter::StreamWriter(const WriteTransport& transport) : object_(transport.object().stream()) {
  if (!object_) throw NotImplementedError("this transport carries no stream of bytes");
}

namespace detail {
namespace {

StreamPair pair_of(Opening& opening, core::Owner<TransportLayer> layer) {
  TransportObject& transport = opening.transport();
  if (layer != nullptr) transport.put_layer(std::move(layer), false);
  opening.finish();
  // If the wait is cancelled, the connection is closed with its last handle.
  StreamPair pair{StreamReader(*transport.reader()), StreamWriter(transport)};
  transport.begin_soon();
  transport.wait_begun();
  return pair;
}

}  // namespace

ConnectTo::ConnectTo(std::string host, int port, OpenConnectionOptions&& options) noexcept
    : host_(std::move(host)), port_(port), options_(std::move(options)) {}
ConnectTo::ConnectTo(ConnectTo&& other) noexcept = default;
ConnectTo::~ConnectTo() = default;

StreamPair ConnectTo::operator()() const {
  LoopObject& loop = running_loop();
  core::Owner<TransportLayer> layer = client_layer(options_, &host_);
  return pair_of(*open_tcp(loop, host_, port_, connect_arguments(options_), options_.limit),
                 std::move(layer));
}

StreamPair connect_unix(const std::string& path, const OpenUnixConnectionOptions& options) {
  core::Owner<TransportLayer> layer = client_layer(options, nullptr);
  return pair_of(*open_unix(running_loop(), path, options.limit), std::move(layer));
}

StreamPair connect_given(GivenDescriptor& sock, const OpenUnixConnectionOptions& options) {
  LoopObject& loop = running_loop();
  core::Owner<TransportLayer> layer = client_layer(options, nullptr);
  return pair_of(*open_given(loop, sock, std::move(layer), options.limit), nullptr);
}

// Starts TLS on a stream; a connection of a server is the server side of the handshake.
void start_tls(TransportObject& transport, const ssl_argument& sslcontext,
               const StartTlsOptions& options) {
  if (!sslcontext.is_context())
    throw TypeError("sslcontext is expected to be an instance of ssl::SSLContext");
  if (!transport.is_socket()) refuse_start_tls(&transport);
  LayerArguments arguments = layer_arguments(options);
  arguments.server_side = transport.is_server_side();
  arguments.server_hostname = options.server_hostname;
  transport.drain();
  if (transport.is_closing()) throw ConnectionResetError("Connection lost");
  transport.start_layer(sslcontext.maker(false).make_layer(arguments), transport.stream_reader());
}

// --- servers ------------------------------------------------------------------------------------

namespace {

// Serves each connection in a task of its own.
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
        transport->loop().errors().report_failure("Unhandled exception in client_connected_cb",
                                                  {.exception = error});
      }
      transport->close();
    });
  };
}

void check_limit(std::size_t limit) {
  if (limit == 0) throw ValueError("Limit cannot be <= 0");
}

template <class Options>
core::Ref<ServerObject> make_server(std::vector<ListeningSocket> sockets, client_connected callback,
                                    const Options& options) {
  check_limit(options.limit);
  core::Ref<ServerObject> server(new ServerObject(running_loop(), std::move(sockets),
                                                  in_task(std::move(callback)), options.backlog,
                                                  options.limit));
  server->secure(options.ssl, server_arguments(options));
  return server;
}

template <class Options>
core::Ref<ServerObject> make_server(ListeningSocket socket, client_connected callback,
                                    const Options& options) {
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  return make_server(std::move(sockets), std::move(callback), options);
}

}  // namespace

Server serve(client_connected callback, const std::vector<std::string>& hosts, int port,
             const StartServerOptions& options) {
  LoopObject& loop = running_loop();
  server_arguments(options);  // before a socket is bound
  return start(make_server(listening_sockets(loop, hosts, port, listen_arguments(options)),
                           std::move(callback), options),
               options.start_serving);
}

Server serve_given(client_connected callback, GivenDescriptor& sock,
                   const StartServerOptions& options) {
  return start_given(make_server(listening_socket_of(sock.get()), std::move(callback), options),
                     sock, options.start_serving);
}

Server serve_given(client_connected callback, GivenDescriptor& sock,
                   const StartUnixServerOptions& options) {
  return start_given(make_server(unix_listening_socket_of(sock.get(), options.cleanup_socket),
                                 std::move(callback), options),
                     sock, options.start_serving);
}

Server serve_unix(client_connected callback, const std::string& path,
                  const StartUnixServerOptions& options) {
  server_arguments(options);
  return start(make_server(unix_listening_sockets(path, options.cleanup_socket),
                           std::move(callback), options),
               options.start_serving);
}

}  // namespace detail
}  // namespace fiber::asyncio
