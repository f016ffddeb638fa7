// Makes a context current for the running greenlet while something of the loop's runs.
#pragma once

#include <fiber/contextvars.hpp>

namespace fiber::asyncio::detail {

class InContext {
 public:
  /// Null: an empty one.
  InContext(fiber::detail::GreenletObject* greenlet,
            contextvars::detail::ContextObject* context) noexcept
      : greenlet_(greenlet), saved_(greenlet->context_variables) {
    greenlet_->context_variables = context;
    if (context != nullptr) contextvars::detail::retain(context);
  }
  ~InContext() {
    if (greenlet_->context_variables != nullptr)
      contextvars::detail::release(greenlet_->context_variables);
    greenlet_->context_variables = saved_;
  }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  fiber::detail::GreenletObject* greenlet_;
  contextvars::detail::ContextObject* saved_;
};

}  // namespace fiber::asyncio::detail
