#include <fiber/asyncio/server.hpp>

#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/platform/socket.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace fiber::asyncio {

std::vector<Socket> Server::sockets() const {
  std::vector<Socket> list;
  for (const detail::ListeningSocket& socket : object().sockets())
    list.emplace_back(socket.fd.get(), socket.address);
  return list;
}

void Server::refuse_null() {
  throw ValueError("this Server refers to nothing; get one from asyncio::start_server()");
}

std::string repr(const Server& server) {
  std::string text = "<Server sockets=(";
  const char* comma = "";
  for (const Socket& socket : server.sockets()) {
    text += std::exchange(comma, ", ") + repr(socket.getsockname());
  }
  return text + ")>";
}

namespace detail {
namespace {

void remove_if_ours(const ListeningSocket& socket) noexcept {
  if (socket.inode == 0) return;
  // A string would need memory.
  constexpr std::size_t kHead = offsetof(sockaddr_un, sun_path);
  char path[sizeof(sockaddr_un::sun_path) + 1] = {};
  const std::size_t size = socket.address.size();
  if (size <= kHead) return;
  std::memcpy(path, reinterpret_cast<const char*>(socket.address.data()) + kHead,
              std::min(size - kHead, sizeof path - 1));
  struct stat found {};
  if (::stat(path, &found) == 0 && found.st_ino == socket.inode) ::unlink(path);
}

}  // namespace

ServerObject::ServerObject(LoopObject& loop, std::vector<ListeningSocket> sockets,
                           connection_made made, int backlog, std::size_t limit)
    : HandledObject(loop),
      sockets_(std::move(sockets)),
      made_(std::move(made)),
      backlog_(backlog),
      limit_(limit) {}

ServerObject::ServerObject(LoopObject& loop, std::vector<ListeningSocket> sockets,
                           std::function<std::shared_ptr<BaseProtocol>()> factory, int backlog)
    : HandledObject(loop),
      sockets_(std::move(sockets)),
      factory_(std::move(factory)),
      backlog_(backlog) {}

ServerObject::~ServerObject() {
  for (const ListeningSocket& socket : sockets_) remove_if_ours(socket);
}

// --- listening ----------------------------------------------------------------------------------

void ServerObject::start_serving() {
  if (serving_ || closed_) return;
  for (const ListeningSocket& socket : sockets_) loop_.selector().refuse_watched(socket.fd.get());
  serving_ = true;
  for (const ListeningSocket& socket : sockets_) {
    if (::listen(socket.fd.get(), backlog_) != 0) raise_os_error(errno, "listen");
    listen({.fd = socket.fd.get(), .plain_tcp = platform::is_plain_tcp(socket.fd.get())});
  }
}

void ServerObject::listen(Listener listener) {
  EventLoop(&loop_).add_reader(listener.fd, [self = core::Ref<ServerObject>(this), listener] {
    self->accept_ready(listener);
  });
}

// Accepts connections. One call per iteration: takes those that have come meanwhile, but no more
// than the backlog.
void ServerObject::accept_ready(Listener listener) {
  for (long left = std::max(backlog_, 0); left >= 0; --left) {
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    UniqueFd connection(::accept4(listener.fd, reinterpret_cast<sockaddr*>(&raw), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection.get() < 0) {
      switch (errno) {
        case EAGAIN:
        case EINTR:
        case ECONNABORTED: return;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM: break;
        default: raise_os_error(errno, "accept");
      }
      loop_.errors().report_failure("socket.accept() out of system resource",
                                    {.exception = os_error(errno), .socket = listener.fd});
      // The descriptor stays ready, so it is not watched for a while, provided that a timer can be
      // set to watch it again.
      constexpr std::chrono::seconds kRetryDelay{1};
      const EventLoop loop(&loop_);
      loop.call_later(kRetryDelay, [self = core::Ref<ServerObject>(this), listener] {
        if (self->serving_) self->listen(listener);
      });
      loop.remove_reader(listener.fd);
      return;
    }
    static_cast<void>(EventLoop(&loop_).create_task(
        [self = core::Ref<ServerObject>(this), connection = std::move(connection),
         peer = SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), size),
         plain_tcp = listener.plain_tcp]() mutable {
          self->connected(std::move(connection), peer, plain_tcp);
        }));
  }
}

