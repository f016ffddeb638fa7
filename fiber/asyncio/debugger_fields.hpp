// The asyncio layer's part of what debuggers read; see core/debugger.hpp.
#pragma once

namespace fiber::asyncio::detail {

/// A friend of the classes whose members it names.
struct DebuggerFields {
  static void describe() noexcept;
};

}  // namespace fiber::asyncio::detail
