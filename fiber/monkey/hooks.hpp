// The replacements, by the name that they replace.
#pragma once

#include <span>

namespace fiber::monkey::detail {

struct Hook {
  const char* name;
  void* function;

  template <class F>
  Hook(const char* its_name, F* its_function) noexcept
      : name(its_name), function(reinterpret_cast<void*>(its_function)) {}
};

std::span<const Hook> stream_hooks() noexcept;   // read, write and their vectors
std::span<const Hook> splice_hooks() noexcept;   // sendfile, splice
std::span<const Hook> message_hooks() noexcept;  // recv, send and their messages
std::span<const Hook> socket_hooks() noexcept;   // accept, connect, close
std::span<const Hook> poll_hooks() noexcept;
std::span<const Hook> time_hooks() noexcept;
std::span<const Hook> process_hooks() noexcept;  // wait, system
std::span<const Hook> signal_hooks() noexcept;   // sigwait
std::span<const Hook> lock_hooks() noexcept;     // flock, lockf, fcntl
std::span<const Hook> ipc_hooks() noexcept;      // mq_*, msg*, sem*
std::span<const Hook> name_hooks() noexcept;     // getaddrinfo and relatives

}  // namespace fiber::monkey::detail
