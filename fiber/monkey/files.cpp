#include <fiber/monkey/files.hpp>

#include <fiber/asyncio/file_calls.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/interruptions.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <atomic>
#include <climits>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

using asyncio::detail::FileCall;
using asyncio::detail::Waiter;

// A call on a file, which waits to its end. Converts to false if the call must be libc's: also for
// a task that ends with its loop, and for the only task of a program, whose signals come any time.
class FileTask {
 public:
  explicit operator bool() const noexcept {
    return call_ && !call_.task().abandoned() && !is_interrupted_by_signals(call_.task());
  }
  const Call& call() const noexcept { return call_; }

 private:
  const PolicyOfCall policy_{Cancel::never};
  const Call call_;
};

// --- calls on threads and by io_uring -----------------------------------------------------------

// Shared by the task and the thread.
struct Progress {
  enum class State : int { pending, done, dropped };

  std::atomic<State> state{State::pending};
  Waiter* waiter = nullptr;  // of the loop's thread
};

// Runs `function`, which belongs to the task, on another thread, and tells the task of the end.
template <class F>
class Job {
 public:
  Job(F& function, std::shared_ptr<Progress> progress, asyncio::detail::ExternalOwner told) noexcept
      : function_(&function), progress_(std::move(progress)), told_(std::move(told)) {}
  Job(Job&&) noexcept = default;
  Job& operator=(Job&&) = delete;
  ~Job() {
    if (progress_ != nullptr) end(Progress::State::dropped);
  }
  void operator()() {
    (*function_)();
    end(Progress::State::done);
  }

 private:
  void end(Progress::State state) noexcept {
    const std::shared_ptr<Progress> progress = std::move(progress_);
    progress->state = state;
    progress->state.notify_all();
    told_.release()->post();
  }

  F* function_;
  std::shared_ptr<Progress> progress_;
  asyncio::detail::ExternalOwner told_;
};

// Runs `function` on a thread of the executor while the task waits. Returns false if no thread has
// taken it.
template <class F>
bool run_on_thread(const Call& call, F& function) noexcept {
  asyncio::detail::LoopObject* loop = call.task().loop();
  std::shared_ptr<Progress> progress;
  try {
    progress = std::make_shared<Progress>();
    auto told = asyncio::detail::new_external(loop, [progress] {
      if (progress->waiter != nullptr) progress->waiter->wake();
    });
    const auto job = asyncio::detail::default_executor(*loop).submit(
        Job<F>(function, progress, std::move(told)));
    // At least once: other tasks run, however quick the thread is.
    do {
      if (call.wait_undisturbed(&progress->waiter) != Wake::failed) continue;
      // The task cannot wait: `function` must not be used when it goes on.
      if (job.cancel()) return false;
      progress->state.wait(Progress::State::pending);
    } while (progress->state == Progress::State::pending);
  } catch (...) {
    // The executor was shut down, or there is no memory. Nothing was begun.
    return false;
  }
  return progress->state == Progress::State::done;
}

// Calls `function` on a thread; returns its result and sets errno.
template <class F>
auto on_thread(const Call& call, F function) noexcept {
  decltype(function()) result{};
  int error = 0;
  auto job = [&] {
    result = function();
    error = errno;
  };
  if (!run_on_thread(call, job)) return function();
  if (result >= 0) return call.done(result);
  errno = error;
  return result;
}

