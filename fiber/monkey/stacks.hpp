// Larger stacks for code that was written for the stacks of threads.
#pragma once

namespace fiber::monkey::detail {

// Sets the default stack of 1 MiB, above a guard of 1 MiB, for fibers that are made from now on by
// this thread and by threads that have had none yet. The wide guard finds the overflow of frames of
// up to 1 MiB. A thread or a fiber with sizes of its own keeps them. use_ordinary_stacks() sets the
// usual stack again.
void use_large_stacks() noexcept;
void use_ordinary_stacks() noexcept;

}  // namespace fiber::monkey::detail
