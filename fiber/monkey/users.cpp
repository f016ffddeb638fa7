// setuid() and its relatives in tasks with own_thread_state.
//
// libc changes the user of every thread, by a signal to all but the calling one. In a task with
// own_thread_state libc takes the helper for the calling thread, and would wait forever for the
// thread that the task runs on. So the call is made with the thread pointer of the thread itself.
#include <fiber/core/own_thread.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/threads.hpp>

#include <cerrno>

namespace fiber::monkey::detail {
namespace {

// Calls function(arguments...) as the thread that runs the task; returns its result and errno. Not
// inline: the compiler may keep the address of errno within a function, but the call changes which
// thread's errno counts.
struct Outcome {
  int result;
  int error;
};
template <class... A>
[[gnu::noinline]] Outcome outcome_of(int (*function)(A...), A... arguments) noexcept {
  const int result = function(arguments...);
  return {result, errno};
}
template <class... A>
[[gnu::noinline]] Outcome call_as_thread(core::OwnThread& lent, int (*function)(A...),
                                         A... arguments) noexcept {
  lent.take_back();
  const Outcome outcome = outcome_of(function, arguments...);
  lent.lend();
  return outcome;
}

// The replacement of the function in a member of RealThreads.
template <auto Member>
struct AsThread;
template <class... A, int (*RealThreads::*Member)(A...)>
struct AsThread<Member> {
  static int call(A... arguments) noexcept {
    const core::ThreadState* thread = core::tls_thread_state;
    if (thread == nullptr || thread->lent == nullptr) return (real_threads().*Member)(arguments...);
    const Outcome outcome = call_as_thread(*thread->lent, real_threads().*Member, arguments...);
    if (outcome.result < 0) errno = outcome.error;
    return outcome.result;
  }
};
template <auto Member>
Hook hook_of(const char* name) noexcept {
  return plain_hook<AsThread<Member>::call>(name);
}

}  // namespace

std::span<const Hook> user_hooks() noexcept {
  static const Hook hooks[] = {
      hook_of<&RealThreads::setuid>("setuid"),
      hook_of<&RealThreads::setgid>("setgid"),
      hook_of<&RealThreads::seteuid>("seteuid"),
      hook_of<&RealThreads::setegid>("setegid"),
      hook_of<&RealThreads::setreuid>("setreuid"),
      hook_of<&RealThreads::setregid>("setregid"),
      hook_of<&RealThreads::setresuid>("setresuid"),
      hook_of<&RealThreads::setresgid>("setresgid"),
      hook_of<&RealThreads::setgroups>("setgroups"),
      hook_of<&RealThreads::initgroups>("initgroups"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
