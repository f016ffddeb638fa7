#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/server.hpp>

#include <algorithm>
#include <cerrno>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::asyncio::detail {
namespace {

// Returns a listening socket; nullopt if this machine does not have the address's family.
std::optional<ListeningSocket> listening_socket(const AddressInfo& info,
                                                const ListenArguments& arguments) {
  UniqueFd fd(::socket(info.family, info.type | SOCK_NONBLOCK | SOCK_CLOEXEC, info.proto));
  if (fd.get() < 0) {
    if (errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT) return std::nullopt;
    raise_os_error(errno, "error while making a socket for address " + repr(info.address));
  }
  if (arguments.reuse_address) set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
  if (arguments.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT");
  if (arguments.keep_alive) set_option(fd.get(), SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE");
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

// Returns the inode of a Unix socket's file that is to be removed with the server, else 0.
ino_t file_to_remove(const SocketAddress& address, bool remove) {
  const std::string path = address.path();
  struct stat found {};
  if (!remove || path.empty() || path.starts_with('\0') || ::stat(path.c_str(), &found) != 0)
    return 0;
  return found.st_ino;
}

}  // namespace

std::vector<ListeningSocket> listening_sockets(LoopObject& loop,
                                               const std::vector<std::string>& hosts, int port,
                                               const ListenArguments& arguments) {
  static_cast<void>(running_loop());  // throws here, not when there are lookups to be awaited
  const GetaddrinfoOptions hints{
      .family = arguments.family, .type = SOCK_STREAM, .flags = arguments.flags};
  const auto lookup_of = [&](const std::string& host) {
    return [&loop, host, port, hints] { return resolve(loop, host, port, hints); };
  };
  std::vector<decltype(lookup_of(hosts.front()))> lookups;
  lookups.reserve(hosts.size());
  for (const std::string& host : hosts) lookups.push_back(lookup_of(host));
  std::vector<AddressInfo> infos;
  for (const std::vector<AddressInfo>& found : asyncio::await(asyncio::gather(lookups)))
    for (const AddressInfo& info : found)
      if (std::none_of(infos.begin(), infos.end(),
                       [&](const AddressInfo& other) { return other.address == info.address; }))
        infos.push_back(info);
  std::vector<ListeningSocket> sockets;
  for (const AddressInfo& info : infos)
    if (auto socket = listening_socket(info, arguments)) sockets.push_back(std::move(*socket));
  if (!sockets.empty()) return sockets;
  std::string text = "could not bind on any address out of [";
  const char* comma = "";
  for (const AddressInfo& info : infos) text += std::exchange(comma, ", ") + repr(info.address);
  throw OSError(text + "]");
}

ListeningSocket listening_socket_of(int fd) {
  check_stream_socket(fd);
  return {.fd = UniqueFd(), .address = SocketAddress::of_socket(fd)};
}

ListeningSocket unix_listening_socket_of(int fd, bool cleanup) {
  check_unix_stream_socket(fd);
  ListeningSocket socket = listening_socket_of(fd);
  socket.inode = file_to_remove(socket.address, cleanup);
  return socket;
}

std::vector<ListeningSocket> unix_listening_sockets(const std::string& path, bool cleanup) {
  const SocketAddress address = SocketAddress::from_path(path);
  const bool named = !path.starts_with('\0');
  struct stat found {};
  if (named && ::stat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  ListeningSocket socket{.fd = make_socket(AF_UNIX, SOCK_STREAM, 0), .address = address};
  if (::bind(socket.fd.get(), address.data(), address.size()) != 0)
    raise_os_error(errno, "'" + path + "'");
  socket.address = SocketAddress::of_socket(socket.fd.get());  // a name that the system chose, too
  socket.inode = file_to_remove(address, cleanup);
  std::vector<ListeningSocket> sockets;
  sockets.push_back(std::move(socket));
  return sockets;
}

// Starts a server. If that throws, the server is closed: without a handle it would serve for ever.
Server start(core::Ref<ServerObject> object, bool start_serving) {
  Server server(object.get());
  if (!start_serving) return server;
  try {
    asyncio::await(server.start_serving());
  } catch (...) {
    server.close();
    throw;
  }
  return server;
}

Server start_given(core::Ref<ServerObject> object, GivenDescriptor& sock, bool start_serving) {
  object->loop().selector().refuse_watched(sock.get());
  set_nonblocking(sock.get());
  set_nodelay(sock.get(), object->sockets().front().address.family());
  Server server(object.get());
  const int fd = sock.take().release();
  object->take_over(fd);
  if (!start_serving) return server;
  try {
    object->start_serving();
  } catch (...) {
    object->give_back();
    sock.put_back(UniqueFd(fd));
    throw;
  }
  return start(object, true);
}

}  // namespace fiber::asyncio::detail
