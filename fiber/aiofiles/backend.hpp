// Carries out the requests of a loop: by io_uring, or on threads of the loop's default executor.
#pragma once

#include <fiber/aiofiles/request.hpp>
#include <fiber/aiofiles/ring.hpp>
#include <fiber/asyncio/loop_dependent.hpp>
#include <fiber/standard.hpp>

namespace fiber::aiofiles::detail {

/// The backend of one loop, made by its first request and destroyed when the loop is closed.
class Backend final : public asyncio::detail::LoopDependent {
 public:
  /// Throws OSError if FIBER_AIOFILES asks for io_uring in vain, ValueError for an unknown value.
  static Backend& of(LoopObject& loop);

  const char* name() const noexcept { return ring_ != nullptr ? "io_uring" : "executor"; }
  /// Starts a request, which may have ended on return. Throws RuntimeError if no thread takes it.
  void start(const RequestRef& request);
  /// Returns false if there is no ring, or no room in it.
  bool start_in_ring(const RequestRef& request);
  void withdraw(Request& request) noexcept;
  /// Stops the thread until a request of the ring has ended.
  void finish(const Request& request) noexcept { ring_->finish(request); }
  void loop_closed() noexcept override;

 private:
  explicit Backend(LoopObject& loop);
  ~Backend() override = default;
  void start_on_thread(const RequestRef& request);

  LoopObject& loop_;
  std::unique_ptr<Ring> ring_;
};

/// Carries a request out while the current task waits. Returns a number, or -errno. Throws
/// CancelledError; in that case the request goes on without the task.
long carry_out(const RequestRef& request);

}  // namespace fiber::aiofiles::detail
