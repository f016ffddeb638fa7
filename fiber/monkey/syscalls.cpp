// System calls that code makes by syscall(). Those that may wait are made by the replacements of
// libc's functions that have the same arguments; all others are the kernel's.
#include <fiber/monkey/syscalls.hpp>

#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#include <sys/syscall.h>

namespace fiber::monkey::detail {

#if defined(SYS_futex) && defined(__LP64__)
namespace {

template <class T>
T as(long value) noexcept {
  if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<T>(value);
  else
    return static_cast<T>(value);
}

// Calls a replacement of libc's function in a member of Real.
template <class Member>
struct Typed;
template <class R, class... A>
struct Typed<R (*Real::*)(A...)> {
  static long call(void* function, const SyscallArguments& given) {
    return call_with(function, given, std::index_sequence_for<A...>());
  }

 private:
  template <std::size_t... I>
  static long call_with(void* function, const SyscallArguments& given, std::index_sequence<I...>) {
    return reinterpret_cast<R (*)(A...)>(function)(as<A>(given[I])...);
  }
};

struct Known {
  long number;
  const char* function;
  long (*call)(void* replacement, const SyscallArguments& given);
  std::size_t null = 6;  // an argument that libc's function does not have, and that must be null
};
template <class Member>
constexpr Known known(long number, const char* function, Member, std::size_t null = 6) noexcept {
  return {number, function, Typed<Member>::call, null};
}

constexpr Known kAll[] = {
    known(SYS_read, "read", &Real::read),
    known(SYS_write, "write", &Real::write),
    known(SYS_readv, "readv", &Real::readv),
    known(SYS_writev, "writev", &Real::writev),
    known(SYS_pread64, "pread64", &Real::pread),
    known(SYS_pwrite64, "pwrite64", &Real::pwrite),
    known(SYS_sendfile, "sendfile64", &Real::sendfile),
    known(SYS_splice, "splice", &Real::splice),
    known(SYS_tee, "tee", &Real::tee),
    known(SYS_vmsplice, "vmsplice", &Real::vmsplice),
    known(SYS_recvfrom, "recvfrom", &Real::recvfrom),
    known(SYS_sendto, "sendto", &Real::sendto),
    known(SYS_recvmsg, "recvmsg", &Real::recvmsg),
    known(SYS_sendmsg, "sendmsg", &Real::sendmsg),
    known(SYS_recvmmsg, "recvmmsg", &Real::recvmmsg),
    known(SYS_sendmmsg, "sendmmsg", &Real::sendmmsg),
    known(SYS_accept, "accept", &Real::accept),
    known(SYS_accept4, "accept4", &Real::accept4),
    known(SYS_connect, "connect", &Real::connect),
    known(SYS_close, "close", &Real::close),
    known(SYS_dup3, "dup3", &Real::dup3),
    known(SYS_ppoll, "ppoll", &Real::ppoll),
    known(SYS_epoll_pwait, "epoll_pwait", &Real::epoll_pwait),
#if defined(SYS_poll)  // processors that came later have only the variants above
    known(SYS_poll, "poll", &Real::poll),
    known(SYS_select, "select", &Real::select),
    known(SYS_epoll_wait, "epoll_wait", &Real::epoll_wait),
    known(SYS_dup2, "dup2", &Real::dup2),
    known(SYS_alarm, "alarm", &Real::alarm),
    known(SYS_pause, "pause", &Real::pause),
#endif
    known(SYS_nanosleep, "nanosleep", &Real::nanosleep),
    known(SYS_sched_yield, "sched_yield", &Real::sched_yield),
    known(SYS_wait4, "wait4", &Real::wait4),
    known(SYS_waitid, "waitid", &Real::waitid, 4),  // the use of resources
    known(SYS_flock, "flock", &Real::flock),
    known(SYS_msgrcv, "msgrcv", &Real::msgrcv),
    known(SYS_msgsnd, "msgsnd", &Real::msgsnd),
    known(SYS_semtimedop, "semtimedop", &Real::semtimedop),
    known(SYS_mq_timedreceive, "mq_timedreceive", &Real::mq_timedreceive),
    known(SYS_mq_timedsend, "mq_timedsend", &Real::mq_timedsend),
    known(SYS_setitimer, "setitimer", &Real::setitimer),
    known(SYS_getitimer, "getitimer", &Real::getitimer),
    known(SYS_fsync, "fsync", &Real::fsync),
    known(SYS_fdatasync, "fdatasync", &Real::fdatasync),
    known(SYS_syncfs, "syncfs", &Real::syncfs),
    known(SYS_msync, "msync", &Real::msync),
#if defined(SYS_copy_file_range)
    known(SYS_copy_file_range, "copy_file_range", &Real::copy_file_range),
#endif
#if defined(SYS_epoll_pwait2)
    known(SYS_epoll_pwait2, "epoll_pwait2", &Real::epoll_pwait2),
#endif
#if defined(SYS_close_range)
    known(SYS_close_range, "close_range", &Real::close_range),
#endif
};

const Hook* find_hook(std::string_view function) noexcept {
  for (const auto hooks :
       {stream_hooks(), message_hooks(), socket_hooks(), poll_hooks(), time_hooks(),
        process_hooks(), lock_hooks(), ipc_hooks(), file_hooks(), splice_hooks(), alarm_hooks()})
    for (const Hook& hook : hooks)
      if (hook.name == function) return &hook;
  return nullptr;
}

// The hooks of kAll.
const std::array<const Hook*, std::size(kAll)>& all_hooks() noexcept {
  static const auto all = [] {
    std::array<const Hook*, std::size(kAll)> found{};
    std::transform(std::begin(kAll), std::end(kAll), found.begin(),
                   [](const Known& each) { return find_hook(each.function); });
    return found;
  }();
  return all;
}

// Not noexcept: pthread_cancel() unwinds a thread that waits in a system call.
template <Cancel How>
long make(long number, const SyscallArguments& given) {
  const auto& [a, b, c, d, e, f] = given;
  if (is_in_task()) {
    if (number == SYS_futex && is_futex_wait(given)) {
      const PolicyOfCall policy(How);
      return wait_for_futex(given);
    }
    for (std::size_t i = 0; i < std::size(kAll); ++i) {
      const Known& its = kAll[i];
      if (its.number != number || (its.null < given.size() && given[its.null] != 0)) continue;
      if (const Hook* hook = all_hooks()[i])
        return its.call(hook->functions[static_cast<int>(How)], given);
    }
  }
  return real().syscall(number, a, b, c, d, e, f);
}

// Like libc, takes six arguments of any kind, even if there are fewer.
template <Cancel How>
long syscall_(long number, ...) {
  SyscallArguments given;
  va_list list;
  va_start(list, number);
  for (long& each : given) each = va_arg(list, long);
  va_end(list);
  return make<How>(number, given);
}

}  // namespace

std::span<const Hook> syscall_hooks() noexcept {
  static const Hook hooks[] = {
      policy_hook("syscall", syscall_<Cancel::error>, syscall_<Cancel::interrupt>,
                  syscall_<Cancel::never>),
  };
  return hooks;
}
#else
std::span<const Hook> syscall_hooks() noexcept { return {}; }
#endif

}  // namespace fiber::monkey::detail
