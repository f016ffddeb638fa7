// Streams of stdio that are read, and pipes to programs that are closed.
//
// libc reads a stream's descriptor in internal functions that cannot be patched. So, if the buffer
// of the stream is empty, the replacements wait until the descriptor is readable before they call
// libc's functions, which then find something to read. A line or a block that comes in parts is put
// together.
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/stdio.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace fiber::monkey::detail {

// --- turns --------------------------------------------------------------------------------------

namespace {

// The streams that tasks of this thread read at this moment.
struct Busy {
  const FILE* stream;
  const TaskBase* task;
};
std::vector<Busy>& busy_streams() noexcept {
  thread_local std::vector<Busy> all;
  return all;
}

}  // namespace

Turn::Turn(const Call& call, const FILE* stream) noexcept : stream_(stream), task_(&call.task()) {
  auto& all = busy_streams();
  const auto is_busy = [&] {
    return std::any_of(all.begin(), all.end(),
                       [&](const Busy& its) { return its.stream == stream; });
  };
  Backoff backoff;
  while (is_busy())
    if (!backoff.pause(call)) return;
  try {
    all.push_back({stream, task_});
    taken_ = true;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
}

Turn::~Turn() {
  if (taken_)
    std::erase_if(busy_streams(),
                  [&](const Busy& its) { return its.stream == stream_ && its.task == task_; });
}

TurnsPutAway::TurnsPutAway(const TaskBase& task) noexcept : task_(&task) {
  std::erase_if(busy_streams(), [&](const Busy& its) {
    if (its.task != task_) return false;
    if (count_ < kMost) streams_[count_++] = its.stream;
    return true;
  });
}

TurnsPutAway::~TurnsPutAway() {
  try {
    for (std::size_t i = 0; i < count_; ++i) busy_streams().push_back({streams_[i], task_});
  } catch (const std::bad_alloc&) {
    // Other tasks may read from the stream in between.
  }
}

#if defined(__GLIBC__)
namespace {

bool is_empty(const FILE* stream) noexcept { return stream->_IO_read_ptr >= stream->_IO_read_end; }

// Whether libc would read from the descriptor. While a byte that was put back is read, the rest of
// the buffer is saved elsewhere.
bool would_read(const FILE* stream) noexcept {
  const bool has_rest =
      (stream->_flags & kInBackup) != 0 && stream->_IO_save_base < stream->_IO_save_end;
  return is_empty(stream) && !has_rest && stream->_fileno >= 0 &&
         (stream->_flags & (kNoReads | kEnd)) == 0;
}

// Flushes output as libc does before it reads: the peer, or the user, may be waiting for that
// output.
void flush_before_reading(FILE* stream) noexcept {
  if ((stream->_flags & kPutting) != 0) std::fflush(stream);
  if ((stream->_flags & (kLineBuffered | kUnbuffered)) != 0 &&
      (stdout->_flags & kLineBuffered) != 0)
    std::fflush(stdout);
}

// Waits until libc can read without blocking. Returns false, with errno and the stream's mark of an
// error, if the wait was cut short.
bool until_readable(const Call& call, FILE* stream) noexcept {
  const int error = errno;
  const int fd = stream->_fileno;
  if (!would_read(stream) || !may_wait(fd)) return true;
  flush_before_reading(stream);
  if (!until_ready(call, stream, Direction::reading)) return false;
  errno = error;
  return true;
}

std::size_t bytes_there(const FILE* stream) noexcept {
  return is_empty(stream) ? 0
                          : static_cast<std::size_t>(stream->_IO_read_end - stream->_IO_read_ptr);
}
bool has_byte(const FILE* stream, int byte) noexcept {
  const std::size_t there = bytes_there(stream);
  return there != 0 && std::memchr(stream->_IO_read_ptr, byte, there) != nullptr;
}

// Whether the whole call is left to libc: outside of tasks, for wide characters, and if the call
// cannot wait. `has_enough(stream)` says whether the buffer has all the bytes that the call wants.
template <class F>
bool is_left_alone(const Call& call, FILE* stream, F has_enough) noexcept {
  return !call || stream == nullptr || stream->_mode > 0 || stream->_fileno < 0 ||
         has_enough(stream) || (is_empty(stream) && !would_read(stream)) ||
         !may_wait(stream->_fileno);
}

// Takes bytes one by one: `take(byte)` returns false when it has enough. Returns false at the end
// of the stream, or after an error.
template <class F>
bool take_bytes(const Call& call, FILE* stream, F take) noexcept {
  for (;;) {
    if (!until_readable(call, stream)) return false;
    ::flockfile(stream);
    bool more = true;
    bool end = false;
    do {
      const int byte = real().getc_unlocked(stream);
      end = byte == EOF;
      more = !end && take(static_cast<char>(byte));
    } while (more && !is_empty(stream));
    ::funlockfile(stream);
    if (end || !more) return !end;
  }
}

// --- characters and lines -----------------------------------------------------------------------

int fgetc_(FILE* stream) noexcept {
  const Call call;
  if (call && stream != nullptr && !until_readable(call, stream)) return EOF;
  return real().fgetc(stream);
}

int getc_unlocked_(FILE* stream) noexcept {
  const Call call;
  if (call && stream != nullptr && !until_readable(call, stream)) return EOF;
  return real().getc_unlocked(stream);
}

// getc_unlocked(), where it is inlined, calls this if the buffer is empty.
int uflow_(FILE* stream) noexcept {
  const Call call;
  if (call && !until_readable(call, stream)) return EOF;
  return real().uflow(stream);
}

int getchar_() noexcept { return fgetc_(stdin); }
int getchar_unlocked_() noexcept { return getc_unlocked_(stdin); }

char* fgets_with(char* line, int size, FILE* stream, char* (*plain)(char*, int, FILE*)) noexcept {
  const Call call;
  if (size < 2 || is_left_alone(call, stream, [=](const FILE* its) {
        return has_byte(its, '\n') || bytes_there(its) >= static_cast<std::size_t>(size - 1);
      }))
    return plain(line, size, stream);
  const Turn turn(call, stream);
  if (!turn) return nullptr;
  const int before = stream->_flags & kError;
  stream->_flags &= ~kError;
  char* at = line;
  take_bytes(call, stream, [&](char byte) {
    *at++ = byte;
    return byte != '\n' && at - line < size - 1;
  });
  const bool failed = (stream->_flags & kError) != 0 && errno != EAGAIN;
  stream->_flags |= before;
  if (at == line || failed) return nullptr;
  *at = '\0';
  return line;
}

char* fgets_(char* line, int size, FILE* stream) noexcept {
  return fgets_with(line, size, stream, real().fgets);
}
char* fgets_unlocked_(char* line, int size, FILE* stream) noexcept {
  return fgets_with(line, size, stream, real().fgets_unlocked);
}
template <auto Plain>
char* fgets_chk_(char* line, std::size_t room, int size, FILE* stream) noexcept {
  if (size > 0 && static_cast<std::size_t>(size) > room)
    return real().fgets_chk(line, room, size, stream);
  return Plain(line, size, stream);
}

ssize_t getdelim_(char** line, std::size_t* size, int end, FILE* stream) noexcept {
  const Call call;
  // After an error, until clearerr(), libc's own reads nothing.
  if (line == nullptr || size == nullptr || is_left_alone(call, stream, [=](const FILE* its) {
        return (its->_flags & kError) != 0 || has_byte(its, end);
      }))
    return real().getdelim(line, size, end, stream);
  const Turn turn(call, stream);
  if (!turn) return -1;
  std::size_t count = 0;
  if (*line == nullptr) *size = 0;
  const auto has_room = [&](std::size_t bytes) {
    if (bytes <= *size) return true;
    const std::size_t more = std::max<std::size_t>(120, 2 * *size);
    auto* grown = static_cast<char*>(std::realloc(*line, more));
    if (grown == nullptr) return false;
    *line = grown;
    *size = more;
    return true;
  };
  // Like libc, gives memory for a line even if there comes none.
  bool has_memory = has_room(1);
  if (!has_memory) return -1;
  take_bytes(call, stream, [&](char byte) {
    has_memory = has_room(count + 2);
    if (!has_memory) return false;
    (*line)[count++] = byte;
    return static_cast<unsigned char>(byte) != static_cast<unsigned char>(end);
  });
  if (count == 0 || !has_memory) return -1;
  (*line)[count] = '\0';
  return static_cast<ssize_t>(count);
}

ssize_t getline_(char** line, std::size_t* size, FILE* stream) noexcept {
  return getdelim_(line, size, '\n', stream);
}

// --- blocks -------------------------------------------------------------------------------------

std::size_t fread_with(void* buffer, std::size_t size, std::size_t count, FILE* stream,
                       std::size_t (*plain)(void*, std::size_t, std::size_t, FILE*)) noexcept {
  const Call call;
  std::size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total) || total == 0 ||
      is_left_alone(call, stream, [=](const FILE* its) { return bytes_there(its) >= total; }))
    return plain(buffer, size, count, stream);
  const Turn turn(call, stream);
  if (!turn) return 0;
  auto* const bytes = static_cast<char*>(buffer);
  std::size_t got = 0;
  while (got < total) {
    if (!until_readable(call, stream)) break;
    ::flockfile(stream);
    // With an empty buffer, reading one byte makes libc fill the buffer with the bytes that are
    // there.
    const int byte = real().getc_unlocked(stream);
    if (byte != EOF) {
      bytes[got++] = static_cast<char>(byte);
      const std::size_t part = std::min(bytes_there(stream), total - got);
      std::memcpy(bytes + got, stream->_IO_read_ptr, part);
      stream->_IO_read_ptr += part;
      got += part;
    }
    ::funlockfile(stream);
    if (byte == EOF) break;
  }
  return got / size;
}

std::size_t fread_(void* buffer, std::size_t size, std::size_t count, FILE* stream) noexcept {
  return fread_with(buffer, size, count, stream, real().fread);
}
std::size_t fread_unlocked_(void* buffer, std::size_t size, std::size_t count,
                            FILE* stream) noexcept {
  return fread_with(buffer, size, count, stream, real().fread_unlocked);
}
template <auto Plain>
std::size_t fread_chk_(void* buffer, std::size_t room, std::size_t size, std::size_t count,
                       FILE* stream) noexcept {
  std::size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total) || total > room)
    return real().fread_chk(buffer, room, size, count, stream);
  return Plain(buffer, size, count, stream);
}

