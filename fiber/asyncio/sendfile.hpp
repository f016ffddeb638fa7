// Files sent without a copy through this process: loop.sendfile and sock_sendfile.
#pragma once

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace fiber::asyncio {

/// The kernel cannot send this file through this transport. Python:
/// asyncio.SendfileNotAvailableError.
class FIBER_API SendfileNotAvailableError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~SendfileNotAvailableError() override;
};

/// Keyword arguments of loop.sendfile and sock_sendfile.
struct SendfileOptions {
  std::int64_t offset = 0;                 ///< start in the file, in bytes
  std::optional<std::int64_t> count = {};  ///< number of bytes; default: up to the file's end
  bool fallback = true;  ///< where the kernel cannot send, read and send by hand (TLS, for example)
};

namespace detail {
FIBER_API std::size_t sock_sendfile(LoopObject& loop, int sock, int file,
                                    const SendfileOptions& options);
FIBER_API std::size_t sendfile(const Transport& transport, int file,
                               const SendfileOptions& options);
}  // namespace detail

template <class Options>
auto EventLoop::sock_sendfile(FileDescriptorLike sock, FileDescriptorLike file,
                              const Options& options) const {
  return detail::Deferred([loop = *this, sock, file, options] {
    return detail::sock_sendfile(loop.object(), sock.fileno(), file.fileno(), options);
  });
}
template <class Options>
auto EventLoop::sendfile(const Transport& transport, FileDescriptorLike file,
                         const Options& options) const {
  return detail::Deferred(
      [transport, file, options] { return detail::sendfile(transport, file.fileno(), options); });
}

}  // namespace fiber::asyncio
