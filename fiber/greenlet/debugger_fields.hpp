// The greenlet layer's part of what debuggers read; see core/debugger.hpp.
#pragma once

namespace fiber::detail {

void describe_greenlets() noexcept;

}  // namespace fiber::detail
