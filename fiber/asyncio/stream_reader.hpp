// The object behind the StreamReader handles.
//
// Invariants
//  1. At most one task waits, `waiter_`. Data that comes while it waits in read() and nothing is
//     buffered goes directly to it; all other data goes through `buffer_`.
//  2. Bytes given to a task stay the next ones until it goes on: if it is cancelled, or another
//     task reads before, they return to the front of the buffer. Bytes for a read up to the end
//     stay in it until the end has come. So no bytes are lost with a task, and their order is kept.
#pragma once

#include <fiber/asyncio/handled_object.hpp>
#include <fiber/asyncio/detail/byte_buffer.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <string_view>

namespace fiber::asyncio::detail {

/// The source of a reader's data, which can pause for a while.
class ReadSource {
 public:
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  /// Called when the last handle is gone, so that no code can read further data.
  virtual void nobody_reads() noexcept = 0;

 protected:
  ~ReadSource() = default;
};

/// The separators of one readuntil(); a std::span of them would take longer to compile than a
/// StreamReader without it.
struct Separators {
  const std::string* first;
  std::size_t count;

  const std::string* begin() const noexcept { return first; }
  const std::string* end() const noexcept { return first + count; }
};

class FIBER_API ReaderObject : public HandledObject<ReaderObject> {
 public:
  ReaderObject(LoopObject& loop, std::size_t limit);

  std::string read(std::ptrdiff_t n);
  /// Reads up to out.size() bytes, without a copy on the way if nothing is buffered; returns 0 at
  /// the end.
  std::size_t readinto(std::span<char> out);
  std::string readline();
  std::string readexactly(std::ptrdiff_t n);
  std::string readuntil(Separators separators);
  /// Waits for the end, as read(-1) does. The data is still to be read.
  void wait_for_end();
  std::string take_all();

  /// Whether all data has come: by the end, or an error.
  bool is_complete() const noexcept { return eof_ || exception_ != nullptr; }
  /// Called when all data has come, read or not; null: no function. While the source is paused for
  /// a full buffer nothing comes. Must not throw.
  std::function<void()> on_complete;

  bool at_eof() const noexcept { return eof_ && buffer_.empty() && served_ == nullptr; }
  const std::exception_ptr& exception() const noexcept { return exception_; }
  void set_exception(std::exception_ptr error);
  void feed_data(std::string_view data);
  void feed_eof();

  /// Removes and returns the bytes that came and were not read; the source counts as resumed.
  std::string take_buffered() {
    reclaim();
    paused_ = false;
    return buffer_.take(buffer_.size());
  }

  void set_source(ReadSource* source) noexcept {
    source_ = source;
    paused_ = false;
  }
  /// Returns the memory to which a recv may write directly, because a task waits in readinto();
  /// empty if no task does.
  std::span<char> direct() const noexcept {
    const bool waits = waiter_ != nullptr && buffer_.empty() && !waiter_->done();
    return waits ? waiter_->out : std::span<char>();
  }
  /// Called when `count` bytes were written there.
  void fed_directly(std::size_t count);
  /// Called when the writing process has ended, though others may have inherited its end of the
  /// pipe. From now on the reader is closed when it has no handles.
  void writer_ended() noexcept;

 private:
  struct ReadWaiter : Waiter {
    using Waiter::Waiter;
    std::string* text = nullptr;  ///< read() takes at most `most` bytes here
    std::size_t most = 0;
    std::span<char> out{};  ///< readinto() takes the bytes here
    std::size_t given = 0;

    /// Takes as many bytes as it has room for, and returns their number.
    std::size_t take(std::string_view data);
    std::string_view bytes() const noexcept {
      return text != nullptr ? std::string_view(*text) : std::string_view(out.data(), given);
    }
  };
  struct Waiting;

  friend core::Counted<ReaderObject>;
  friend HandledObject<ReaderObject>;
  ~ReaderObject() = default;
  void no_handles() noexcept;
  void check_exception() const {
    if (exception_) std::rethrow_exception(exception_);
  }
  void wait_for_data(const char* function);
  void wait_for_data(const char* function, ReadWaiter& waiter);
  void resume_source();
  void wake();
  void put_back(ReadWaiter& waiter);
  void reclaim() {
    if (served_ != nullptr) [[unlikely]]
      put_back(*served_);
  }
  void begin_read() {
    reclaim();
    check_exception();
  }
  std::string read_some(std::size_t n);
  enum class Found { yes, ended, missing, too_long };
  struct Search {
    Found found;
    std::size_t size;  ///< yes: with the separator; missing, too_long: the part before it
  };
  Search search(Separators separators);

  bool eof_ = false;
  bool paused_ = false;
  bool writer_ended_ = false;
  std::size_t limit_;
  ByteBuffer buffer_;
  ReadWaiter* waiter_ = nullptr;
  ReadWaiter* served_ = nullptr;  ///< was given bytes and woken, and has not gone on yet
  ReadSource* source_ = nullptr;
  std::exception_ptr exception_;
};

}  // namespace fiber::asyncio::detail
