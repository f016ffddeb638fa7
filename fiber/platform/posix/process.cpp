// Children by a thread each.
#include <fiber/platform/process.hpp>

#include <fiber/platform/child_thread.hpp>

#include <csignal>

namespace fiber::platform {

int open_child(pid_t pid) noexcept { return open_child_by_thread(pid); }

int signal_child(int /*descriptor*/, pid_t pid, int signal) noexcept { return ::kill(pid, signal); }

}  // namespace fiber::platform
