#include <fiber/aiohttp/upload.hpp>

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/http/failure.hpp>

#include <algorithm>
#include <utility>

namespace fiber::aiohttp::detail {
namespace {

constexpr std::size_t piece_size = 64 * 1024;
// Other tasks, and the answer, get a turn after so many bytes of a source that does not wait.
constexpr std::size_t turn = 256 * 1024;

}  // namespace

void Upload::start(const asyncio::EventLoop& loop, std::function<void()> ready,
                   std::function<void(std::string_view)> sent) {
  loop_ = loop;
  ready_ = std::move(ready);
  sent_ = std::move(sent);
  task_ = loop.create_task(asyncio::Coroutine<void>([self = shared_from_this()] { self->run(); },
                                                    "ClientRequest.write_bytes"));
}

void Upload::stop() noexcept {
  stopped_ = true;
  ready_ = nullptr;
  sent_ = nullptr;
  try {
    if (task_) std::exchange(task_, {}).cancel();
  } catch (...) {
    // There was no memory to cancel the task: it stays asleep until the loop ends.
  }
}

std::optional<std::size_t> Upload::take(char* buffer, std::size_t room) {
  if (error_) std::rethrow_exception(error_);
  if (!restart_ && taken_ < piece_.size()) {
    const std::size_t size = piece_.copy(buffer, room, taken_);
    taken_ += size;
    if (taken_ == piece_.size() && !ended_) wake();
    return size;
  }
  if (!restart_ && ended_) return 0;
  wanted_ = true;
  wake();
  return std::nullopt;
}

bool Upload::rewind() {
  if (begun_) {
    restart_ = true;
    wake();
  }
  return true;
}

void Upload::wake() noexcept {
  if (waiter_ && !waiter_.done()) waiter_.set_result();
}

void Upload::run() {
  std::size_t read = 0;  // bytes since the last wait
  while (!stopped_) {
    if (read >= turn) {
      read = 0;
      asyncio::await(asyncio::sleep(0));
      continue;
    }
    if (!restart_ && (ended_ || taken_ < piece_.size() || error_)) {
      read = 0;
      waiter_ = loop_.create_future<void>();
      asyncio::await(waiter_);
      continue;
    }
    const auto tell = [this] {
      if (std::exchange(wanted_, false) && ready_) ready_();
    };
    try {
      read_piece();
      read += std::max<std::size_t>(piece_.size(), 1);
    } catch (const std::exception&) {
      error_ = std::current_exception();
    } catch (const http::Failure&) {
      error_ = std::current_exception();
    } catch (...) {
      // Cancelled: the rest of the body will not be sent.
      error_ = std::current_exception();
      tell();
      throw;
    }
    tell();
  }
}

void Upload::read_piece() {
  if (!begun_ || std::exchange(restart_, false)) {
    begun_ = true;
    piece_.clear();
    taken_ = 0;
    ended_ = false;
    if (!source_->rewind())
      throw http::Failure{http::Failure::Kind::unrewindable,
                          "Cannot follow redirect with a consumed request body. Use bytes, a "
                          "seekable file-like object, or set allow_redirects=False."};
  }
  auto piece = std::make_shared<std::string>(piece_size, '\0');
  const auto read = [source = source_, piece] {
    return source->read(piece->data(), piece->size());
  };
  const std::size_t size =
      source_->blocks() ? asyncio::await(loop_.run_in_executor(nullptr, read)) : read();
  if (restart_ || stopped_) return;
  piece->resize(size);
  piece_ = std::move(*piece);
  taken_ = 0;
  ended_ = size == 0;
  if (size > 0 && sent_) {
    const auto sent = sent_;
    sent(piece_);
  }
}

}  // namespace fiber::aiohttp::detail
