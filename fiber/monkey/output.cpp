// Streams of stdio that are written to.
//
// libc writes a stream's descriptor in internal functions that cannot be patched. So, where a call
// makes libc write, and the descriptor may wait, the replacements take the bytes out of the buffer
// and write them, with what is added, as write() does.
#include <fiber/monkey/files.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/stdio.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include <sys/uio.h>

#if defined(__GLIBC__)
extern "C" int __vsnprintf_chk(char* text, std::size_t room, int checked, std::size_t size,
                               const char* format, va_list values);
#endif

namespace fiber::monkey::detail {

#if defined(__GLIBC__)
namespace {

struct Free {
  void operator()(char* memory) const noexcept { std::free(memory); }
};

std::size_t pending(const FILE* stream) noexcept {
  return (stream->_flags & kPutting) == 0
             ? 0
             : static_cast<std::size_t>(stream->_IO_write_ptr - stream->_IO_write_base);
}

// Whether the stream has its buffer, and takes bytes. Its first byte makes libc see to that.
bool is_prepared(const FILE* stream) noexcept {
  return (stream->_flags & kPutting) != 0 && stream->_IO_buf_base != nullptr;
}

bool is_left_alone(const Call& call, const FILE* stream) noexcept {
  return !call || stream == nullptr || stream->_mode > 0 || stream->_fileno < 0;
}

constexpr std::size_t kNothing = std::string_view::npos;

// Returns how many bytes of the text libc would write at once, after those in the buffer; the rest
// stays in the buffer. kNothing: it would not write.
std::size_t part_to_write(const FILE* stream, std::string_view text) noexcept {
  if ((stream->_flags & kUnbuffered) != 0) return text.size();
  const auto room = static_cast<std::size_t>(stream->_IO_buf_end - stream->_IO_buf_base);
  const std::size_t all = pending(stream) + text.size();
  if ((stream->_flags & kLineBuffered) != 0) {
    const std::size_t line = text.rfind('\n');
    if (line != text.npos) return line + 1;
    return all > room ? text.size() : kNothing;
  }
  const std::size_t rest = all % room;
  return all <= room ? kNothing : text.size() - std::min(rest, text.size());
}

// Writes what is in the buffer and then the text. Returns how many bytes of the text are written;
// if these are not all of them, the stream has the mark of an error, and what was in the buffer is
// gone, as after an error of libc's.
std::size_t write_out(FILE* stream, std::string_view text) noexcept {
  const std::size_t before = pending(stream);
  std::unique_ptr<char, Free> copy;
  if (before > 0) {
    copy.reset(static_cast<char*>(std::malloc(before)));
    if (copy == nullptr) {
      stream->_flags |= kError;
      return 0;
    }
    std::memcpy(copy.get(), stream->_IO_write_base, before);
    stream->_IO_write_ptr = stream->_IO_write_base;
  }
  std::size_t written = 0;
  while (written < before + text.size()) {
    const std::size_t of_copy = std::min(written, before);
    const iovec parts[] = {{.iov_base = copy.get() + of_copy, .iov_len = before - of_copy},
                           {.iov_base = const_cast<char*>(text.data()) + (written - of_copy),
                            .iov_len = text.size() - (written - of_copy)}};
    const ssize_t count = write_vectors(stream->_fileno, parts, 2);
    if (count <= 0) {
      stream->_flags |= kError;
      break;
    }
    written += static_cast<std::size_t>(count);
  }
  return written - std::min(written, before);
}

// Returns how many bytes of the text the stream has taken. `plain(text)` calls libc's function.
template <class F>
std::size_t put(const Call& call, FILE* stream, std::string_view text, F plain) noexcept {
  if (is_left_alone(call, stream) || text.empty()) return plain(text);
  if (is_prepared(stream) && part_to_write(stream, text) == kNothing) return plain(text);
  if (!may_wait(stream->_fileno)) return plain(text);
  const Turn turn(call, stream);
  if (!turn) return 0;
  std::size_t taken = 0;
  if (!is_prepared(stream)) {
    const bool writes = (stream->_flags & (kUnbuffered | kLineBuffered)) != 0;
    if (writes && !until_ready(call, stream, Direction::writing)) return 0;
    taken = plain(text.substr(0, 1));
    if (taken == 0) return 0;
    text.remove_prefix(1);
  }
  const std::size_t part = part_to_write(stream, text);
  if (part != kNothing) {
    const int marked = stream->_flags & kError;
    stream->_flags &= ~kError;
    taken += write_out(stream, text.substr(0, part));
    const bool failed = (stream->_flags & kError) != 0;
    stream->_flags |= marked;
    if (failed) return taken;
    text.remove_prefix(part);
  }
  return text.empty() ? taken : taken + plain(text);
}

template <auto Plain>
std::size_t fwrite_with(const void* data, std::size_t size, std::size_t count,
                        FILE* stream) noexcept {
  const Call call;
  std::size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total) || total == 0)
    return (real().*Plain)(data, size, count, stream);
  const std::size_t taken = put(
      call, stream, {static_cast<const char*>(data), total},
      [=](std::string_view text) { return (real().*Plain)(text.data(), 1, text.size(), stream); });
  return taken == total ? count : taken / size;
}

