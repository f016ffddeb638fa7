// Errors that no other code handles: the loop's exception handler.
//
// Invariant: each error that arrives here is reported once: by the user's handler; if the handler
// throws, by the default handler; if the default handler throws, by one line of the log.
#pragma once

#include <fiber/config.hpp>
#include <fiber/standard.hpp>

#include <exception>

namespace fiber::asyncio {
class EventLoop;
class FutureRef;
struct ExceptionContext;
using exception_handler = std::function<void(EventLoop, const ExceptionContext&)>;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

class LoopObject;
struct Failure;

class FIBER_API ErrorReports {
 public:
  explicit ErrorReports(LoopObject& loop) noexcept : loop_(loop) {}
  ErrorReports(const ErrorReports&) = delete;
  ErrorReports& operator=(const ErrorReports&) = delete;

  /// Calls the handler. Throws only the unwinding of a thread that the handler ends.
  void report(const ExceptionContext& context);
  /// Reports an error. Without memory for a report one line goes to stderr in its place, so that
  /// the caller continues. Throws as report() does. Failure is in failure.hpp.
  void report_failure(const char* message, const Failure& failure);
  /// Reports where nothing may throw: the context is made here.
  void report(const char* message, const FutureRef& task) noexcept;
  std::shared_ptr<exception_handler> handler;  ///< null: the default one

 private:
  void handler_has_thrown(const ExceptionContext& context, const std::exception_ptr& error);

  LoopObject& loop_;
};

}  // namespace fiber::asyncio::detail