// Returns the result, or -errno; nothing if there is no ring, or it does not take the call.
std::optional<long> by_ring(const Call& call, const FileCall& asked) noexcept {
  const auto begin = asyncio::detail::file_calls();
  if (begin == nullptr) return std::nullopt;
  try {
    const auto under_way = begin(*call.task().loop(), asked);
    if (under_way == nullptr) return std::nullopt;
    while (!under_way->done())
      if (call.wait_undisturbed(under_way->waiter()) == Wake::failed) under_way->finish();
    return under_way->result();
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

// --- reading ------------------------------------------------------------------------------------

// Whether reading may wait for a network or a program, although the kernel cannot try.
bool waits_without_a_try(int fd) noexcept {
  constexpr unsigned kKinds[] = {
      0x01021997,  // 9p
      0x0000517b,  // SMB
      0x00006969,  // NFS
      0x00c36400,  // Ceph
      0x5346414f,  // AFS
      0x65735546,  // FUSE
      0xfe534d42,  // SMB 2
      0xff534d42,  // CIFS
  };
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 &&
         std::find(std::begin(kKinds), std::end(kKinds), static_cast<unsigned>(status.f_type)) !=
             std::end(kKinds);
}

bool is_blocking_read_needed(int fd) noexcept {
  return errno == EAGAIN || (errno == EOPNOTSUPP && waits_without_a_try(fd));
}

// Reads from the disk while the task waits.
ssize_t read_slowly(const Call& call, int fd, Buffers& rest, off64_t offset) noexcept {
  static_cast<void>(rest.empty());  // buffers without room are left out
  const iovec* vectors = rest.data();
  const auto count = static_cast<int>(rest.count());
  if (offset == kPosition) return on_thread(call, [=] { return real().readv(fd, vectors, count); });
  const FileCall asked{.kind = FileCall::Kind::read,
                       .fd = fd,
                       .bytes = vectors->iov_base,
                       .size = vectors->iov_len,
                       .offset = offset};
  if (const std::optional<long> got = by_ring(call, asked)) {
    if (*got >= 0) return *got;
    errno = static_cast<int>(-*got);
    return -1;
  }
  return on_thread(call, [=] { return real().preadv(fd, vectors, count, offset); });
}

ssize_t read_plainly(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  if (offset == kPosition) return real().readv(fd, vectors, count);
  return real().preadv(fd, vectors, count, offset);
}

}  // namespace

bool is_on_disk(mode_t mode) noexcept { return S_ISREG(mode) || S_ISBLK(mode); }

ssize_t read_file_at(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  const FileTask task;
  if (!task || real().preadv2 == nullptr || offset < kPosition)
    return read_plainly(fd, vectors, count, offset);
  Buffers rest(vectors, static_cast<std::size_t>(count));
  ssize_t total = 0;
  for (;;) {
    const off64_t at = offset == kPosition ? kPosition : offset + total;
    ssize_t got = real().preadv2(fd, rest.data(), static_cast<int>(rest.count()), at, RWF_NOWAIT);
    if (got < 0 && is_blocking_read_needed(fd)) got = read_slowly(task.call(), fd, rest, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && total == 0) {
      got = read_plainly(fd, vectors, count, offset);
      return got >= 0 ? task.call().done(got) : got;
    }
    if (got > 0) {
      total += got;
      rest.advance(static_cast<std::size_t>(got));
    }
    if (got <= 0 || rest.empty()) return task.call().done(total);
  }
}

// --- writing ------------------------------------------------------------------------------------

namespace {

ssize_t write_plainly(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  if (offset == kPosition) return real().writev(fd, vectors, count);
  return real().pwritev(fd, vectors, count, offset);
}

// A hand-over to a thread takes as long as copying this much.
constexpr std::size_t kLarge = std::size_t{64} * 1024;

// Whether the kernel does not refuse the vectors at once.
bool is_possible(const iovec* vectors, int count) noexcept {
  return count > 0 && count <= IOV_MAX &&
         is_readable(vectors, static_cast<std::size_t>(count) * sizeof *vectors);
}

bool may_take_long(int fd, const iovec* vectors, int count) noexcept {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += std::min(vectors[i].iov_len, kLarge);
  if (size < kLarge) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & (O_SYNC | O_DSYNC | O_DIRECT)) == 0) return false;
  }
  struct stat status {};
  return ::fstat(fd, &status) == 0 && is_on_disk(status.st_mode);
}

}  // namespace

ssize_t write_file_at(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  const FileTask task;
  if (!task || offset < kPosition || !is_possible(vectors, count) ||
      !may_take_long(fd, vectors, count))
    return write_plainly(fd, vectors, count, offset);
  return on_thread(task.call(), [=] { return write_plainly(fd, vectors, count, offset); });
}

// --- the calls ----------------------------------------------------------------------------------