// --- pclose -------------------------------------------------------------------------------------

// Returns the program of a stream of popen(), which glibc keeps behind the stream and its table of
// functions; 0 if there is no such child.
pid_t program_of(const FILE* stream) noexcept {
  pid_t pid = 0;
  std::memcpy(&pid, reinterpret_cast<const char*>(stream) + sizeof(FILE) + sizeof(void*),
              sizeof pid);
  siginfo_t info{};
  if (pid <= 0 ||
      real().waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0)
    return 0;
  return pid;
}

// Waits for the end of a program, whose status is left. Signals do not interrupt the wait. Returns
// false with errno if the task is cancelled.
bool until_ended(const Call& call, pid_t pid) noexcept {
  HeldDescriptor end(call, static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  Backoff backoff;
  siginfo_t info{};
  // An error: other code has waited for the program.
  while (real().waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0) {
    const bool woken =
        end.get() < 0 ? backoff.pause(call) : call.wait(end.get(), EPOLLIN, kNever) != Wake::failed;
    if (!woken && end.has_failed_as_lost()) continue;
    end.has_lost();
    if (woken) continue;
    if (errno != EINTR || call.task().has_told_library()) return false;
  }
  return true;
}

// Returns a descriptor for libc to close.
int nothing() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Closes our end of the pipe, so that the program comes to its end. Another descriptor takes its
// place, which is returned.
int close_end(FILE* stream) noexcept {
  std::fflush(stream);
  const int other = nothing();
  if (other >= 0) const Descriptor closed(std::exchange(stream->_fileno, other));
  return other;
}

// If the task is cancelled, the program is killed, as system() does.
int pclose_(FILE* stream) noexcept {
  const Call call;
  const pid_t pid = call && stream != nullptr && stream->_fileno >= 0 ? program_of(stream) : 0;
  if (pid == 0) return real().pclose(stream);
  HeldDescriptor end(call, close_end(stream));
  const bool ended = until_ended(call, pid);
  const int error = errno;
  if (end.has_lost()) stream->_fileno = nothing();
  end.release();
  if (!ended) ::kill(pid, SIGKILL);
  const int status = real().pclose(stream);
  if (ended) return call.done(status);
  errno = error;
  return -1;
}

// Whether reading ends at once because the FIFO has no writer, which poll() does not report.
bool is_without_writer(int fd) noexcept {
  struct stat status {};
  return !is_ready(fd, Direction::reading) && ::fstat(fd, &status) == 0 &&
         S_ISFIFO(status.st_mode) && !has_writer(fd);
}

}  // namespace

