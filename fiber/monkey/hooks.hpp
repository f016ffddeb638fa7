// The replacements of libc's functions, by name.
#pragma once

#include <fiber/monkey/waiting.hpp>

#include <cstdint>
#include <span>

namespace fiber::monkey::detail {

struct Hook {
  const char* name;
  void* functions[3];                  // by Cancel
  std::uintptr_t* original = nullptr;  // where the replacement finds libc's function; see Original
};

// libc's function that F replaces in tasks. Its address is kept inverted, so that it is not taken
// for a copied pointer, which would be patched.
template <auto F>
struct Original {
  static inline constinit std::uintptr_t inverted = 0;
};

// The replacement for objects with a policy. Outside of tasks it calls libc's function. It is not
// noexcept, since pthread_cancel() unwinds a thread out of a call that blocks.
template <auto F, Cancel How>
struct InTask;
template <class R, class... A, R (*F)(A...) noexcept, Cancel How>
struct InTask<F, How> {
  static R call(A... arguments) {
    if (!is_in_task()) return reinterpret_cast<R (*)(A...)>(~Original<F>::inverted)(arguments...);
    return call_under_policy(arguments...);
  }

 private:
  static R call_under_policy(A... arguments) noexcept {
    const PolicyOfCall policy(How);
    return F(arguments...);
  }
};

// A hook for a function that waits. Outside of tasks libc's function is called.
template <auto F>
Hook hook(const char* name) noexcept {
  return {name,
          {reinterpret_cast<void*>(+InTask<F, Cancel::error>::call),
           reinterpret_cast<void*>(+InTask<F, Cancel::interrupt>::call),
           reinterpret_cast<void*>(+InTask<F, Cancel::never>::call)},
          &Original<F>::inverted};
}
// A hook for a function that is replaced outside of tasks, too, or whose arguments InTask cannot
// pass on.
template <auto F>
Hook plain_hook(const char* name) noexcept {
  void* function = reinterpret_cast<void*>(F);
  return {name, {function, function, function}};
}

// A hook for a function of a variable number of arguments: it has a replacement for each policy.
template <class F>
Hook policy_hook(const char* name, F* error, F* interrupt, F* never) noexcept {
  return {name,
          {reinterpret_cast<void*>(error), reinterpret_cast<void*>(interrupt),
           reinterpret_cast<void*>(never)}};
}

// A policy_hook() made of a template: by_policy("name", []<Cancel How> { return function<How>; }).
template <class F>
Hook by_policy(const char* name, F function) noexcept {
  return policy_hook(name, function.template operator()<Cancel::error>(),
                     function.template operator()<Cancel::interrupt>(),
                     function.template operator()<Cancel::never>());
}

std::span<const Hook> stream_hooks() noexcept;   // read, write and their vectors
std::span<const Hook> splice_hooks() noexcept;   // sendfile, splice
std::span<const Hook> file_hooks() noexcept;     // pread, pwrite, fsync and relatives
std::span<const Hook> message_hooks() noexcept;  // recv, send and their messages
std::span<const Hook> socket_hooks() noexcept;   // accept, connect, close
std::span<const Hook> poll_hooks() noexcept;
std::span<const Hook> time_hooks() noexcept;
std::span<const Hook> process_hooks() noexcept;  // wait, system
std::span<const Hook> signal_hooks() noexcept;   // sigwait
std::span<const Hook> lock_hooks() noexcept;     // flock, lockf, fcntl
std::span<const Hook> ipc_hooks() noexcept;      // mq_*, msg*, sem*
std::span<const Hook> name_hooks() noexcept;     // getaddrinfo and relatives
std::span<const Hook> stdio_hooks() noexcept;    // fgets, getline, fread, pclose
std::span<const Hook> open_hooks() noexcept;     // open of a FIFO
std::span<const Hook> loader_hooks() noexcept;   // dlopen
std::span<const Hook> alarm_hooks() noexcept;    // alarm, setitimer, pause
std::span<const Hook> mutex_hooks() noexcept;    // pthread_mutex_*
std::span<const Hook> syscall_hooks() noexcept;  // syscall

}  // namespace fiber::monkey::detail
