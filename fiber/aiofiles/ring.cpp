#include <fiber/aiofiles/ring.hpp>

#include <cerrno>

#if defined(FIBER_AIOFILES_IO_URING)
#include <fiber/asyncio/events.hpp>
#include <fiber/core/own_fd.hpp>
#include <fiber/core/undying.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#endif

namespace fiber::aiofiles::detail {

#if defined(FIBER_AIOFILES_IO_URING)
namespace {

using asyncio::EventLoop;

constexpr unsigned kEntries = 64;  // requests that are handed to the kernel in one call
constexpr long kRestart = -512;    // ERESTARTSYS, the kernel's internal EINTR, from io_uring

std::atomic<int> forks{0};
std::once_flag watching_forks;

// Returns the offset as the kernel takes it: -1 stands for the position of the open file.
std::uint64_t offset_of(const Request& request) noexcept {
  return static_cast<std::uint64_t>(request.offset);
}

// The kernel takes no more in one call.
unsigned at_once(std::size_t size) noexcept {
  return static_cast<unsigned>(std::min(size, std::size_t{1} << 30U));
}

io_uring_op opcode_of(const Request& request) noexcept {
  switch (request.operation) {
    case Operation::open: return IORING_OP_OPENAT;
    case Operation::close: return IORING_OP_CLOSE;
    case Operation::read: return IORING_OP_READ;
    case Operation::write: return IORING_OP_WRITE;
    case Operation::sync: return IORING_OP_FSYNC;
    case Operation::stat: return IORING_OP_STATX;
    case Operation::unlink: return IORING_OP_UNLINKAT;
    case Operation::rename: return IORING_OP_RENAMEAT;
    case Operation::mkdir: return IORING_OP_MKDIRAT;
    case Operation::truncate: break;  // liburing 2.3 has none
  }
  return IORING_OP_LAST;
}

// Where the kernel writes the status of a file.
struct statx& kernels_status(Request& request) noexcept {
  static_assert(sizeof(struct statx) <= sizeof request.kernels_status);
  return *reinterpret_cast<struct statx*>(request.kernels_status);
}

void translate_status(Request& request) noexcept {
  const struct statx& found = kernels_status(request);
  struct ::stat& made = request.status;
  made.st_dev = makedev(found.stx_dev_major, found.stx_dev_minor);
  made.st_ino = found.stx_ino;
  made.st_mode = found.stx_mode;
  made.st_nlink = found.stx_nlink;
  made.st_uid = found.stx_uid;
  made.st_gid = found.stx_gid;
  made.st_rdev = makedev(found.stx_rdev_major, found.stx_rdev_minor);
  made.st_size = static_cast<off_t>(found.stx_size);
  made.st_blksize = static_cast<decltype(made.st_blksize)>(found.stx_blksize);
  made.st_blocks = static_cast<blkcnt_t>(found.stx_blocks);
  made.st_atim = {.tv_sec = found.stx_atime.tv_sec, .tv_nsec = found.stx_atime.tv_nsec};
  made.st_mtim = {.tv_sec = found.stx_mtime.tv_sec, .tv_nsec = found.stx_mtime.tv_nsec};
  made.st_ctim = {.tv_sec = found.stx_ctime.tv_sec, .tv_nsec = found.stx_ctime.tv_nsec};
}

void prepare(io_uring_sqe* entry, Request& request) noexcept {
  const int fd = request.descriptor();
  const char* path = request.path.c_str();
  switch (request.operation) {
    case Operation::open:
      io_uring_prep_openat(entry, AT_FDCWD, path, request.flags, request.mode);
      // Otherwise the kernel tries with O_NONBLOCK first, and a FIFO then opens without its reader.
      io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
      break;
    case Operation::close: io_uring_prep_close(entry, request.own.get()); break;
    case Operation::read:
      io_uring_prep_read(entry, fd, request.bytes(), at_once(request.size()), offset_of(request));
      break;
    case Operation::write:
      io_uring_prep_write(entry, fd, request.bytes() + request.progress,
                          at_once(request.size() - request.progress), offset_of(request));
      break;
    case Operation::sync:
      io_uring_prep_fsync(entry, fd, request.flags != 0 ? IORING_FSYNC_DATASYNC : 0);
      break;
    case Operation::stat:
      io_uring_prep_statx(entry, AT_FDCWD, path, request.flags, STATX_BASIC_STATS,
                          &kernels_status(request));
      break;
    case Operation::unlink: io_uring_prep_unlinkat(entry, AT_FDCWD, path, request.flags); break;
    case Operation::rename:
      io_uring_prep_renameat(entry, AT_FDCWD, path, AT_FDCWD, request.path2.c_str(), 0);
      break;
    case Operation::mkdir: io_uring_prep_mkdirat(entry, AT_FDCWD, path, request.mode); break;
    case Operation::truncate: break;
  }
}

class KernelRing final : public Ring {
 public:
  explicit KernelRing(LoopObject& loop) noexcept : loop_(loop) {}
  KernelRing(const KernelRing&) = delete;
  KernelRing& operator=(const KernelRing&) = delete;
  ~KernelRing() override;
  // Returns 0, or an errno.
  int set_up() noexcept;

