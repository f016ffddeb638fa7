// Makes a context current for the running greenlet while a callback of the loop's runs.
#pragma once

#include <fiber/contextvars.hpp>

#include <utility>

namespace fiber::asyncio::detail {

class InContext {
 public:
  /// Enters `context`; null: an empty one.
  InContext(fiber::detail::GreenletObject* greenlet,
            contextvars::detail::ContextObject* context) noexcept
      : greenlet_(greenlet),
        saved_(std::exchange(greenlet->belongings, core::Ref<fiber::detail::Belongings>(context))) {
  }
  // Restores the greenlet's own context first: values destroyed here may run any code.
  ~InContext() {
    const core::Ref<fiber::detail::Belongings> left =
        std::exchange(greenlet_->belongings, std::move(saved_));
  }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  fiber::detail::GreenletObject* greenlet_;
  core::Ref<fiber::detail::Belongings> saved_;
};

}  // namespace fiber::asyncio::detail
