// The end of a program whose main() a KeyboardInterrupt or SystemExit leaves.
#pragma once

namespace fiber::detail {

/// Called whenever such an exception is made: from now on std::terminate ends the program as Python
/// does, if it was called on the main thread because of such an exception. Does nothing where the
/// program has its own terminate handler; a handler that is set later takes precedence, too.
void expect_at_exit() noexcept;

}  // namespace fiber::detail