  bool takes(const Request& request) const noexcept override {
    const io_uring_op code = opcode_of(request);
    return code != IORING_OP_LAST && io_uring_opcode_supported(probe_, code) != 0;
  }
  bool start(const RequestRef& request) noexcept override;
  void withdraw(Request& request) noexcept override;
  void finish(const Request& request) noexcept override;
  bool inherited() const noexcept override { return born_ != forks.load(); }

 private:
  io_uring_sqe* entry() noexcept;
  void submit(io_uring_sqe* place, Request& request) noexcept;
  void flush() noexcept;
  void reap() noexcept;
  void ended(Request& request, long value) noexcept;
  void watch() noexcept;
  void ring_rang();

  LoopObject& loop_;
  io_uring ring_{};
  io_uring_probe* probe_ = nullptr;
  core::OwnFd bell_;  // an eventfd, which the kernel makes readable after each completion
  const int born_ = forks.load();
  std::size_t under_way_ = 0;
  bool made_ = false;
  bool watched_ = false;
  bool reaping_ = false;
};

int KernelRing::set_up() noexcept {
  bell_ = core::OwnFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (bell_.get() < 0) return errno;
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP;
  if (const int error = io_uring_queue_init_params(kEntries, &ring_, &params)) return -error;
  made_ = true;
  platform::enter_own(ring_.ring_fd);
  // Older kernels lose completions for which there is no room, or cannot read at a file's position.
  constexpr unsigned kNeeded = IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
  if ((params.features & kNeeded) != kNeeded) return ENOSYS;
  if (const int error = io_uring_ring_dontfork(&ring_)) return -error;
  if (const int error = io_uring_register_eventfd(&ring_, bell_.get())) return -error;
  probe_ = io_uring_get_probe_ring(&ring_);
  return probe_ != nullptr ? 0 : ENOSYS;
}

KernelRing::~KernelRing() {
  // The loop is being closed, and its tasks have cancelled requests that might never end.
  while (under_way_ > 0) {
    const int error = io_uring_submit_and_wait(&ring_, 1);
    if (error < 0 && error != -EINTR && error != -EAGAIN && error != -EBUSY) break;
    reap();
  }
  if (probe_ != nullptr) io_uring_free_probe(probe_);
  if (!made_) return;
  platform::leave_own(ring_.ring_fd);
  io_uring_queue_exit(&ring_);
}

// Returns null if the kernel takes no request at present.
io_uring_sqe* KernelRing::entry() noexcept {
  io_uring_sqe* found = io_uring_get_sqe(&ring_);
  if (found != nullptr) return found;
  io_uring_submit(&ring_);
  return io_uring_get_sqe(&ring_);
}

void KernelRing::submit(io_uring_sqe* place, Request& request) noexcept {
  prepare(place, request);
  io_uring_sqe_set_data(place, &request);
  flush();
}

// The kernel may refuse for lack of memory, or of room for completions that were not taken yet.
// Both conditions pass, and no event tells when: so this tries again.
void KernelRing::flush() noexcept {
  while (io_uring_sq_ready(&ring_) > 0) {
    const int count = io_uring_submit(&ring_);
    if (count >= 0 || count == -EINTR) continue;
    if (count != -EBUSY)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    else if (reaping_)
      return;  // reap(), which is running, calls flush() at its end
    else
      reap();
  }
}

bool KernelRing::start(const RequestRef& request) noexcept {
  io_uring_sqe* place = entry();
  if (place == nullptr) return false;
  request->retain();
  ++under_way_;
  // For the loop, the request is a job of another thread.
  loop_.retain();
  loop_.outside_work.fetch_add(1);
  submit(place, *request);
  reap();
  if (!request->done && !watched_) watch();
  return true;
}

void KernelRing::withdraw(Request& request) noexcept {
  // A write goes on to its end: a file with a part of the bytes is no better.
  if (request.operation == Operation::write) return;
  request.withdrawn = true;
  io_uring_sqe* place = entry();
  if (place == nullptr) return;
  io_uring_prep_cancel(place, &request, 0);
  io_uring_sqe_set_data(place, nullptr);
  flush();
}

void KernelRing::finish(const Request& request) noexcept {
  while (!request.done) {
    const int error = io_uring_submit_and_wait(&ring_, 1);
    if (error < 0 && error != -EINTR && error != -EAGAIN && error != -EBUSY) break;
    reap();
  }
}

void KernelRing::reap() noexcept {
  reaping_ = true;
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(&ring_, &completion) == 0) {
    auto* request = static_cast<Request*>(io_uring_cqe_get_data(completion));
    long value = completion->res;
    if (value == kRestart) value = -EINTR;
    io_uring_cqe_seen(&ring_, completion);
    if (request == nullptr) continue;  // the completion of a cancel request
    if (request->operation == Operation::stat && value >= 0) translate_status(*request);
    if (value != -EAGAIN && !request->goes_on(value))
      ended(*request, value);
    else if (io_uring_sqe* place = entry())
      submit(place, *request);
    else
      ended(*request, perform(*request));
  }
  reaping_ = false;
  flush();
}

void KernelRing::ended(Request& request, long value) noexcept {
  const RequestRef held = RequestRef::adopt(&request);
  --under_way_;
  request.complete(request.settle(value));
  loop_.outside_work.fetch_sub(1);
  loop_.release();
}

void KernelRing::watch() noexcept {
  // Requests that ended at once have made the descriptor readable, too.
  std::uint64_t rings = 0;
  if (::read(bell_.get(), &rings, sizeof rings) > 0) reap();
  if (under_way_ == 0) return;
  try {
    EventLoop(&loop_).add_reader(bell_.get(), [this] { ring_rang(); });
    watched_ = true;
  } catch (const std::exception&) {
    // Without memory for the callback, the thread waits here.
    while (under_way_ > 0 && io_uring_submit_and_wait(&ring_, 1) >= 0) reap();
  }
}

void KernelRing::ring_rang() {
  std::uint64_t rings = 0;
  static_cast<void>(!::read(bell_.get(), &rings, sizeof rings));
  reap();
  if (under_way_ > 0) return;
  watched_ = false;
  EventLoop(&loop_).remove_reader(bell_.get());
}

}  // namespace

std::unique_ptr<Ring> Ring::open(LoopObject& loop, int& error) {
  std::call_once(watching_forks, [] { core::at_fork(nullptr, nullptr, [] { ++forks; }); });
  auto ring = std::make_unique<KernelRing>(loop);
  error = ring->set_up();
  if (error != 0) return nullptr;
  return ring;
}

#else

std::unique_ptr<Ring> Ring::open(LoopObject&, int& error) {
  error = ENOSYS;
  return nullptr;
}

#endif

}  // namespace fiber::aiofiles::detail
