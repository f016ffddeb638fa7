// The functions for child processes that a platform has to give: a poller sees their ends.
#pragma once

#include <sys/types.h>

namespace fiber::platform {

// Returns a descriptor that becomes readable when the child ends, close-on-exec; -1 with errno if
// none can be made. The child must not have been waited for. Its state is left for waitid().
int open_child(pid_t pid) noexcept;
// Sends a signal to a child that has not been waited for; `descriptor` is open_child()'s. Returns
// 0, or -1 with errno.
int signal_child(int descriptor, pid_t pid, int signal) noexcept;

}  // namespace fiber::platform
