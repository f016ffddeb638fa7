// What a platform has to give about threads.
#pragma once

namespace fiber::platform {

// Returns whether the caller is the process's first thread: the one that handles signals.
bool is_first_thread() noexcept;
// Returns a number for the calling thread, which no other thread of the process has, for debuggers
// and traces.
long thread_number() noexcept;
// Returns whether there are threads besides the caller and `known` others. "Yes" where the
// platform does not tell.
bool may_have_other_threads(unsigned known) noexcept;

}  // namespace fiber::platform