namespace {

// An offset of -1 is a mistake in a call that is not preadv2, and so is a size that is no ssize_t.
ssize_t pread_(int fd, void* buffer, std::size_t size, off64_t offset) noexcept {
  if (offset < 0 || size > SSIZE_MAX) return real().pread(fd, buffer, size, offset);
  const iovec one{.iov_base = buffer, .iov_len = size};
  return read_file_at(fd, &one, 1, offset);
}

ssize_t preadv_(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  if (offset < 0) return real().preadv(fd, vectors, count, offset);
  return read_file_at(fd, vectors, count, offset);
}

// Without an offset, preadv2 and pwritev2 are for sockets and pipes, too.
ssize_t preadv2_(int fd, const iovec* vectors, int count, off64_t offset, int flags) noexcept {
  if (flags == 0 && offset == kPosition) return read_vectors(fd, vectors, count);
  if (flags != 0 || offset < 0) return real().preadv2(fd, vectors, count, offset, flags);
  return read_file_at(fd, vectors, count, offset);
}

ssize_t pwrite_(int fd, const void* buffer, std::size_t size, off64_t offset) noexcept {
  if (offset < 0 || size > SSIZE_MAX) return real().pwrite(fd, buffer, size, offset);
  const iovec one{.iov_base = const_cast<void*>(buffer), .iov_len = size};
  return write_file_at(fd, &one, 1, offset);
}

ssize_t pwritev_(int fd, const iovec* vectors, int count, off64_t offset) noexcept {
  if (offset < 0) return real().pwritev(fd, vectors, count, offset);
  return write_file_at(fd, vectors, count, offset);
}

ssize_t pwritev2_(int fd, const iovec* vectors, int count, off64_t offset, int flags) noexcept {
  if (flags == 0 && offset == kPosition) return write_vectors(fd, vectors, count);
  if (flags != 0 || offset < 0) return real().pwritev2(fd, vectors, count, offset, flags);
  return write_file_at(fd, vectors, count, offset);
}

ssize_t pread_chk_(int fd, void* buffer, std::size_t size, off64_t offset,
                   std::size_t room) noexcept {
  if (size > room) return real().pread_chk(fd, buffer, size, offset, room);
  return pread_(fd, buffer, size, offset);
}

int synced(int fd, FileCall::Kind kind, int (*plain)(int)) noexcept {
  const FileTask task;
  if (!task) return plain(fd);
  const std::optional<long> ended = by_ring(task.call(), {.kind = kind, .fd = fd});
  if (!ended) return on_thread(task.call(), [=] { return plain(fd); });
  if (*ended >= 0) return task.call().done(0);
  errno = static_cast<int>(-*ended);
  return -1;
}

int fsync_(int fd) noexcept { return synced(fd, FileCall::Kind::sync, real().fsync); }
int fdatasync_(int fd) noexcept { return synced(fd, FileCall::Kind::data_sync, real().fdatasync); }

// Calls libc's function on a thread if it is called in a task.
template <class R, class... A>
R made_on_thread(R (*plain)(A...), A... arguments) noexcept {
  const FileTask task;
  if (!task) return plain(arguments...);
  return on_thread(task.call(), [=] { return plain(arguments...); });
}

int syncfs_(int fd) noexcept { return made_on_thread(real().syncfs, fd); }

void sync_() noexcept {
  const FileTask task;
  if (!task) return real().sync();
  on_thread(task.call(), [] { return real().sync(), 0; });
}

int msync_(void* address, std::size_t size, int flags) noexcept {
  return made_on_thread(real().msync, address, size, flags);
}

ssize_t copy_file_range_(int from, off64_t* from_offset, int to, off64_t* to_offset,
                         std::size_t size, unsigned flags) noexcept {
  return made_on_thread(real().copy_file_range, from, from_offset, to, to_offset, size, flags);
}

}  // namespace

std::span<const Hook> file_hooks() noexcept {
  static const Hook hooks[] = {
    hook<pread_>("pread64"),
    hook<pread_chk_>("__pread64_chk"),
    hook<preadv_>("preadv64"),
    hook<preadv2_>("preadv64v2"),
    hook<pwrite_>("pwrite64"),
    hook<pwritev_>("pwritev64"),
    hook<pwritev2_>("pwritev64v2"),
#if defined(__LP64__)  // elsewhere these have shorter offsets
    hook<pread_>("pread"),
    hook<pread_chk_>("__pread_chk"),
    hook<preadv_>("preadv"),
    hook<preadv2_>("preadv2"),
    hook<pwrite_>("pwrite"),
    hook<pwritev_>("pwritev"),
    hook<pwritev2_>("pwritev2"),
#endif
    hook<fsync_>("fsync"),
    hook<fdatasync_>("fdatasync"),
    hook<syncfs_>("syncfs"),
    hook<sync_>("sync"),
    hook<msync_>("msync"),
    hook<copy_file_range_>("copy_file_range"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
