// Connections, servers and pipes that call protocols: members of EventLoop. Python: asyncio's
// loop.create_connection, create_server and their relatives.
#pragma once

#include <fiber/asyncio/protocols.hpp>
#include <fiber/asyncio/server.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/standard.hpp>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio {

/// Keyword arguments of loop.create_connection; each as in OpenConnectionOptions.
struct CreateConnectionOptions {
  int family = 0;  ///< AF_INET, AF_INET6; 0: both
  int proto = 0;   ///< IPPROTO_ constant; 0: the usual one
  int flags = 0;   ///< AI_ constants
  std::optional<std::pair<std::string, int>> local_addr = {};  ///< local host and port
  time_limit happy_eyeballs_delay = {};  ///< before the next address is tried as well
  std::optional<int> interleave = {};  ///< addresses of the first family before families take turns
  bool all_errors = false;             ///< throw an ExceptionGroup of all errors
  ssl_argument ssl = {};               ///< an ssl::SSLContext, or `true` for the usual one
  std::optional<std::string> server_hostname = {};  ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};            ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};             ///< default: 30 s
};
/// Keyword arguments of loop.create_unix_connection; each as in OpenUnixConnectionOptions.
struct CreateUnixConnectionOptions {
  ssl_argument ssl = {};  ///< an ssl::SSLContext, or `true` for the usual one
  std::optional<std::string> server_hostname = {};  ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};            ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};             ///< default: 30 s
};
/// Keyword arguments of loop.connect_accepted_socket; each as in StartServerOptions.
struct ConnectAcceptedSocketOptions {
  ssl_argument ssl = {};                  ///< an ssl::SSLContext that has a certificate
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};
/// Keyword arguments of loop.create_server; each as in StartServerOptions.
struct CreateServerOptions {
  int family = 0;                         ///< AF_INET, AF_INET6; 0: both
  int flags = 1;                          ///< AI_ constants; 1: AI_PASSIVE
  int backlog = 100;                      ///< connections that wait to be accepted
  bool reuse_address = true;              ///< SO_REUSEADDR
  bool reuse_port = false;                ///< SO_REUSEPORT
  bool keep_alive = false;                ///< SO_KEEPALIVE
  bool start_serving = true;              ///< false: see Server::start_serving
  ssl_argument ssl = {};                  ///< an ssl::SSLContext that has a certificate
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};
/// Keyword arguments of loop.create_unix_server; each as in StartUnixServerOptions.
struct CreateUnixServerOptions {
  int backlog = 100;                      ///< connections that wait to be accepted
  bool start_serving = true;              ///< false: see Server::start_serving
  bool cleanup_socket = true;             ///< remove the socket's file when the server is closed
  ssl_argument ssl = {};                  ///< an ssl::SSLContext that has a certificate
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};
/// Keyword arguments of loop.start_tls; each as in StartTlsOptions.
struct LoopStartTlsOptions {
  bool server_side = false;               ///< true: this side is the server
  std::string server_hostname = {};       ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};

namespace detail {

using protocol_factory = std::function<std::shared_ptr<BaseProtocol>()>;

/// The type to which a factory's pointer points.
template <class F>
using protocol_of =
    typename std::pointer_traits<std::invoke_result_t<std::decay_t<F>&>>::element_type;

/// Makes one connection with one protocol: `make` gets the factory as a protocol_factory, and
/// returns the transport.
template <class F, class Make>
auto with_protocol(F&& factory, Make make) {
  static_assert(std::is_base_of_v<BaseProtocol, protocol_of<F>>,
                "the factory is to return a std::shared_ptr to a protocol");
  return Deferred(
      [factory = std::decay_t<F>(std::forward<F>(factory)), make = std::move(make)]() mutable {
        std::shared_ptr<protocol_of<F>> protocol;
        auto transport = make([&]() -> std::shared_ptr<BaseProtocol> {
          protocol = factory();
          return protocol;
        });
        return std::pair(std::move(transport), std::move(protocol));
      });
}

/// Returns a factory for a server, which calls it again and again.
template <class F>
protocol_factory shared_factory(F&& factory) {
  auto shared = std::make_shared<std::decay_t<F>>(std::forward<F>(factory));
  return [shared]() -> std::shared_ptr<BaseProtocol> {
    return std::shared_ptr<protocol_of<F>>((*shared)());
  };
}

FIBER_API Transport connect_protocol(LoopObject& loop, const protocol_factory& factory,
                                     const std::string& host, int port,
                                     const CreateConnectionOptions& options);
FIBER_API Transport connect_protocol(LoopObject& loop, const protocol_factory& factory,
                                     GivenDescriptor& sock, const CreateConnectionOptions& options);
FIBER_API Transport connect_unix_protocol(LoopObject& loop, const protocol_factory& factory,
                                          const std::string& path,
                                          const CreateUnixConnectionOptions& options);
FIBER_API Transport connect_unix_protocol(LoopObject& loop, const protocol_factory& factory,
                                          GivenDescriptor& sock,
                                          const CreateUnixConnectionOptions& options);
FIBER_API Transport accepted_protocol(LoopObject& loop, const protocol_factory& factory,
                                      GivenDescriptor& sock,
                                      const ConnectAcceptedSocketOptions& options);
FIBER_API Server serve_protocols(LoopObject& loop, protocol_factory factory,
                                 const std::vector<std::string>& hosts, int port,
                                 const CreateServerOptions& options);
FIBER_API Server serve_protocols(LoopObject& loop, protocol_factory factory, GivenDescriptor& sock,
                                 const CreateServerOptions& options);
FIBER_API Server serve_unix_protocols(LoopObject& loop, protocol_factory factory,
                                      const std::string& path,
                                      const CreateUnixServerOptions& options);
FIBER_API Server serve_unix_protocols(LoopObject& loop, protocol_factory factory,
                                      GivenDescriptor& sock,
                                      const CreateUnixServerOptions& options);
FIBER_API Transport connect_pipe(LoopObject& loop, const protocol_factory& factory,
                                 GivenDescriptor& pipe, TransportObject::Kind kind);
FIBER_API void start_tls(const Transport& transport, std::shared_ptr<BaseProtocol> protocol,
                         const ssl_argument& sslcontext, const LoopStartTlsOptions& options);

}  // namespace detail

