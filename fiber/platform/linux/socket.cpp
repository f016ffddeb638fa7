#include <fiber/platform/socket.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

namespace fiber::platform {

ssize_t send_file(int socket, int file, off_t& offset, std::size_t size) noexcept {
  return ::sendfile(socket, file, &offset, size);
}

bool is_plain_tcp(int socket) noexcept {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  if (::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 ||
      protocol != IPPROTO_TCP)
    return false;
  char layer[16] = "";
  size = sizeof layer;
  return ::getsockopt(socket, IPPROTO_TCP, TCP_ULP, layer, &size) == 0 && size == 0;
}

}  // namespace fiber::platform
