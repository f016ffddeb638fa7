// The replacements of libc's functions, by name.
#pragma once

#include <fiber/monkey/waiting.hpp>

#include <span>

namespace fiber::monkey::detail {

struct Hook {
  const char* name;
  void* functions[3];  // by Cancel
};

// The replacement for objects with another policy than Cancel::error.
template <auto F, Cancel How>
struct Under;
template <class R, class... A, R (*F)(A...) noexcept, Cancel How>
struct Under<F, How> {
  static R call(A... arguments) noexcept {
    const PolicyOfCall policy(How);
    return F(arguments...);
  }
};

template <auto F>
Hook hook(const char* name) noexcept {
  return {name,
          {reinterpret_cast<void*>(F), reinterpret_cast<void*>(+Under<F, Cancel::interrupt>::call),
           reinterpret_cast<void*>(+Under<F, Cancel::never>::call)}};
}
// A hook for a function that does not wait, or whose arguments Under cannot pass on.
template <auto F>
Hook plain_hook(const char* name) noexcept {
  void* function = reinterpret_cast<void*>(F);
  return {name, {function, function, function}};
}

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
std::span<const Hook> loader_hooks() noexcept;   // dlopen
std::span<const Hook> alarm_hooks() noexcept;    // alarm, setitimer, pause
std::span<const Hook> mutex_hooks() noexcept;    // pthread_mutex_*

}  // namespace fiber::monkey::detail
