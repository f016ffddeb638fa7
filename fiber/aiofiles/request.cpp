#include <fiber/aiofiles/request.hpp>

#include <cerrno>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace fiber::aiofiles::detail {

bool Request::goes_on(long value) noexcept {
  if (value == -EINTR) return operation != Operation::close && !withdrawn;
  if (operation != Operation::write || value <= 0) return false;
  progress += static_cast<std::size_t>(value);
  if (offset != kAtPosition) offset += value;
  return progress < size();
}

long Request::settle(long value) noexcept {
  if (operation == Operation::open && value >= 0) own = UniqueFd(static_cast<int>(value));
  if (operation == Operation::close && value != -ECANCELED) static_cast<void>(own.release());
  if (operation == Operation::write && value >= 0) return static_cast<long>(progress);
  return value;
}

void Request::complete(long value) noexcept {
  done = true;
  result = value;
  job.reset();
  if (waiter != nullptr) waiter->wake();
  if (const auto told = std::move(listener)) told->ended(*this);
}

namespace {

long call(Request& request) noexcept {
  const int fd = request.descriptor();
  const char* path = request.path.c_str();
  switch (request.operation) {
    case Operation::open: return ::open(path, request.flags, request.mode);
    case Operation::close: return ::close(request.own.get());
    case Operation::read:
      if (request.offset == kAtPosition) return ::read(fd, request.bytes(), request.size());
      return ::pread(fd, request.bytes(), request.size(), request.offset);
    case Operation::write: {
      const char* rest = request.bytes() + request.progress;
      const std::size_t size = request.size() - request.progress;
      if (request.offset == kAtPosition) return ::write(fd, rest, size);
      return ::pwrite(fd, rest, size, request.offset);
    }
    case Operation::sync: return request.flags != 0 ? ::fdatasync(fd) : ::fsync(fd);
    case Operation::truncate: return ::ftruncate(fd, request.offset);
    case Operation::stat: return ::fstatat(AT_FDCWD, path, &request.status, request.flags);
    case Operation::unlink: return ::unlinkat(AT_FDCWD, path, request.flags);
    case Operation::rename: return ::rename(path, request.path2.c_str());
    case Operation::mkdir: return ::mkdir(path, request.mode);
  }
  return -1;
}

}  // namespace

long perform(Request& request) noexcept {
  long value = 0;
  do {
    value = call(request);
    if (value < 0) value = -errno;
  } while (request.goes_on(value));
  return request.settle(value);
}

}  // namespace fiber::aiofiles::detail
