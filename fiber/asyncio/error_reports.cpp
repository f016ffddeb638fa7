#include <fiber/asyncio/error_reports.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/in_context.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/cxxabi.hpp>

#include <new>

namespace fiber::asyncio::detail {

namespace {

// Returns the context of the report's task or future, in which the handler runs.
contextvars::detail::ContextObject* context_of(const ExceptionContext& context) {
  for (const FutureRef& future : {context.task, context.future})
    if (future && future.base().is_task())
      return static_cast<TaskBase&>(future.base()).context_variables();
  return context.handle ? context.handle.object()->context.get() : nullptr;
}

}  // namespace

// Reports both errors after the user's handler has thrown: neither may be lost.
void ErrorReports::handler_has_thrown(const ExceptionContext& context,
                                      const std::exception_ptr& error) {
  const EventLoop loop(&loop_);
  loop.default_exception_handler(
      {.message = "Unhandled error in exception handler", .exception = error});
  loop.default_exception_handler(context);
}

void ErrorReports::report(const char* message, const FutureRef& task) noexcept {
  try {
    report({.message = message, .task = task});
  } catch (...) {
    log_without_memory(message);
  }
}

void ErrorReports::report_failure(const char* message, const Failure& failure) {
  try {
    report({.message = message,
            .exception = failure.exception,
            .task = failure.task,
            .handle = failure.handle,
            .socket = failure.socket});
  } catch (const std::bad_alloc&) {
    log_without_memory(message);
  }
}

void ErrorReports::report(const ExceptionContext& context) {
  try {
    const std::shared_ptr<exception_handler> custom = handler;
    if (!custom) {
      EventLoop(&loop_).default_exception_handler(context);
      return;
    }
    const auto call = [&] {
      const InContext in_context(fiber::detail::greenlet_thread().current, context_of(context));
      (*custom)(EventLoop(&loop_), context);
    };
    if (const std::exception_ptr error =
            caught(call, [this] { return !loop_.turns().on_dying_hub(); }))
      handler_has_thrown(context, error);
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (const KeyboardInterrupt&) {
    loop_.turns().interrupt = std::current_exception();
  } catch (const SystemExit&) {
    loop_.turns().interrupt = std::current_exception();
  } catch (const GreenletExit&) {
    loop_.turns().interrupt = std::current_exception();
  } catch (...) {
    log(LogLevel::error, "Exception in default exception handler", std::current_exception());
  }
}

}  // namespace fiber::asyncio::detail
