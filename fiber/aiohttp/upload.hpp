// The body of a request, read by a task of its own while the connection sends it.
//
// The connection asks for bytes in callbacks of the loop, where nothing may wait; but a function
// that makes the bytes may await, and a file may be slow. So a task reads one piece ahead, and
// take() returns nothing while there is no piece.
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

  // Starts the task. `ready` is called when take() can return bytes again; `sent`, which may wait
  // and throw, is called with each piece that is about to be sent.
  void start(const asyncio::EventLoop& loop, std::function<void()> ready,
             std::function<void(std::string_view)> sent);
  // Ends the task. Neither function is called afterwards.
  void stop() noexcept;

  // For the connection: writes bytes and returns their number, 0 at the end, nothing for "later".
  // Throws the exceptions of the source.
  std::optional<std::size_t> take(char* buffer, std::size_t room);

  std::optional<std::uint64_t> size() const override { return source_->size(); }
  std::size_t read(char* buffer, std::size_t room) override { return source_->read(buffer, room); }
  // Drops the piece that was read; the task goes back to the first byte.
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
  bool ended_ = false;    // piece_ is the last one
  bool wanted_ = false;   // the connection waits for a piece
  bool restart_ = false;  // read again from the first byte
  bool stopped_ = false;
};

}  // namespace fiber::aiohttp::detail
