// System calls that code makes by syscall().
#pragma once

#include <array>

namespace fiber::monkey::detail {

using SyscallArguments = std::array<long, 6>;

// Whether the arguments of SYS_futex describe a wait that a task can make on the loop.
bool is_futex_wait(const SyscallArguments& given) noexcept;
long wait_for_futex(const SyscallArguments& given) noexcept;

}  // namespace fiber::monkey::detail
