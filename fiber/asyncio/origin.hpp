// The place where an object was made: recorded in debug mode, for reports. Costs a walk over the
// stack.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <string>
#include <vector>

namespace fiber::asyncio::detail {

class FIBER_API Origin {
 public:
  /// Returns the origin for the caller.
  static core::Owner<const Origin> here();
  /// Returns the stack, most recent call last, one per line, as Python's tracebacks; the library's
  /// own frames at its end are left out.
  std::string traceback() const;
  /// Returns the innermost frame of the program's own; "?" if there is none.
  const std::string& place() const;

 private:
  std::vector<const void*> frames_;  ///< innermost first
  mutable std::string place_;        ///< "": not looked up yet
};

}  // namespace fiber::asyncio::detail