// --- text ---------------------------------------------------------------------------------------

constexpr auto fwrite_ = fwrite_with<&Real::fwrite>;
constexpr auto fwrite_unlocked_ = fwrite_with<&Real::fwrite_unlocked>;

bool put_all(std::string_view text, FILE* stream) noexcept {
  return fwrite_(text.data(), 1, text.size(), stream) == text.size();
}

int fputs_(const char* text, FILE* stream) noexcept { return put_all(text, stream) ? 1 : EOF; }

int puts_(const char* text) noexcept {
  if (!put_all(text, stdout) || !put_all("\n", stdout)) return EOF;
  return static_cast<int>(std::min<std::size_t>(std::strlen(text) + 1, INT_MAX));
}

int fputc_(int byte, FILE* stream) noexcept {
  const char one = static_cast<char>(byte);
  return put_all({&one, 1}, stream) ? static_cast<unsigned char>(one) : EOF;
}
int putchar_(int byte) noexcept { return fputc_(byte, stdout); }

// Formats in memory first, by the rules of vfprintf. `checked` is the argument with which
// _FORTIFY_SOURCE has %n refused in writable memory; 0 for no such check.
int print(FILE* stream, int checked, const char* format, va_list values) noexcept {
  char text[1024];
  va_list again;
  va_copy(again, values);
  const auto write = [=](char* to, std::size_t size, va_list its) {
    return checked > 0 ? ::__vsnprintf_chk(to, size, checked, size, format, its)
                       : std::vsnprintf(to, size, format, its);
  };
  int length = write(text, sizeof text, values);
  if (length >= 0 && static_cast<std::size_t>(length) >= sizeof text) {
    const std::size_t size = static_cast<std::size_t>(length) + 1;
    const std::unique_ptr<char, Free> memory(static_cast<char*>(std::malloc(size)));
    length = memory != nullptr ? write(memory.get(), size, again) : -1;
    if (length > 0 && !put_all({memory.get(), static_cast<std::size_t>(length)}, stream))
      length = -1;
  } else if (length > 0 && !put_all({text, static_cast<std::size_t>(length)}, stream)) {
    length = -1;
  }
  va_end(again);
  return length;
}

// Outside of tasks, and for streams of wide characters, libc's own function prints.
bool prints_itself(const FILE* stream) noexcept {
  return !is_in_task() || stream == nullptr || stream->_mode > 0 || stream->_fileno < 0;
}

