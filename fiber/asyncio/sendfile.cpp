#include <fiber/asyncio/sendfile.hpp>

#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/descriptor_wait.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>
#include <fiber/platform/socket.hpp>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::asyncio {

SendfileNotAvailableError::~SendfileNotAvailableError() = default;

namespace detail {
namespace {

void check_options(const SendfileOptions& options) {
  if (options.count && *options.count <= 0)
    throw ValueError("count must be a positive integer (got " + std::to_string(*options.count) +
                     ")");
  if (options.offset < 0)
    throw ValueError("offset must be a non-negative integer (got " +
                     std::to_string(options.offset) + ")");
}

// Suspends until the descriptor, which may be a transport's, is writable.
void wait_writable(LoopObject& loop, int fd) {
  Waiter waiter(loop);
  DescriptorWait wait{.fd = fd, .events = platform::Events::out, .waiter = &waiter};
  if (const int error = loop.selector().wait(wait)) raise_os_error(error);
  struct Leave {
    LoopObject& loop;
    DescriptorWait& wait;
    ~Leave() { loop.selector().leave(wait); }
  } leave{loop, wait};
  waiter.wait();
  if (wait.error != 0) raise_os_error(wait.error);
}

// Sets the file's position behind the sent bytes, however the sending ends.
struct Progress {
  int file;
  std::int64_t offset;
  std::optional<std::int64_t> count;
  std::size_t sent = 0;

  ~Progress() {
    if (sent > 0) ::lseek(file, offset, SEEK_SET);
  }
  // Returns the number of the file's bytes for a block of at most `most`.
  std::size_t block(std::size_t most) const noexcept {
    return count ? std::min<std::size_t>(most, static_cast<std::size_t>(*count) - sent) : most;
  }
  void add(std::size_t bytes) noexcept {
    sent += bytes;
    offset += static_cast<std::int64_t>(bytes);
  }
};

std::size_t send_natively(LoopObject& loop, int sock, int file, const SendfileOptions& options) {
  struct stat found {};
  if (::fstat(file, &found) != 0) throw SendfileNotAvailableError("not a regular file");
  if (!options.count && found.st_size == 0) return 0;
  constexpr std::size_t kMost = 1 << 30;
  Progress progress{.file = file, .offset = options.offset, .count = options.count};
  while (const std::size_t block = progress.block(kMost)) {
    off_t offset = progress.offset;
    std::ptrdiff_t count = 0;
    {
      const WithoutSigpipe guard;
      count = platform::send_file(sock, file, offset, block);
    }
    if (count > 0) {
      progress.add(static_cast<std::size_t>(count));
      // As CPython, one call per iteration: a peer that always has room must not stop the loop.
      if (progress.block(kMost) != 0) wait_writable(loop, sock);
    } else if (count == 0) {
      break;
    } else if (would_block(errno)) {
      wait_writable(loop, sock);
    } else if (errno != EINTR) {
      if (progress.sent == 0) throw SendfileNotAvailableError("os.sendfile call failed");
      if (errno == ENOTCONN) throw ConnectionError(ENOTCONN, "socket is not connected");
      raise_os_error(errno);
    }
  }
  return progress.sent;
}

// Reads the file on a thread, since a task cannot wait for disks, and sends it.
std::size_t send_by_hand(LoopObject& loop, int file, const SendfileOptions& options,
                         std::size_t block_size,
                         const std::function<void(std::string_view)>& send) {
  Progress progress{.file = file, .offset = options.offset, .count = options.count};
  while (const std::size_t block = progress.block(block_size)) {
    const std::string data = asyncio::await(
        EventLoop(&loop).run_in_executor(nullptr, [file, block, offset = progress.offset] {
          std::string read(block, '\0');
          std::ptrdiff_t count = ::pread(file, read.data(), block, offset);
          if (count < 0 && errno == ESPIPE) count = ::read(file, read.data(), block);
          if (count < 0) raise_os_error(errno);
          read.resize(static_cast<std::size_t>(count));
          return read;
        }));
    if (data.empty()) break;
    send(data);
    progress.add(data.size());
  }
  return progress.sent;
}

}  // namespace

std::size_t sock_sendfile(LoopObject& loop, int sock, int file, const SendfileOptions& options) {
  if (loop.debug() && (::fcntl(sock, F_GETFL) & O_NONBLOCK) == 0)
    throw ValueError("the socket must be non-blocking");
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &size) != 0) raise_os_error(errno);
  if (type != SOCK_STREAM) throw ValueError("only SOCK_STREAM type sockets are supported");
  check_options(options);
  loop.selector().refuse_watched(sock);
  try {
    return send_natively(loop, sock, file, options);
  } catch (const SendfileNotAvailableError&) {
    if (!options.fallback) throw;
  }
  constexpr std::size_t kBlock = 256 * 1024;
  return send_by_hand(loop, file, options, kBlock,
                      [&](std::string_view data) { sock_sendall(loop, sock, data); });
}

namespace {

// Pauses receiving while a file is sent, as in CPython.
class Paused {
 public:
  explicit Paused(TransportObject& transport)
      : transport_(&transport), was_reading_(transport.is_reading()) {
    transport.pause_by_user();
  }
  ~Paused() {
    transport_->lent_to_sendfile = false;
    if (was_reading_) transport_->resume_by_user();
  }
  Paused(const Paused&) = delete;
  Paused& operator=(const Paused&) = delete;

 private:
  TransportRef transport_;
  bool was_reading_;
};

}  // namespace

std::size_t sendfile(const Transport& transport, int file, const SendfileOptions& options) {
  TransportObject* object = transport.object().stream();
  if (transport.is_closing()) throw RuntimeError("Transport is closing");
  if (object == nullptr || !object->is_socket())
    throw RuntimeError("sendfile is not supported for this transport");
  check_options(options);
  if (object->lent_to_sendfile) throw RuntimeError("sendfile is in progress already");
  LoopObject& loop = object->loop();
  const Paused paused(*object);
  if (object->layer() == nullptr) {
    object->lent_to_sendfile = true;
    object->wait_sent();
    try {
      return send_natively(loop, object->fileno(), file, options);
    } catch (const SendfileNotAvailableError&) {
      if (!options.fallback) throw;
      object->lent_to_sendfile = false;
    } catch (const OSError&) {
      if (object->fileno() >= 0) throw;
      throw ConnectionError("Connection is closed by peer");  // the descriptor is gone, too
    }
  } else if (!options.fallback) {
    throw RuntimeError("fallback is disabled and native sendfile is not supported over TLS");
  }
  constexpr std::size_t kBlock = 16 * 1024;
  // A transport that is closing drops what is written, without an error.
  const auto check_open = [object] {
    if (object->is_closing()) throw ConnectionError("Connection closed by peer");
  };
  return send_by_hand(loop, file, options, kBlock, [&](std::string_view data) {
    check_open();
    object->drain();
    check_open();
    object->write(data);
  });
}

}  // namespace detail
}  // namespace fiber::asyncio
