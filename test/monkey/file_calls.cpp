#include "monkey/file_calls.hpp"

#include <sys/mman.h>
#include <unistd.h>

extern "C" ssize_t __pread_chk(int, void*, std::size_t, off_t, std::size_t);

namespace calls {

ssize_t pread(int fd, void* buffer, std::size_t size, off_t offset) {
  return ::pread(fd, buffer, size, offset);
}
ssize_t preadv(int fd, const iovec* vectors, int count, off_t offset) {
  return ::preadv(fd, vectors, count, offset);
}
ssize_t preadv2(int fd, const iovec* vectors, int count, off_t offset, int flags) {
  return ::preadv2(fd, vectors, count, offset, flags);
}
ssize_t pread_chk(int fd, void* buffer, std::size_t size, off_t offset, std::size_t room) {
  return ::__pread_chk(fd, buffer, size, offset, room);
}
ssize_t pwrite(int fd, const void* buffer, std::size_t size, off_t offset) {
  return ::pwrite(fd, buffer, size, offset);
}
ssize_t pwritev(int fd, const iovec* vectors, int count, off_t offset) {
  return ::pwritev(fd, vectors, count, offset);
}
ssize_t pwritev2(int fd, const iovec* vectors, int count, off_t offset, int flags) {
  return ::pwritev2(fd, vectors, count, offset, flags);
}
int fsync(int fd) { return ::fsync(fd); }
int fdatasync(int fd) { return ::fdatasync(fd); }
int syncfs(int fd) { return ::syncfs(fd); }
int msync(void* address, std::size_t size, int flags) { return ::msync(address, size, flags); }
ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, std::size_t size) {
  return ::copy_file_range(from, from_offset, to, to_offset, size, 0);
}

}  // namespace calls
