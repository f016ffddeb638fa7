// What a platform has to give for child processes: their ends, seen by an event loop.
#pragma once

#include <sys/types.h>

namespace fiber::platform {

// Returns a descriptor that is readable from the end of the child on, and closed to other programs;
// -1 with errno if there is none to be had. The child must not have been waited for. Its state is
// left for waitid().
int open_child(pid_t pid) noexcept;
// Sends a signal to the child of a descriptor of open_child(), which has not been waited for.
// Returns 0, or -1 with errno.
int signal_child(int descriptor, pid_t pid, int signal) noexcept;

}  // namespace fiber::platform
