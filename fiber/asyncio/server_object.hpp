// The object behind the Server handles.
#pragma once

#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/core/list.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <vector>

#include <sys/types.h>

namespace fiber::asyncio::detail {

/// Called with a new connection, on the loop, before anything is read from it.
using connection_made = std::function<void(TransportObject&, ReaderObject&)>;

struct ListeningSocket {
  UniqueFd fd;
  SocketAddress address;
  ino_t inode = 0;  ///< of a Unix socket that is to be removed with the server; 0: none
};

/// A server. While it serves, the loop holds references, one per socket. Belongs to one loop and
/// its thread.
class FIBER_API ServerObject : public HandledObject<ServerObject> {
 public:
  ServerObject(LoopObject& loop, std::vector<ListeningSocket> sockets, connection_made made,
               int backlog, std::size_t limit);
  /// Makes a server whose connections speak to protocols that the factory makes.
  ServerObject(LoopObject& loop, std::vector<ListeningSocket> sockets,
               std::function<std::shared_ptr<BaseProtocol>()> factory, int backlog);

  /// Makes connections go through a layer; they are served once its handshake is done.
  void secure(const ssl_argument& ssl, const LayerArguments& arguments) {
    ssl_ = ssl;
    layer_arguments_ = arguments;
  }
  void start_serving();
  /// Takes the descriptor of a server that was made with a single socket and without it.
  void take_over(int fd) noexcept { sockets_.front().fd = UniqueFd(fd); }
  void give_back() noexcept;  ///< leaves it open, for a caller whose socket could not be served
  void serve_forever();
  void close();
  void wait_closed();
  void close_clients(bool abort);
  bool is_serving() const noexcept { return serving_; }
  const std::vector<ListeningSocket>& sockets() const noexcept { return sockets_; }

  void made(TransportObject& client) { made_(client, *client.reader()); }
  void attach(TransportObject& client) noexcept;
  void detach(TransportObject& client) noexcept;

 private:
  // A connection is of the kind of its listening socket, so the kernel need not be asked for each
  // connection.
  struct Listener {
    int fd;
    bool plain_tcp;
  };

  friend core::Counted<ServerObject>;
  friend HandledObject<ServerObject>;
  ~ServerObject();
  void listen(Listener listener);
  void accept_ready(Listener listener);
  void connected(UniqueFd fd, const SocketAddress& peer, bool plain_tcp);
  core::Ref<TransportObject> transport_for(const SocketAddress& peer);
  void begin(TransportObject& client);
  void wake();

  std::vector<ListeningSocket> sockets_;
  connection_made made_;
  std::function<std::shared_ptr<BaseProtocol>()> factory_;
  ssl_argument ssl_;
  LayerArguments layer_arguments_;
  int backlog_;
  std::size_t limit_ = 0;
  bool serving_ = false;
  bool closed_ = false;
  bool woken_ = false;  ///< closed, and every connection lost
  struct AmongClients {
    static core::Links<TransportObject>& of(TransportObject& client) noexcept {
      return client.among_clients;
    }
  };
  core::List<TransportObject, AmongClients> clients_;  ///< newest first
  WaiterList close_waiters_;
  Waiter* forever_ = nullptr;
};

}  // namespace fiber::asyncio::detail