bool may_wait(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) &&
         !S_ISBLK(status.st_mode);
}

bool until_ready(const Call& call, FILE* stream, Direction direction) noexcept {
  if (direction == Direction::reading && is_without_writer(stream->_fileno)) return true;
  Attempts attempts(call, stream->_fileno, direction);
  while (!is_ready(stream->_fileno, direction)) {
    if (attempts.again()) continue;
    if (attempts.unwatchable() || errno == EAGAIN || errno == EBADF) break;  // libc reports it
    stream->_flags |= kError;
    return false;
  }
  return true;
}

std::span<const Hook> stdio_hooks() noexcept {
  static const Hook hooks[] = {
      hook<fgetc_>("fgetc"),
      hook<fgetc_>("getc"),
      hook<fgetc_>("_IO_getc"),
      hook<getc_unlocked_>("getc_unlocked"),
      hook<getc_unlocked_>("fgetc_unlocked"),
      hook<uflow_>("__uflow"),
      hook<getchar_>("getchar"),
      hook<getchar_unlocked_>("getchar_unlocked"),
      hook<fgets_>("fgets"),
      hook<fgets_unlocked_>("fgets_unlocked"),
      hook<fgets_chk_<fgets_>>("__fgets_chk"),
      hook<fgets_chk_<fgets_unlocked_>>("__fgets_unlocked_chk"),
      hook<getdelim_>("getdelim"),
      hook<getdelim_>("__getdelim"),
      hook<getline_>("getline"),
      hook<fread_>("fread"),
      hook<fread_unlocked_>("fread_unlocked"),
      hook<fread_chk_<fread_>>("__fread_chk"),
      hook<fread_chk_<fread_unlocked_>>("__fread_unlocked_chk"),
      hook<pclose_>("pclose"),
  };
  return hooks;
}
#else
// The layout of streams is known only for glibc.
std::span<const Hook> stdio_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
