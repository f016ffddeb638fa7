// Calls on files, in the shared object of calls.hpp.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

namespace calls {

ssize_t pread(int fd, void* buffer, std::size_t size, off_t offset);
ssize_t preadv(int fd, const iovec* vectors, int count, off_t offset);
ssize_t preadv2(int fd, const iovec* vectors, int count, off_t offset, int flags);
ssize_t pread_chk(int fd, void* buffer, std::size_t size, off_t offset, std::size_t room);
ssize_t pwrite(int fd, const void* buffer, std::size_t size, off_t offset);
ssize_t pwritev(int fd, const iovec* vectors, int count, off_t offset);
ssize_t pwritev2(int fd, const iovec* vectors, int count, off_t offset, int flags);
int fsync(int fd);
int fdatasync(int fd);
int syncfs(int fd);
int msync(void* address, std::size_t size, int flags);
ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, std::size_t size);

}  // namespace calls
