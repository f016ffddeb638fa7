// Tasks that are threads to the kernel and to glibc.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/core/own_thread.hpp>

#include "support/platform.hpp"

namespace support {

// Uses system calls where there is no instruction, so that the rules are tested everywhere.
inline const fiber::asyncio::TaskOptions own{.own_thread_state = true, .slow_thread_state = true};

// Prints the reason where no task can be a thread.
inline bool lacks_own_threads() {
  const char* why = fiber::core::OwnThread::why_not(true);
  return why != nullptr && left_out(why);
}

}  // namespace support