template <class F, class Options>
auto EventLoop::create_connection(F&& factory, std::string host, int port,
                                  const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory),
      [loop = *this, host = std::move(host), port, options](const detail::protocol_factory& make) {
        return detail::connect_protocol(loop.object(), make, host, port, options);
      });
}
template <class F, class Options>
auto EventLoop::create_connection(F&& factory, detail::GivenDescriptor sock,
                                  const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory), [loop = *this, sock = std::move(sock),
                                 options](const detail::protocol_factory& make) mutable {
        return detail::connect_protocol(loop.object(), make, sock, options);
      });
}
template <class F, class Options>
auto EventLoop::create_unix_connection(F&& factory, std::string path,
                                       const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory),
      [loop = *this, path = std::move(path), options](const detail::protocol_factory& make) {
        return detail::connect_unix_protocol(loop.object(), make, path, options);
      });
}
template <class F, class Options>
auto EventLoop::create_unix_connection(F&& factory, detail::GivenDescriptor sock,
                                       const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory), [loop = *this, sock = std::move(sock),
                                 options](const detail::protocol_factory& make) mutable {
        return detail::connect_unix_protocol(loop.object(), make, sock, options);
      });
}
template <class F, class Options>
auto EventLoop::connect_accepted_socket(F&& factory, detail::GivenDescriptor sock,
                                        const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory), [loop = *this, sock = std::move(sock),
                                 options](const detail::protocol_factory& make) mutable {
        return detail::accepted_protocol(loop.object(), make, sock, options);
      });
}
template <class F, detail::hosts Hosts, class Options>
auto EventLoop::create_server(F&& factory, Hosts hosts, int port, const Options& options) const {
  return detail::Deferred([loop = *this, make = detail::shared_factory(std::forward<F>(factory)),
                           list = detail::list_of_hosts(std::move(hosts)), port, options] {
    return detail::serve_protocols(loop.object(), make, list, port, options);
  });
}
template <class F, class Options>
auto EventLoop::create_server(F&& factory, detail::GivenDescriptor sock,
                              const Options& options) const {
  return detail::Deferred([loop = *this, make = detail::shared_factory(std::forward<F>(factory)),
                           sock = std::move(sock), options]() mutable {
    return detail::serve_protocols(loop.object(), make, sock, options);
  });
}
template <class F, class Options>
auto EventLoop::create_unix_server(F&& factory, std::string path, const Options& options) const {
  return detail::Deferred([loop = *this, make = detail::shared_factory(std::forward<F>(factory)),
                           path = std::move(path), options] {
    return detail::serve_unix_protocols(loop.object(), make, path, options);
  });
}
template <class F, class Options>
auto EventLoop::create_unix_server(F&& factory, detail::GivenDescriptor sock,
                                   const Options& options) const {
  return detail::Deferred([loop = *this, make = detail::shared_factory(std::forward<F>(factory)),
                           sock = std::move(sock), options]() mutable {
    return detail::serve_unix_protocols(loop.object(), make, sock, options);
  });
}
template <class F>
auto EventLoop::connect_read_pipe(F&& factory, detail::GivenDescriptor pipe) const {
  return detail::with_protocol(
      std::forward<F>(factory),
      [loop = *this, pipe = std::move(pipe)](const detail::protocol_factory& make) mutable {
        return ReadTransport(detail::connect_pipe(loop.object(), make, pipe,
                                                  detail::TransportObject::Kind::read_pipe));
      });
}
template <class F>
auto EventLoop::connect_write_pipe(F&& factory, detail::GivenDescriptor pipe) const {
  return detail::with_protocol(
      std::forward<F>(factory),
      [loop = *this, pipe = std::move(pipe)](const detail::protocol_factory& make) mutable {
        return WriteTransport(detail::connect_pipe(loop.object(), make, pipe,
                                                   detail::TransportObject::Kind::write_pipe));
      });
}
template <class P, class Context, class Options>
auto EventLoop::start_tls(const Transport& transport, std::shared_ptr<P> protocol,
                          Context sslcontext, const Options& options) const {
  return detail::Deferred([transport, protocol = std::move(protocol),
                           context = ssl_argument(std::move(sslcontext)), options] {
    detail::start_tls(transport, protocol, context, options);
    return transport;
  });
}

}  // namespace fiber::asyncio
