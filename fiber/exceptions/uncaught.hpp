// The end of a program whose main() a KeyboardInterrupt or SystemExit leaves.
#pragma once

namespace fiber::detail {

/// Called whenever a KeyboardInterrupt or SystemExit is made: from now on, if one of them leads to
/// std::terminate on the main thread, the program ends as Python does. Does nothing where the
/// program has its own terminate handler; a handler that is set later takes precedence, too.
void expect_at_exit() noexcept;

}  // namespace fiber::detail
