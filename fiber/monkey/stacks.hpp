// Stacks for code that was written for those of threads.
#pragma once

namespace fiber::monkey::detail {

// From now on, for fibers of this thread and of threads that have none yet: 1 MiB each, above a
// guard of that width, which finds overflows of frames as wide. A thread or a fiber with sizes of
// its own keeps them.
void use_large_stacks() noexcept;
void use_ordinary_stacks() noexcept;

}  // namespace fiber::monkey::detail