template <Cancel How>
int vfprintf_(FILE* stream, const char* format, va_list values) {
  if (prints_itself(stream)) return real().vfprintf(stream, format, values);
  const PolicyOfCall policy(How);
  return print(stream, 0, format, values);
}
template <Cancel How>
int vfprintf_chk_(FILE* stream, int checked, const char* format, va_list values) {
  if (prints_itself(stream)) return real().vfprintf_chk(stream, checked, format, values);
  const PolicyOfCall policy(How);
  return print(stream, checked, format, values);
}
template <Cancel How>
int vprintf_(const char* format, va_list values) {
  return vfprintf_<How>(stdout, format, values);
}
template <Cancel How>
int vprintf_chk_(int checked, const char* format, va_list values) {
  return vfprintf_chk_<How>(stdout, checked, format, values);
}
template <Cancel How>
int fprintf_(FILE* stream, const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vfprintf_<How>(stream, format, values);
  va_end(values);
  return length;
}
template <Cancel How>
int fprintf_chk_(FILE* stream, int checked, const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vfprintf_chk_<How>(stream, checked, format, values);
  va_end(values);
  return length;
}
template <Cancel How>
int printf_(const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vfprintf_<How>(stdout, format, values);
  va_end(values);
  return length;
}
template <Cancel How>
int printf_chk_(int checked, const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vfprintf_chk_<How>(stdout, checked, format, values);
  va_end(values);
  return length;
}

// --- flushing -----------------------------------------------------------------------------------

// Returns false, with errno set, if not everything could be written.
bool flush_in_turn(const Call& call, FILE* stream) noexcept {
  if (is_left_alone(call, stream) || pending(stream) == 0 || !may_wait(stream->_fileno))
    return true;
  const Turn turn(call, stream);
  if (!turn) return false;
  const int marked = stream->_flags & kError;
  stream->_flags &= ~kError;
  write_out(stream, {});
  const bool failed = (stream->_flags & kError) != 0;
  stream->_flags |= marked;
  return !failed;
}

int fflush_(FILE* stream) noexcept {
  const Call call;
  return flush_in_turn(call, stream) ? real().fflush(stream) : EOF;
}
int fflush_unlocked_(FILE* stream) noexcept {
  const Call call;
  return flush_in_turn(call, stream) ? real().fflush_unlocked(stream) : EOF;
}
int fclose_(FILE* stream) noexcept {
  const Call call;
  const bool flushed = flush_in_turn(call, stream);
  const int error = errno;
  const int closed = real().fclose(stream);
  if (!flushed) errno = error;
  return flushed ? closed : EOF;
}

// putc_unlocked(), where it is inlined, calls this if the buffer is full.
int overflow_(FILE* stream, int byte) noexcept {
  return byte == EOF ? fflush_(stream) : fputc_(byte, stream);
}

}  // namespace

std::span<const Hook> output_hooks() noexcept {
  static const Hook hooks[] = {
      hook<fwrite_>("fwrite"),
      hook<fwrite_unlocked_>("fwrite_unlocked"),
      hook<fputs_>("fputs"),
      hook<fputs_>("fputs_unlocked"),
      hook<puts_>("puts"),
      hook<fputc_>("fputc"),
      hook<fputc_>("fputc_unlocked"),
      hook<fputc_>("putc"),
      hook<fputc_>("putc_unlocked"),
      hook<fputc_>("_IO_putc"),
      hook<putchar_>("putchar"),
      hook<putchar_>("putchar_unlocked"),
      hook<overflow_>("__overflow"),
      hook<fflush_>("fflush"),
      hook<fflush_unlocked_>("fflush_unlocked"),
      hook<fclose_>("fclose"),
      by_policy("printf", []<Cancel How> { return printf_<How>; }),
      by_policy("fprintf", []<Cancel How> { return fprintf_<How>; }),
      by_policy("vprintf", []<Cancel How> { return vprintf_<How>; }),
      by_policy("vfprintf", []<Cancel How> { return vfprintf_<How>; }),
      by_policy("__printf_chk", []<Cancel How> { return printf_chk_<How>; }),
      by_policy("__fprintf_chk", []<Cancel How> { return fprintf_chk_<How>; }),
      by_policy("__vprintf_chk", []<Cancel How> { return vprintf_chk_<How>; }),
      by_policy("__vfprintf_chk", []<Cancel How> { return vfprintf_chk_<How>; }),
  };
  return hooks;
}
#else
std::span<const Hook> output_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
