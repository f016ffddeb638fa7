// Work to do while the process exits, before the exit handlers of libraries on which that work
// depends.
#pragma once

#include <fiber/config.hpp>

namespace fiber::core {

/// Calls `finish` when the process exits: after the functions that are given to std::atexit later
/// than this call. A process has one such function, that of the layer whose threads still work at
/// that time; it may be called several times. Throws std::bad_alloc.
FIBER_API void finish_at_exit(void (*finish)());

/// Registers the function of finish_at_exit(), if there is one, with std::atexit once more. To be
/// called right after a library that threads may be using has registered its own end: then the
/// function runs before that end, too.
FIBER_API void finish_before_exit_handlers() noexcept;

}  // namespace fiber::core