// Serves a connection in a task, as in CPython: the task's end comes after the first step of the
// user's callback.
void ServerObject::connected(UniqueFd fd, const SocketAddress& peer, bool plain_tcp) {
  if (closed_) return;
  try {
    const core::Ref<TransportObject> transport = transport_for(peer);
    transport->sockname = SocketAddress::of_socket(fd.get());
    if (ssl_) transport->put_layer(ssl_.maker(false).make_layer(layer_arguments_), false);
    transport->open(std::move(fd), plain_tcp);
    attach(*transport);
    try {
      begin(*transport);
      transport->wait_begun();
    } catch (...) {
      transport->close();
      throw;
    }
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (const GreenletExit&) {
    throw;
  } catch (...) {
    if (!loop_.debug()) return;
    loop_.errors().report_failure("Error on transport creation for incoming connection",
                                  {.exception = std::current_exception()});
  }
}

core::Ref<TransportObject> ServerObject::transport_for(const SocketAddress& peer) {
  std::shared_ptr<BaseProtocol> protocol;
  core::Ref<ReaderObject> reader;
  if (factory_)
    protocol = factory_();
  else
    reader = core::Ref<ReaderObject>(new ReaderObject(loop_, limit_));
  core::Ref<TransportObject> transport(
      new TransportObject(loop_, TransportObject::Kind::socket, reader.get()));
  transport->peername = peer;
  if (factory_) transport->speak_to(std::move(protocol));
  return transport;
}

void ServerObject::begin(TransportObject& client) {
  if (ssl_ || factory_) {
    client.begin_soon();  // made() follows once the handshake is done
    return;
  }
  EventLoop(&loop_).call_soon(
      [self = core::Ref<ServerObject>(this), client = core::Ref<TransportObject>(&client)] {
        try {
          self->made(*client);
        } catch (...) {  // the connection is not served
          client->begin();
          client->close();
          throw;
        }
        client->begin();
      });
}

void ServerObject::serve_forever() {
  if (forever_ != nullptr)
    throw RuntimeError("server " + repr(Server(this)) +
                       " is already being awaited on serve_forever()");
  if (closed_) throw RuntimeError("server " + repr(Server(this)) + " is closed");
  start_serving();
  Waiter forever(loop_);
  forever_ = &forever;
  struct Leave {
    ServerObject* server;
    Waiter* waiter;
    ~Leave() {
      if (server->forever_ == waiter) server->forever_ = nullptr;
    }
  } leave{this, &forever};
  try {
    forever.wait();
  } catch (const CancelledError&) {
    close();
    try {
      wait_closed();
    } catch (const fiber::detail::forced_unwind&) {
      throw;
    } catch (const GreenletExit&) {
      throw;
    } catch (...) {
      // The caller sees the cancellation, and not this error.
    }
    throw;
  }
}

// --- the end ------------------------------------------------------------------------------------

void ServerObject::close() {
  if (std::exchange(closed_, true)) return;
  serving_ = false;
  const core::Ref<ServerObject> self(this);
  const std::vector<ListeningSocket> sockets = std::exchange(sockets_, {});
  for (const ListeningSocket& socket : sockets) {
    loop_.selector().remove(socket.fd.get(), Selector::For::reading);
    remove_if_ours(socket);
  }
  if (Waiter* forever = std::exchange(forever_, nullptr))
    if (!forever->done()) forever->cancel({});
  if (clients_.empty()) wake();
}

void ServerObject::give_back() noexcept {
  closed_ = true;
  serving_ = false;
  static_cast<void>(sockets_.front().fd.release());
  sockets_.clear();
}

void ServerObject::close_clients(bool abort) {
  for (TransportObject& client : clients_) {
    if (abort)
      client.abort();
    else
      client.close();
  }
}

void ServerObject::wake() {
  woken_ = true;
  close_waiters_.wake_all();
}

void ServerObject::wait_closed() {
  if (woken_) return;
  Waiter waiter(loop_, close_waiters_);
  waiter.wait();
}

void ServerObject::attach(TransportObject& client) noexcept {
  retain();
  client.server = this;
  clients_.prepend(client);
}

void ServerObject::detach(TransportObject& client) noexcept {
  clients_.remove(client);
  client.server = nullptr;
  if (clients_.empty() && closed_) wake();
  release();
}

}  // namespace detail
}  // namespace fiber::asyncio
