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
constexpr std::string_view kOutput =
    "waits inside of libc while the pipe, socket or terminal that it writes to is full: call it on "
    "a "
    "thread (to_thread) where that can happen";
constexpr std::string_view kFifos =
    "opening a FIFO waits for its other end: open it with O_NONBLOCK, or on a thread (to_thread)";
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
    {"pthread_rwlock_timedrdlock", kThreads},
    {"pthread_rwlock_timedwrlock", kThreads},
    {"pthread_rwlock_clockrdlock", kThreads},
    {"pthread_rwlock_clockwrlock", kThreads},
    {"pthread_spin_lock", kThreads},
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
    {"_ZNSt28__atomic_futex_unsigned_base19_M_futex_wait_untilEPjjb"
     "NSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE",
     kThreads},
    {"_ZNSt28__atomic_futex_unsigned_base26_M_futex_wait_until_steadyEPjjb"
     "NSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE",
     kThreads},
    {"pread", kFiles},
    {"pread64", kFiles},
    {"preadv", kFiles},
    {"pwrite", kFiles},
    {"pwrite64", kFiles},
    {"pwritev", kFiles},
    {"pwritev64", kFiles},
    {"preadv64", kFiles},
    {"preadv2", kFiles},
    {"preadv64v2", kFiles},
    {"pwritev2", kFiles},
    {"pwritev64v2", kFiles},
    {"__pread_chk", kFiles},
    {"__pread64_chk", kFiles},
    {"fsync", kFiles},
    {"fdatasync", kFiles},
    {"sync", kFiles},
    {"syncfs", kFiles},
    {"msync", kFiles},
    {"copy_file_range", kFiles},
    {"aio_suspend", kFiles},
    {"aio_suspend64", kFiles},
    {"lio_listio", kFiles},
    {"lio_listio64", kFiles},
    {"io_getevents", kFiles},
    {"fgets", kInside},
    {"fgets_unlocked", kInside},
    {"__fgets_chk", kInside},
    {"__fgets_unlocked_chk", kInside},
    {"fgetws", kInside},
    {"fgetc", kInside},
    {"fgetwc", kInside},
    {"getc", kInside},
    {"_IO_getc", kInside},
    {"getc_unlocked", kInside},
    {"getchar", kInside},
    {"getchar_unlocked", kInside},
    {"getwc", kInside},
    {"getwchar", kInside},
    {"__uflow", kInside},
    {"getline", kInside},
    {"getdelim", kInside},
    {"__getdelim", kInside},
    {"fread", kInside},
    {"fread_unlocked", kInside},
    {"__fread_chk", kInside},
    {"__fread_unlocked_chk", kInside},
    {"fscanf", kInside},
    {"vfscanf", kInside},
    {"__isoc99_fscanf", kInside},
    {"__isoc99_vfscanf", kInside},
    {"__isoc23_fscanf", kInside},
    {"__isoc23_vfscanf", kInside},
    {"scanf", kInside},
    {"vscanf", kInside},
    {"__isoc99_scanf", kInside},
    {"__isoc99_vscanf", kInside},
    {"__isoc23_scanf", kInside},
    {"__isoc23_vscanf", kInside},
    {"getpass", kInside},
    {"wordexp", kInside},
    {"getaddrinfo_a", kInside},
    {"gai_suspend", kInside},
    {"fflush", kInside},
    {"fclose", kInside},
    {"pclose", kInside},
    {"getpwnam", kInside},
    {"getpwnam_r", kInside},
    {"getpwuid", kInside},
    {"getpwuid_r", kInside},
    {"getgrnam", kInside},
    {"getgrnam_r", kInside},
    {"getgrgid", kInside},
    {"getgrgid_r", kInside},
    {"getgrouplist", kInside},
    {"getpwent", kInside},
    {"getpwent_r", kInside},
    {"getgrent", kInside},
    {"getgrent_r", kInside},
    {"getspnam", kInside},
    {"getspnam_r", kInside},
    {"getservbyport", kInside},
    {"getservbyport_r", kInside},
    {"getnetbyname", kInside},
    {"getnetbyname_r", kInside},
    {"getprotobyname", kInside},
    {"getprotobyname_r", kInside},
    {"innetgr", kInside},
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
    {"tcsendbreak", kInside},
    {"syslog", kInside},
    {"vsyslog", kInside},
    {"__syslog_chk", kInside},
    {"__vsyslog_chk", kInside},
    {"openlog", kInside},
    {"fwrite", kOutput},
    {"fwrite_unlocked", kOutput},
    {"fputs", kOutput},
    {"fputs_unlocked", kOutput},
    {"fputc", kOutput},
    {"putc", kOutput},
    {"_IO_putc", kOutput},
    {"putchar", kOutput},
    {"__overflow", kOutput},
    {"puts", kOutput},
    {"printf", kOutput},
    {"vprintf", kOutput},
    {"fprintf", kOutput},
    {"vfprintf", kOutput},
    {"dprintf", kOutput},
    {"vdprintf", kOutput},
    {"__printf_chk", kOutput},
    {"__vprintf_chk", kOutput},
    {"__fprintf_chk", kOutput},
    {"__vfprintf_chk", kOutput},
    {"__dprintf_chk", kOutput},
    {"__vdprintf_chk", kOutput},
    {"perror", kOutput},
    {"mkfifo", kFifos},
    {"mkfifoat", kFifos},
    {"sigsuspend", kSignals},
    {"sigpause", kSignals},
    {"__sigpause", kSignals},
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
