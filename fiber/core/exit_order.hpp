// Work that is to be done while the process exits, before the handlers of libraries on which that
// work depends.
#pragma once

#include <fiber/config.hpp>

namespace fiber::core {

/// Calls `finish` when the process exits, after what std::atexit is given later. For the one layer
/// that has threads at work then; `finish` may be called several times. Throws std::bad_alloc.
FIBER_API void finish_at_exit(void (*finish)());

/// A library that threads at work may be using has given std::atexit its end just now: the function
/// of finish_at_exit(), if there is one, is to be called before it, too.
FIBER_API void finish_before_exit_handlers() noexcept;

}  // namespace fiber::core
