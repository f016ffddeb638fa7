// Makes connections and listening sockets, for streams and protocols alike.
#pragma once

#include <fiber/asyncio/file_descriptor.hpp>
#include <fiber/asyncio/server.hpp>
#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/core/owner.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fiber::asyncio {
struct CreateConnectionOptions;
}

namespace fiber::asyncio::detail {

using TransportRef = core::Ref<TransportObject>;

/// Sets an option. Throws OSError, which names the option.
void set_option(int fd, int level, int option, const char* name);
/// Makes small writes go out without waiting for the acknowledgement of earlier ones.
void set_nodelay(int fd, int family) noexcept;
/// Returns a socket that does not block.
UniqueFd make_socket(int family, int type, int proto);
void set_nonblocking(int fd);
/// Throws ValueError for a descriptor of another kind, as the next function does.
void check_stream_socket(int fd);
void check_unix_stream_socket(int fd);

// --- TLS: the meaning of the arguments ----------------------------------------------------------

/// Throws the TypeError of start_tls() for a transport that is no socket; null: no stream either.
[[noreturn]] void refuse_start_tls(const TransportObject* transport);

/// Returns the time in nanoseconds. Throws ValueError unless it is positive.
std::optional<std::int64_t> checked_time(const time_limit& limit, const char* name);

template <class Options>
LayerArguments layer_arguments(const Options& options) {
  return {.handshake_timeout = checked_time(options.ssl_handshake_timeout, "ssl_handshake_timeout"),
          .shutdown_timeout = checked_time(options.ssl_shutdown_timeout, "ssl_shutdown_timeout")};
}

template <class Options>
void check_times_without_ssl(const Options& options) {
  if (options.ssl_handshake_timeout.value())
    throw ValueError("ssl_handshake_timeout is only meaningful with ssl");
  if (options.ssl_shutdown_timeout.value())
    throw ValueError("ssl_shutdown_timeout is only meaningful with ssl");
}

/// Returns null for a plain connection. `host`: the name for the certificate, unless one is given.
template <class Options>
core::Owner<TransportLayer> client_layer(const Options& options, const std::string* host) {
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

/// A connection that is being made. Closed, unless its transport is taken over.
class Opening {
 public:
  /// `limit`: of the stream's reader; nullopt: for a protocol.
  Opening(LoopObject& loop, std::optional<std::size_t> limit);
  ~Opening();
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  TransportObject& transport() const noexcept { return *transport_; }
  /// Notes the addresses in the transport, which this object no longer closes from now on.
  void finish();

 private:
  TransportRef transport_;
  bool finished_ = false;
};

/// The addresses to connect to, and from.
struct ConnectArguments {
  int family = 0;
  int proto = 0;
  int flags = 0;
  std::optional<std::pair<std::string, int>> local_addr = {};
  std::optional<std::int64_t> happy_eyeballs_delay = {};  ///< nanoseconds
  std::optional<int> interleave = {};
  bool all_errors = false;
};
template <class Options>
ConnectArguments connect_arguments(const Options& options) {
  ConnectArguments arguments{.family = options.family,
                             .proto = options.proto,
                             .flags = options.flags,
                             .local_addr = options.local_addr,
                             .interleave = options.interleave,
                             .all_errors = options.all_errors};
  if (options.happy_eyeballs_delay.value())
    arguments.happy_eyeballs_delay = options.happy_eyeballs_delay.value()->count();
  return arguments;
}

/// The next three open a connection, in a task. They throw OSError.
std::unique_ptr<Opening> open_tcp(LoopObject& loop, const std::string& host, int port,
                                  const ConnectArguments& arguments,
                                  std::optional<std::size_t> limit);
std::unique_ptr<Opening> open_addresses(LoopObject& loop, std::vector<AddressInfo> addresses,
                                        const ConnectArguments& arguments,
                                        std::optional<std::size_t> limit);
std::unique_ptr<Opening> open_unix(LoopObject& loop, const std::string& path,
                                   std::optional<std::size_t> limit);
/// Takes over a connected stream socket. A descriptor that is not taken over stays unchanged.
std::unique_ptr<Opening> open_given(LoopObject& loop, GivenDescriptor& sock,
                                    core::Owner<TransportLayer> layer,
                                    std::optional<std::size_t> limit);

/// Connects as connect_protocol() does, to a host whose addresses are known, at least one. For the
/// library's other parts.
FIBER_API Transport connect_protocol(LoopObject& loop,
                                     const std::function<std::shared_ptr<BaseProtocol>()>& factory,
                                     std::vector<AddressInfo> addresses,
                                     const CreateConnectionOptions& options);

// --- servers ------------------------------------------------------------------------------------

struct ListenArguments {
  int family = 0;
  int flags = 0;
  bool reuse_address = true;
  bool reuse_port = false;
  bool keep_alive = false;
};
template <class Options>
ListenArguments listen_arguments(const Options& options) {
  return {.family = options.family,
          .flags = options.flags,
          .reuse_address = options.reuse_address,
          .reuse_port = options.reuse_port,
          .keep_alive = options.keep_alive};
}

/// Returns bound sockets, one for each address of the hosts. In a task.
std::vector<ListeningSocket> listening_sockets(LoopObject& loop,
                                               const std::vector<std::string>& hosts, int port,
                                               const ListenArguments& arguments);
std::vector<ListeningSocket> unix_listening_sockets(const std::string& path, bool cleanup);
/// Returns the description of a descriptor before a server takes it over.
ListeningSocket listening_socket_of(int fd);
ListeningSocket unix_listening_socket_of(int fd, bool cleanup);

/// Makes a server of bound sockets, and begins to serve if `start_serving`.
Server start(core::Ref<ServerObject> server, bool start_serving);
/// Starts a server that was made with listening_socket_of(). The descriptor stays the caller's if
/// this throws.
Server start_given(core::Ref<ServerObject> server, GivenDescriptor& sock, bool start_serving);

}  // namespace fiber::asyncio::detail
