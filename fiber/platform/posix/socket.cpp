#include <fiber/platform/socket.hpp>

#include <cerrno>

namespace fiber::platform {

ssize_t send_file(int /*socket*/, int /*file*/, off_t& /*offset*/, std::size_t /*size*/) noexcept {
  errno = ENOSYS;
  return -1;
}

bool is_plain_tcp(int /*socket*/) noexcept { return false; }

}  // namespace fiber::platform
