// The asyncio layer's fields for debuggers; see core/debugger.hpp.
#pragma once

namespace fiber::asyncio::detail {

/// A friend of the classes whose members it names.
struct DebuggerFields {
  static void describe() noexcept;
};

}  // namespace fiber::asyncio::detail
