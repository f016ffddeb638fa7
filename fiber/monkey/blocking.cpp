#include <fiber/monkey/blocking.hpp>

#include <algorithm>
#include <iterator>

namespace fiber::monkey::detail {
namespace {

constexpr std::string_view kThreads =
    "waits for another thread and stops this one: keep both sides on threads (to_thread), or use "
    "asyncio's own";
constexpr std::string_view kFiles =
    "waits for a disk: call it on a thread (to_thread) if that is slow";
constexpr std::string_view kInside =
    "waits inside of libc, where nothing can be replaced: call it on a thread (to_thread)";
constexpr std::string_view kSignals = "waits for a handler to run: use loop.add_signal_handler";
constexpr std::string_view kHidden =
    "may wait, or reach functions that are not patched: see its use in the object";

constexpr Blocking kAll[] = {
    {"pthread_cond_wait", kThreads},
    {"pthread_cond_timedwait", kThreads},
    {"pthread_cond_clockwait", kThreads},
    {"pthread_join", kThreads},
    {"pthread_timedjoin_np", kThreads},
    {"pthread_clockjoin_np", kThreads},
    {"pthread_barrier_wait", kThreads},
    {"pthread_rwlock_rdlock", kThreads},
    {"pthread_rwlock_wrlock", kThreads},
    {"pthread_mutex_timedlock", kThreads},
    {"pthread_mutex_clocklock", kThreads},
    {"sem_wait", kThreads},
    {"sem_timedwait", kThreads},
    {"sem_clockwait", kThreads},
    {"cnd_wait", kThreads},
    {"cnd_timedwait", kThreads},
    {"mtx_lock", kThreads},
    {"mtx_timedlock", kThreads},
    {"thrd_join", kThreads},
    {"_ZNSt6thread4joinEv", kThreads},
    {"_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE", kThreads},
    {"pread", kFiles},
    {"pread64", kFiles},
    {"preadv", kFiles},
    {"pwrite", kFiles},
    {"pwrite64", kFiles},
    {"pwritev", kFiles},
    {"fsync", kFiles},
    {"fdatasync", kFiles},
    {"sync", kFiles},
    {"syncfs", kFiles},
    {"msync", kFiles},
    {"copy_file_range", kFiles},
    {"aio_suspend", kFiles},
    {"lio_listio", kFiles},
    {"io_getevents", kFiles},
    {"fgets", kInside},
    {"fgetc", kInside},
    {"getc", kInside},
    {"getchar", kInside},
    {"getline", kInside},
    {"getdelim", kInside},
    {"fread", kInside},
    {"fscanf", kInside},
    {"scanf", kInside},
    {"fflush", kInside},
    {"fclose", kInside},
    {"pclose", kInside},
    {"getpwnam", kInside},
    {"getpwnam_r", kInside},
    {"getpwuid", kInside},
    {"getpwuid_r", kInside},
    {"getgrnam", kInside},
    {"getgrnam_r", kInside},
    {"getgrgid_r", kInside},
    {"getservbyname", kInside},
    {"getservbyname_r", kInside},
    {"res_query", kInside},
    {"res_search", kInside},
    {"__res_query", kInside},
    {"__res_search", kInside},
    {"res_nquery", kInside},
    {"res_nsearch", kInside},
    {"tcdrain", kInside},
    {"tcflush", kInside},
    {"syslog", kInside},
    {"openlog", kInside},
    {"initgroups", kInside},
    {"sigsuspend", kSignals},
    {"syscall", kHidden},
    {"dlsym", kHidden},
    {"dlvsym", kHidden},
    {"siglongjmp",
     "out of a handler it must stay on the stack of its task: that of an alarm() which "
     "the task set does, any other may not"},
    {"vfork", "its child runs on this thread until it calls exec: calls in it block"},
};

}  // namespace

std::span<const Blocking> blocking_functions() noexcept { return kAll; }

std::string_view advice_on(std::string_view function) noexcept {
  const auto* const found =
      std::find_if(std::begin(kAll), std::end(kAll),
                   [&](const Blocking& each) { return each.function == function; });
  return found != std::end(kAll) ? found->advice : std::string_view();
}

}  // namespace fiber::monkey::detail
