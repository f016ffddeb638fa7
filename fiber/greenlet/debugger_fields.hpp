// The greenlet layer's fields for debuggers; see core/debugger.hpp.
#pragma once

namespace fiber::detail {

void describe_greenlets() noexcept;

}  // namespace fiber::detail
