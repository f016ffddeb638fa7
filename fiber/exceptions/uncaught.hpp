// What happens to a KeyboardInterrupt or SystemExit that leaves main().
#pragma once

namespace fiber::detail {

/// Called whenever one is made: from now on std::terminate ends the program as Python does, if such
/// an exception is why it was called on the main thread. Does nothing where the program has its own
/// terminate handler; one that is set later has the say, too.
void expect_at_exit() noexcept;

}  // namespace fiber::detail
