// The state of an open file: its position, the bytes read ahead, and the bytes kept back.
//
// Invariants
//  1. There are either bytes read ahead or bytes kept back, never both, except in a stream (a pipe,
//     a terminal), whose two directions are independent.
//  2. The position is the one that the user sees: before the bytes read ahead, or behind the bytes
//     kept back. It changes when a call succeeds.
//  3. One call runs at a time: the lock is held until the call's last request has ended, even if
//     the call itself was cancelled before.
#pragma once

#include <fiber/aiofiles/file.hpp>
#include <fiber/aiofiles/request.hpp>
#include <fiber/asyncio/locks.hpp>

namespace fiber::aiofiles::detail {

struct Mode {
  bool reading = false;
  bool writing = false;
  bool appending = false;
  int flags = 0;
};
/// Throws ValueError for an unknown mode.
Mode parse_mode(const std::string& text);

class FileObject final : public core::Counted<FileObject>, public Listener {
 public:
  FileObject(UniqueFd fd, std::string path, std::string mode_text, Mode mode,
             std::size_t buffering);
  ~FileObject();

  // Listener
  void retain_listener() noexcept override { retain(); }
  void release_listener() noexcept override { release(); }
  void ended(const Request& request) noexcept override;

  void check_open() const;
  bool closed() const noexcept { return closed_; }
  int fileno() const noexcept { return file_ != nullptr ? file_->get() : -1; }
  bool seekable() const noexcept { return seekable_; }

  // --- to be called in a Turn ---
  /// Reads once, at most `size` bytes, and appends them to ahead(); returns 0 at the end.
  std::size_t fill(std::size_t size);
  std::size_t available() const noexcept { return ahead_.size() - begin_; }
  std::string_view ahead() const noexcept { return std::string_view(ahead_).substr(begin_); }
  std::string take(std::size_t size);
  void prepare_reading();
  void prepare_writing();
  void put(std::string data);
  void flush();
  std::int64_t seek(std::int64_t offset, int whence);
  std::int64_t tell() const;
  /// Returns the size; that of nullopt is the position.
  std::int64_t truncate(std::optional<std::int64_t> size);
  void sync();
  void close();
  std::int64_t size() const;
  std::size_t buffering() const noexcept { return buffering_; }

  const std::string path;
  const std::string mode_text;
  const Mode mode;

 private:
  friend class Turn;

  RequestRef request(Operation operation) const;
  long carry_out(const RequestRef& request);
  std::size_t fill_stream(std::size_t size);
  void flush_stream();
  void wait_ready(std::uint32_t events) const;
  void drop_ahead() noexcept;
  void throw_late_error();
  [[noreturn]] void fail(long result) const;

  std::shared_ptr<UniqueFd> file_;  ///< null once it is closed
  core::Ref<asyncio::detail::LockObject> lock_{new asyncio::detail::LockObject};
  RequestRef last_;  ///< the latest request of the call that runs
  std::string ahead_;
  std::size_t begin_ = 0;  ///< start of the remaining bytes in ahead_
  std::string behind_;     ///< bytes kept back, to be written
  std::int64_t position_ = 0;
  std::size_t buffering_;
  int late_error_ = 0;  ///< of a write whose call was cancelled
  bool seekable_ = true;
  bool closed_ = false;
};
using FileRef = core::Ref<FileObject>;

/// A scope in which one call has the file to itself.
class Turn {
 public:
  /// Waits until earlier calls are over. Throws ValueError if the file is closed by then.
  explicit Turn(FileObject& file);
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();

 private:
  FileRef file_;
};

}  // namespace fiber::aiofiles::detail
