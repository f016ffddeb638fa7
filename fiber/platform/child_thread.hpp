// Children by a thread each, which waits for the child's end and tells of it through a pipe: for
// systems that have no descriptor of a process, and for sandboxes that refuse it. A handler of
// SIGCHLD would be the program's own, and one for all of its children.
#pragma once

#include <sys/types.h>

namespace fiber::platform {

// As open_child() of process.hpp.
int open_child_by_thread(pid_t pid) noexcept;

}  // namespace fiber::platform
