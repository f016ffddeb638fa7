// The functions for sockets, beyond POSIX, that a platform may give.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>

#include <sys/types.h>

namespace fiber::platform {

// Sends bytes of a file from `offset` on, and moves it, without a copy in user space. Returns the
// number of bytes, or -1 with errno; ENOSYS: the platform lacks sendfile(). Other libraries call
// it, too.
FIBER_API ssize_t send_file(int socket, int file, off_t& offset, std::size_t size) noexcept;

// Returns whether a connected socket, or each connection of a listening one, is plain TCP: a read
// that returns less than there was room for has emptied it. False where the platform does not tell.
bool is_plain_tcp(int socket) noexcept;

}  // namespace fiber::platform
