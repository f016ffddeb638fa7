// Loaded into a program by fiber-run, before all others: main() becomes a task.
//
// The program must not notice. So the loop has descriptors of high numbers, no signal is handled
// here, signals interrupt the task's calls, its stack is as large as the program's own would be,
// and the environment is as it was. When main() returns, the task calls exit(), and does not come
// back to the loop: in a forked child process the loop could not go on.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/core/stack.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/monkey.hpp>
#include <fiber/monkey/interruptions.hpp>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <string_view>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

namespace asyncio = fiber::asyncio;

using Main = int (*)(int, char**, char**);
Main main_of_program = nullptr;

// Returns whether there is so much room for a stack. Only touched pages take memory, but the
// address space, or what the kernel promises in all, may be limited (ulimit -v, overcommit).
bool is_room_for(std::size_t size) noexcept {
  void* place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return place != MAP_FAILED && ::munmap(place, size) == 0;
}

std::size_t stack_size() noexcept {
  constexpr std::size_t kUsual = 8U << 20U;
  constexpr std::size_t kMost = 1U << 30U;
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0) return kUsual;
  // RLIM_INFINITY is the largest number.
  auto size = static_cast<std::size_t>(std::clamp<rlim_t>(limit.rlim_cur, kUsual, kMost));
  // Twice: the program wants memory, too.
  while (size > kUsual && !is_room_for(2 * size)) size = std::max(size / 2, kUsual);
  return size;
}

// Returns a number above the ones that programs expect for their next descriptors.
int first_descriptor() noexcept {
  constexpr rlim_t kFew = 16;
  constexpr rlim_t kMost = 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t end = std::min(limit.rlim_cur, kMost);
  return end > 2 * kFew ? static_cast<int>(end - kFew) : 0;
}

// Takes this library out of LD_PRELOAD, which begins with it. The array itself is changed: setenv()
// may be the program's own, as bash's is.
void restore_environment(char** environment) {
  constexpr std::string_view kChildren = "FIBER_RUN_CHILDREN=";
  constexpr std::string_view kPreload = "LD_PRELOAD=";
  const auto begins = [](const char* entry, std::string_view with) {
    return std::strncmp(entry, with.data(), with.size()) == 0;
  };
  for (char** at = environment; *at != nullptr; ++at)
    if (begins(*at, kChildren)) return;
  for (char** at = environment; *at != nullptr; ++at) {
    if (!begins(*at, kPreload)) continue;
    char* const value = *at + kPreload.size();
    if (const char* rest = std::strchr(value, ':')) {
      std::memmove(value, rest + 1, std::strlen(rest + 1) + 1);
    } else {
      for (char** next = at; *next != nullptr; ++next) *next = next[1];
    }
    return;
  }
}

// The stack on which main() runs. Collectors of garbage and limits of depth ask for it.
struct StackOfMain {
  pthread_t thread{};
  void* begin = nullptr;
  std::size_t size = 0;
};
StackOfMain stack_of_main;

// To be called in the task.
void note_stack() noexcept {
  fiber::core::Stack& its = *fiber::getcurrent().object()->stack;
  stack_of_main = {.thread = ::pthread_self(),
                   .begin = its.base,
                   .size = static_cast<std::size_t>(its.top() - its.base)};
}

// The program's dispositions of the signals for which handlers of stack overflows are installed.
class Dispositions {
 public:
  Dispositions() noexcept {
    for (std::size_t i = 0; i < std::size(kSignals); ++i)
      ::sigaction(kSignals[i], nullptr, &actions_[i]);
  }
  void restore() const noexcept {
    for (std::size_t i = 0; i < std::size(kSignals); ++i)
      ::sigaction(kSignals[i], &actions_[i], nullptr);
  }

 private:
  static constexpr int kSignals[] = {SIGSEGV, SIGBUS};
  struct sigaction actions_[std::size(kSignals)];
};

// Calls main(). An exception that leaves main() ends the program, as it does elsewhere; but
// pthread_exit() and pthread_cancel(), which unwind the stack, end the thread alone. The loop ends
// with the thread, and would log its own end.
int call_main(int count, char** arguments, char** environment) {
  try {
    return main_of_program(count, arguments, environment);
  } catch (const fiber::detail::forced_unwind&) {
    asyncio::set_log_handler([](const asyncio::LogRecord&) {});
    throw;
  } catch (...) {
    std::terminate();
  }
}

int run_main(int count, char** arguments, char** environment) {
  try {
    restore_environment(environment);
    const Dispositions dispositions;
    const int first = first_descriptor();
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    asyncio::detail::Selector::leave_below(first);
    fiber::monkey::patch_all();
    const auto body = [=] {
      fiber::monkey::detail::let_signals_interrupt(asyncio::detail::current_task_or_null(), first);
      dispositions.restore();
      note_stack();
      std::exit(call_main(count, arguments, environment));
    };
    loop.run_until_complete(loop.create_task(body, {.name = "main", .stack_size = stack_size()}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fiber-run: cannot run the program in a task: %s\n", error.what());
  }
  return 125;
}

}  // namespace

// Runs main() in a task; the program's entry calls this function for main().
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): glibc's name
extern "C" [[gnu::visibility("default")]] int __libc_start_main(Main main, int count,
                                                                char** arguments, void (*begin)(),
                                                                void (*end)(), void (*linker_end)(),
                                                                void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  const auto start = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  main_of_program = main;
  return start(run_main, count, arguments, begin, end, linker_end, stack_end);
}

// Replaces libc's function: as the stack of main()'s thread it reports the task's.
extern "C" [[gnu::visibility("default")]] int pthread_getattr_np(
    pthread_t thread, pthread_attr_t* attributes) noexcept {
  using Get = int (*)(pthread_t, pthread_attr_t*);
  static const auto get = reinterpret_cast<Get>(::dlsym(RTLD_NEXT, "pthread_getattr_np"));
  const int error = get(thread, attributes);
  if (error != 0 || stack_of_main.size == 0 || ::pthread_equal(thread, stack_of_main.thread) == 0)
    return error;
  return ::pthread_attr_setstack(attributes, stack_of_main.begin, stack_of_main.size);
}
