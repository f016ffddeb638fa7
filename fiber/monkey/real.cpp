#include <fiber/monkey/real.hpp>

#include <string>
#include <type_traits>

#include <dlfcn.h>
#include <sys/auxv.h>

namespace fiber::monkey::detail {
namespace {

// A pointer to the function of a name, or else of another name; converts to any function type.
class Symbol {
 public:
  Symbol(const char* name, const char* other) : Symbol(name) {
    if (address_ == nullptr) address_ = Symbol(other).address_;
  }
  explicit Symbol(const char* name) : address_(find_symbol(name)) {
    if (address_ != nullptr) return;
    if (void* libc = ::dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD)) {
      address_ = ::dlsym(libc, name);
      ::dlclose(libc);
    }
  }
  template <class F>
    requires std::is_function_v<F>
  operator F*() const {  // NOLINT(google-explicit-constructor)
    return reinterpret_cast<F*>(address_);
  }

 private:
  void* address_;
};

Real find_all() {
  return {
      .read = Symbol("read"),
      .write = Symbol("write"),
      .readv = Symbol("readv"),
      .writev = Symbol("writev"),
      .pread = Symbol("pread64", "pread"),
      .pwrite = Symbol("pwrite64", "pwrite"),
      .preadv = Symbol("preadv64", "preadv"),
      .pwritev = Symbol("pwritev64", "pwritev"),
      .preadv2 = Symbol("preadv64v2", "preadv2"),
      .pwritev2 = Symbol("pwritev64v2", "pwritev2"),
      .fsync = Symbol("fsync"),
      .fdatasync = Symbol("fdatasync"),
      .syncfs = Symbol("syncfs"),
      .sync = Symbol("sync"),
      .msync = Symbol("msync"),
      .copy_file_range = Symbol("copy_file_range"),
      .sendfile = Symbol("sendfile64", "sendfile"),
      .splice = Symbol("splice"),
      .tee = Symbol("tee"),
      .vmsplice = Symbol("vmsplice"),
      .recv = Symbol("recv"),
      .recvfrom = Symbol("recvfrom"),
      .recvmsg = Symbol("recvmsg"),
      .recvmmsg = Symbol("recvmmsg"),
      .send = Symbol("send"),
      .sendto = Symbol("sendto"),
      .sendmsg = Symbol("sendmsg"),
      .sendmmsg = Symbol("sendmmsg"),
      .accept = Symbol("accept"),
      .accept4 = Symbol("accept4"),
      .connect = Symbol("connect"),
      .close = Symbol("close"),
      .dup2 = Symbol("dup2"),
      .dup3 = Symbol("dup3"),
      .poll = Symbol("poll"),
      .ppoll = Symbol("ppoll"),
      .select = Symbol("select"),
      .pselect = Symbol("pselect"),
      .epoll_wait = Symbol("epoll_wait"),
      .epoll_pwait = Symbol("epoll_pwait"),
      .epoll_pwait2 = Symbol("epoll_pwait2"),
      .sleep = Symbol("sleep"),
      .usleep = Symbol("usleep"),
      .nanosleep = Symbol("nanosleep"),
      .clock_nanosleep = Symbol("clock_nanosleep"),
      .sched_yield = Symbol("sched_yield"),
      .wait4 = Symbol("wait4"),
      .waitid = Symbol("waitid"),
      .system = Symbol("system"),
      .sigtimedwait = Symbol("sigtimedwait"),
      .sigwait = Symbol("sigwait"),
      .flock = Symbol("flock"),
      .fcntl = Symbol("fcntl64", "fcntl"),
      .lockf = Symbol("lockf64", "lockf"),
      .mq_timedreceive = Symbol("mq_timedreceive"),
      .mq_timedsend = Symbol("mq_timedsend"),
      .msgrcv = Symbol("msgrcv"),
      .msgsnd = Symbol("msgsnd"),
      .semtimedop = Symbol("semtimedop"),
      .getaddrinfo = Symbol("getaddrinfo"),
      .getnameinfo = Symbol("getnameinfo"),
      .gethostbyname_r = Symbol("gethostbyname_r"),
      .gethostbyname2_r = Symbol("gethostbyname2_r"),
      .gethostbyaddr_r = Symbol("gethostbyaddr_r"),
      .dlopen = Symbol("dlopen"),
      .alarm = Symbol("alarm"),
      .setitimer = Symbol("setitimer"),
      .getitimer = Symbol("getitimer"),
      .pause = Symbol("pause"),
      .closefrom = Symbol("closefrom"),
      .close_range = Symbol("close_range"),
      .fgetc = Symbol("fgetc"),
      .getc_unlocked = Symbol("getc_unlocked"),
      .uflow = Symbol("__uflow"),
      .fgets = Symbol("fgets"),
      .fgets_unlocked = Symbol("fgets_unlocked"),
      .getdelim = Symbol("getdelim"),
      .fread = Symbol("fread"),
      .fread_unlocked = Symbol("fread_unlocked"),
      .pclose = Symbol("pclose"),
      .syscall = Symbol("syscall"),
      .mutex_lock = Symbol("pthread_mutex_lock"),
      .mutex_trylock = Symbol("pthread_mutex_trylock"),
      .mutex_unlock = Symbol("pthread_mutex_unlock"),
      .read_chk = Symbol("__read_chk"),
      .pread_chk = Symbol("__pread64_chk", "__pread_chk"),
      .fgets_chk = Symbol("__fgets_chk"),
      .fread_chk = Symbol("__fread_chk"),
      .recv_chk = Symbol("__recv_chk"),
      .recvfrom_chk = Symbol("__recvfrom_chk"),
      .poll_chk = Symbol("__poll_chk"),
      .ppoll_chk = Symbol("__ppoll_chk"),
      .fopen = Symbol("fopen64", "fopen"),
      .open = Symbol("open64", "open"),
      .openat = Symbol("openat64", "openat"),
  };
}

}  // namespace

void* find_symbol(const char* name) noexcept {
  void* found = ::dlsym(RTLD_DEFAULT, name);
  Dl_info where{};
  Dl_info program{};
  if (found == nullptr || ::dladdr(found, &where) == 0) return found;
  // The program headers identify the program.
  if (::dladdr(reinterpret_cast<void*>(::getauxval(AT_PHDR)), &program) == 0 ||
      where.dli_fbase != program.dli_fbase)
    return found;
  // A sanitizer that is linked into the program may stand in front of libc.
  const std::string interceptor = "__interceptor_" + std::string(name);
  return ::dlsym(RTLD_DEFAULT, interceptor.c_str()) != nullptr ? found : nullptr;
}

const Real& real() {
  static const Real all = find_all();
  return all;
}

}  // namespace fiber::monkey::detail
