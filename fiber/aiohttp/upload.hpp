// The body of a request, read by a task of its own while the connection sends it.
//
// The connection asks for bytes in callbacks of the loop, where nothing may wait; a function that
// makes them may await, and a file may be slow. So a task reads one piece ahead, and the connection
// is told to come back later while there is none.
#pragma once

#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/body.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::aiohttp::detail {

class Upload : public http::BodySource, public std::enable_shared_from_this<Upload> {
 public:
  explicit Upload(std::shared_ptr<http::BodySource> source) : source_(std::move(source)) {}

  // Starts the task. `ready` is called when take() has something to give again; `sent`, which may
  // wait and throw, with each piece that is about to be sent.
  void start(const asyncio::EventLoop& loop, std::function<void()> ready,
             std::function<void(std::string_view)> sent);
  // Ends it. Nothing is called after that.
  void stop() noexcept;

  // For the connection: bytes, 0 at the end, nothing for "later". Throws what the source has thrown.
  std::optional<std::size_t> take(char* buffer, std::size_t room);

  std::optional<std::uint64_t> size() const override { return source_->size(); }
  std::size_t read(char* buffer, std::size_t room) override { return source_->read(buffer, room); }
  // What was read is dropped, and the task goes back to the beginning.
  bool rewind() override;

 private:
  void run();
  void read_piece();
  void wake() noexcept;

  std::shared_ptr<http::BodySource> source_;
  std::function<void()> ready_;
  std::function<void(std::string_view)> sent_;
  asyncio::EventLoop loop_;
  asyncio::Task<void> task_;
  asyncio::Future<void> waiter_;
  std::string piece_;
  std::size_t taken_ = 0;
  std::exception_ptr error_;
  bool begun_ = false;
  bool ended_ = false;    // piece_ is the last
  bool wanted_ = false;   // the connection waits for a piece
  bool restart_ = false;  // from the first byte
  bool stopped_ = false;
};

}  // namespace fiber::aiohttp::detail
