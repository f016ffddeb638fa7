// Datagrams, with a protocol: loop.create_datagram_endpoint. Without one, see loop.sock_recvfrom.
#pragma once

#include <fiber/asyncio/connections.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::asyncio {

namespace detail {
class DatagramObject;
}

/// Sends datagrams; see BaseTransport. Python: asyncio.DatagramTransport.
class FIBER_API DatagramTransport : public BaseTransport {
 public:
  DatagramTransport() noexcept = default;
  /// Sends now if that is possible without waiting, else later. `to`: the receiver, for a transport
  /// made without `remote_addr`; throws ValueError if the transport has another address. Errors go
  /// to error_received().
  void sendto(std::string_view data, const SocketAddress& to = {}) const;
  /// Closes without sending the buffered datagrams.
  void abort() const;
  std::size_t get_write_buffer_size() const;  ///< bytes that wait to be sent
  /// Sets limits as for a WriteTransport; each datagram counts for its bytes and 8 more.
  void set_write_buffer_limits(std::optional<std::size_t> high = {},
                               std::optional<std::size_t> low = {}) const;
  /// The low and the high limit.
  std::pair<std::size_t, std::size_t> get_write_buffer_limits() const;

  explicit DatagramTransport(detail::DatagramObject& object) noexcept;
};

/// Keyword arguments of loop.create_datagram_endpoint. With an address: a host and a port, or the
/// path of a Unix socket (then `family` is AF_UNIX). Without any, `family` has to be given.
struct CreateDatagramEndpointOptions {
  std::optional<std::pair<std::string, int>> local_addr = {};  ///< local host and port
  /// The address to which it sends, and from which alone it receives; with allow_broadcast it only
  /// sends there.
  std::optional<std::pair<std::string, int>> remote_addr = {};
  std::optional<std::string> local_path = {};   ///< of the own Unix socket
  std::optional<std::string> remote_path = {};  ///< of the other Unix socket
  int family = 0;                               ///< AF_INET, AF_INET6, AF_UNIX; 0: of the address
  int proto = 0;                                ///< IPPROTO_ constant; 0: the usual one
  int flags = 0;                                ///< AI_ constants
  bool reuse_port = false;                      ///< SO_REUSEPORT
  bool allow_broadcast = false;                 ///< SO_BROADCAST
};

namespace detail {
FIBER_API DatagramTransport make_datagram_endpoint(LoopObject& loop,
                                                   const protocol_factory& factory,
                                                   const CreateDatagramEndpointOptions& options);
FIBER_API DatagramTransport make_datagram_endpoint(LoopObject& loop,
                                                   const protocol_factory& factory,
                                                   GivenDescriptor& sock,
                                                   const CreateDatagramEndpointOptions& options);
}  // namespace detail

template <class F, class Options>
  requires std::same_as<Options, CreateDatagramEndpointOptions>
auto EventLoop::create_datagram_endpoint(F&& factory, const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory), [loop = *this, options](const detail::protocol_factory& make) {
        return detail::make_datagram_endpoint(loop.object(), make, options);
      });
}
template <class F, class Options>
auto EventLoop::create_datagram_endpoint(F&& factory, detail::GivenDescriptor sock,
                                         const Options& options) const {
  return detail::with_protocol(
      std::forward<F>(factory), [loop = *this, sock = std::move(sock),
                                 options](const detail::protocol_factory& make) mutable {
        return detail::make_datagram_endpoint(loop.object(), make, sock, options);
      });
}

}  // namespace fiber::asyncio
