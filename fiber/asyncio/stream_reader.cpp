#include <fiber/asyncio/stream_reader.hpp>

#include <fiber/asyncio/exceptions.hpp>

#include <algorithm>

namespace fiber::asyncio::detail {

ReaderObject::ReaderObject(LoopObject& loop, std::size_t limit)
    : HandledObject(loop), limit_(limit) {
  if (limit == 0) throw ValueError("Limit cannot be <= 0");
}

// --- the source of data --------------------------------------------------------------------------

void ReaderObject::wake() {
  if (ReadWaiter* waiter = std::exchange(waiter_, nullptr)) waiter->wake();
}

void ReaderObject::set_exception(std::exception_ptr error) {
  exception_ = std::move(error);
  if (ReadWaiter* waiter = std::exchange(waiter_, nullptr)) waiter->wake_with(exception_);
  if (on_complete) on_complete();
}

void ReaderObject::feed_eof() {
  eof_ = true;
  wake();
  if (on_complete) on_complete();
}

void ReaderObject::feed_data(std::string_view data) {
  if (eof_) throw RuntimeError("feed_data after feed_eof");
  if (data.empty()) return;
  // Python compares the size of the whole buffer, in which the bytes for a waiting read stay until
  // the reader takes them.
  const std::size_t size =
      buffer_.size() + data.size() + (served_ != nullptr ? served_->given : std::size_t{0});
  if (buffer_.empty()) {
    ReadWaiter* const taker = waiter_ != nullptr && !waiter_->done() ? waiter_ : served_;
    if (taker != nullptr) {
      data.remove_prefix(taker->take(data));
      if (taker->given != 0) served_ = taker;
    }
  }
  buffer_.append(data);
  wake();
  if (source_ != nullptr && !paused_ && size > limit_ && size - limit_ > limit_) {
    paused_ = true;
    source_->pause_reading();
  }
}

void ReaderObject::fed_directly(std::size_t count) {
  waiter_->given = count;
  if (count != 0) served_ = waiter_;
  wake();
}

void ReaderObject::writer_ended() noexcept {
  writer_ended_ = true;
  if (!has_handles()) no_handles();
}

void ReaderObject::no_handles() noexcept {
  if (writer_ended_ && source_ != nullptr) source_->nobody_reads();
}

std::size_t ReaderObject::ReadWaiter::take(std::string_view data) {
  if (text != nullptr) {
    data = data.substr(0, most - given);
    text->append(data);
  } else {
    data = data.substr(0, out.size() - given);
    std::copy(data.begin(), data.end(), out.data() + given);
  }
  given += data.size();
  return data.size();
}

// Moves the bytes that a task was given, but has not read, back to the front of the buffer.
void ReaderObject::put_back(ReadWaiter& waiter) {
  if (served_ == &waiter) served_ = nullptr;
  if (waiter.given == 0) return;
  buffer_.prepend(waiter.bytes());
  waiter.given = 0;
  if (waiter.text != nullptr) waiter.text->clear();
  wake();
}

// --- waiting ------------------------------------------------------------------------------------

// A waiter in `waiter_`, until it is woken or left.
struct ReaderObject::Waiting {
  Waiting(ReaderObject& its_reader, ReadWaiter& its_waiter)
      : reader(its_reader), waiter(its_waiter) {
    reader.waiter_ = &waiter;
  }
  ~Waiting() {
    if (reader.waiter_ == &waiter) reader.waiter_ = nullptr;
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ReaderObject& reader;
  ReadWaiter& waiter;
};

void ReaderObject::wait_for_data(const char* function) {
  ReadWaiter waiter(loop_);
  wait_for_data(function, waiter);
}

void ReaderObject::wait_for_data(const char* function, ReadWaiter& waiter) {
  if (waiter_ != nullptr)
    throw RuntimeError(std::string(function) +
                       "() called while another coroutine is already waiting for incoming data");
  // Waiting while paused would never end; readexactly(n) with a large n comes here.
  if (std::exchange(paused_, false)) source_->resume_reading();
  try {
    const Waiting waiting(*this, waiter);
    waiter.wait();
  } catch (...) {
    put_back(waiter);
    throw;
  }
  if (served_ == &waiter) served_ = nullptr;
}

void ReaderObject::resume_source() {
  if (!paused_ || buffer_.size() > limit_) return;
  paused_ = false;
  source_->resume_reading();
}

// --- reading ------------------------------------------------------------------------------------

std::string ReaderObject::read(std::ptrdiff_t n) {
  begin_read();
  if (n >= 0) return read_some(static_cast<std::size_t>(n));
  wait_for_end();
  return take_all();
}

void ReaderObject::wait_for_end() {
  reclaim();
  for (check_exception(); !eof_; check_exception()) wait_for_data("read");
}

std::string ReaderObject::take_all() {
  std::string all = buffer_.take(buffer_.size());
  resume_source();
  return all;
}

std::string ReaderObject::read_some(std::size_t n) {
  if (n == 0) return {};
  while (buffer_.empty() && !eof_) {
    std::string data;
    ReadWaiter waiter(loop_);
    waiter.text = &data;
    waiter.most = n;
    wait_for_data("read", waiter);
    if (!data.empty()) {
      resume_source();
      return data;
    }
  }
  std::string data = buffer_.take(n);
  resume_source();
  return data;
}

std::size_t ReaderObject::readinto(std::span<char> out) {
  begin_read();
  if (out.empty()) return 0;
  while (buffer_.empty() && !eof_) {
    ReadWaiter waiter(loop_);
    waiter.out = out;
    wait_for_data("readinto", waiter);
    if (waiter.given != 0) {
      resume_source();
      return waiter.given;
    }
  }
  const std::size_t count = std::min(out.size(), buffer_.size());
  std::copy_n(buffer_.view().data(), count, out.data());
  buffer_.consume(count);
  resume_source();
  return count;
}

std::string ReaderObject::readexactly(std::ptrdiff_t n) {
  if (n < 0) throw ValueError("readexactly size can not be less than zero");
  begin_read();
  const auto wanted = static_cast<std::size_t>(n);
  while (buffer_.size() < wanted) {
    if (eof_) throw IncompleteReadError(buffer_.take(buffer_.size()), wanted);
    wait_for_data("readexactly");
  }
  std::string data = buffer_.take(wanted);
  resume_source();
  return data;
}

ReaderObject::Search ReaderObject::search(Separators separators) {
  std::size_t shortest = separators.first->size();
  std::size_t longest = shortest;
  for (const std::string& separator : separators) {
    shortest = std::min(shortest, separator.size());
    longest = std::max(longest, separator.size());
  }
  std::size_t offset = 0;  // an offset before which no separator begins
  std::size_t match = 0;
  std::size_t end = 0;
  for (;;) {
    const std::string_view bytes = buffer_.view();
    if (bytes.size() >= offset + shortest) {
      for (const std::string& separator : separators) {
        const std::size_t at = bytes.find(separator, offset);
        if (at == std::string_view::npos) continue;
        const std::size_t its_end = at + separator.size();
        // Of several separators with one end the shortest counts.
        if (end == 0 || its_end < end || (its_end == end && at > match)) {
          end = its_end;
          match = at;
        }
      }
      if (end != 0)
        return match > limit_ ? Search{Found::too_long, match} : Search{Found::yes, end};
      offset = bytes.size() + 1 > longest ? bytes.size() + 1 - longest : 0;
      if (offset > limit_) return {Found::missing, offset};
    }
    // Only now: the last chunk may have brought the separator together with the end.
    if (eof_) return {Found::ended, bytes.size()};
    wait_for_data("readuntil");
  }
}

namespace {

constexpr const char* kTooLong = "Separator is found, but chunk is longer than limit";
constexpr const char* kMissing = "Separator is not found, and chunk exceed the limit";

}  // namespace

std::string ReaderObject::readuntil(Separators separators) {
  if (separators.count == 0) throw ValueError("Separator should contain at least one element");
  for (const std::string& separator : separators)
    if (separator.empty()) throw ValueError("Separator should be at least one-byte string");
  begin_read();
  const Search result = search(separators);
  switch (result.found) {
    case Found::ended: throw IncompleteReadError(buffer_.take(result.size), 0);
    case Found::missing: throw LimitOverrunError(kMissing, result.size);
    case Found::too_long: throw LimitOverrunError(kTooLong, result.size);
    case Found::yes: break;
  }
  std::string chunk = buffer_.take(result.size);
  resume_source();
  return chunk;
}

std::string ReaderObject::readline() {
  static const std::string newline = "\n";
  begin_read();
  const Search result = search({&newline, 1});
  if (result.found == Found::yes || result.found == Found::ended) {
    std::string line = buffer_.take(result.size);
    resume_source();
    return line;
  }
  // Drops the line, or the part of it that is here.
  if (result.found == Found::too_long)
    buffer_.consume(result.size + newline.size());
  else
    buffer_.clear();
  resume_source();
  throw ValueError(result.found == Found::too_long ? kTooLong : kMissing);
}

}  // namespace fiber::asyncio::detail
