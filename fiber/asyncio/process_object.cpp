#include <fiber/asyncio/process_object.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

namespace fiber::asyncio::detail {

void ProcessObject::watch() {
  end_ = core::OwnFd(platform::open_child(pid));
  const int error = errno;
  const auto look = [self = core::Ref<ProcessObject>(this)] { self->ready(); };
  gone_ = end_.get() < 0 && error == ESRCH;
  if (gone_) {
    EventLoop(&loop_).call_soon(look);
    return;
  }
  if (end_.get() < 0) raise_os_error(error, "cannot watch process " + std::to_string(pid));
  EventLoop(&loop_).add_reader(end_.get(), look);
  loop_.selector().tell_of_loss(end_.get());
}

// Other code has closed the descriptor. If there is no other one, the loop looks again in a while.
void ProcessObject::watch_anew() {
  end_.reset();
  try {
    watch();
  } catch (const OSError&) {
    constexpr std::chrono::milliseconds kPause(100);
    EventLoop(&loop_).call_later(kPause,
                                 [self = core::Ref<ProcessObject>(this)] { self->ready(); });
  }
}

void ProcessObject::ready() {
  if (returncode) return;
  if (!reap(WNOHANG)) {
    if (!gone_ && !loop_.selector().has_reader(end_.get())) watch_anew();
    return;
  }
  const core::Ref<ProcessObject> held(this);
  if (loop_.selector().has_reader(end_.get())) EventLoop(&loop_).remove_reader(end_.get());
  end_.reset();
  waiters_.wake_all();
  for (core::Ref<ReaderObject>* reader : {&stdout_reader, &stderr_reader})
    if (const core::Ref<ReaderObject> ended = std::exchange(*reader, {})) ended->writer_ended();
  if (const std::function<void()> exited = std::exchange(on_exit, nullptr)) exited();
}

bool ProcessObject::reap(int flags) noexcept {
  siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | flags);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    constexpr int kUnknown = 255;  // other code has waited for the child
    returncode = kUnknown;
    try {
      log(LogLevel::warning,
          "Unknown child process pid " + std::to_string(pid) + ", will report returncode 255");
    } catch (const std::bad_alloc&) {
      // No memory for a report.
    }
    return true;
  }
  if (info.si_pid == 0) return false;
  returncode = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
  return true;
}

namespace {

struct Pipe {
  UniqueFd ours;
  UniqueFd theirs;
};

// Moves a descriptor above the standard streams, which are replaced one after the other.
UniqueFd above_standard(UniqueFd fd) {
  constexpr int kFirst = 3;
  if (fd.get() < 0 || fd.get() >= kFirst) return fd;
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kFirst));
  if (moved.get() < 0) raise_os_error(errno, "fcntl");
  return moved;
}

Pipe make_pipe(bool we_write) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) raise_os_error(errno, "pipe2");
  UniqueFd read(ends[0]);
  UniqueFd write(ends[1]);
  Pipe pipe;
  pipe.ours = std::move(we_write ? write : read);
  pipe.theirs = above_standard(std::move(we_write ? read : write));
  if (::fcntl(pipe.ours.get(), F_SETFL, O_NONBLOCK | (we_write ? O_WRONLY : O_RDONLY)) != 0)
    raise_os_error(errno, "fcntl");
  return pipe;
}

// Opens the pipe or file of a standard stream of the child.
Pipe open_stream(const subprocess::Redirection& redirection, int number) {
  using Kind = subprocess::Redirection::Kind;
  Pipe stream;
  switch (redirection.kind()) {
    case Kind::inherit: break;
    case Kind::pipe: stream = make_pipe(number == STDIN_FILENO); break;
    case Kind::null:
      stream.theirs = above_standard(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)));
      if (stream.theirs.get() < 0) raise_os_error(errno, "/dev/null");
      break;
    case Kind::stdout_:
      if (number != STDERR_FILENO) throw ValueError("STDOUT can only be used for stderr");
      break;
    case Kind::descriptor:
      stream.theirs = UniqueFd(::fcntl(redirection.fd(), F_DUPFD_CLOEXEC, 3));
      if (stream.theirs.get() < 0)
        raise_os_error(errno, "descriptor " + std::to_string(redirection.fd()));
      break;
  }
  return stream;
}

// Arrays of strings in the form that exec takes.
class Strings {
 public:
  explicit Strings(std::vector<std::string> strings) : strings_(std::move(strings)) {
    for (std::string& each : strings_) {
      refuse_null_bytes(each);
      pointers_.push_back(each.data());
    }
    pointers_.push_back(nullptr);
  }
  char* const* get() const noexcept { return pointers_.data(); }

 private:
  std::vector<std::string> strings_;
  std::vector<char*> pointers_;
};

void check(int error, const std::string& detail) {
  if (error != 0) raise_os_error(error, detail);
}

class SpawnSetup {
 public:
  SpawnSetup() {
    check(::posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
    check(::posix_spawnattr_init(&attributes), "posix_spawnattr_init");
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// Returns whether the directory caused the error: posix_spawn does not tell whether the change of
// directory or the start of the program has failed.
bool is_why(const std::optional<std::string>& directory, int error) {
  if (!directory) return false;
  const std::string inside = directory->empty() ? "" : *directory + "/.";
  return ::faccessat(AT_FDCWD, inside.c_str(), X_OK, AT_EACCESS) != 0 && errno == error;
}

Strings environment_of(const subprocess::Environment& variables) {
  std::vector<std::string> pairs;
  for (const auto& [name, value] : variables) {
    if (name.empty() || name.find('=') != std::string::npos)
      throw ValueError("illegal environment variable name");
    std::string& pair = pairs.emplace_back(name);
    (pair += '=') += value;
  }
  return Strings(std::move(pairs));
}

// As CPython: the child gets no other descriptors, whether they are marked to be closed or not.
void close_others(posix_spawn_file_actions_t& actions) {
  constexpr int kFirst = 3;
#if defined(FIBER_NO_CLOSEFROM)
  // Closes the descriptors that are open now; a descriptor that another thread opens meanwhile must
  // be close-on-exec.
  const auto close_in_child = [&actions](int fd) {
    const int flags = fd < kFirst ? -1 : ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
      check(::posix_spawn_file_actions_addclose(&actions, fd), "posix_spawn_file_actions_addclose");
  };
  const std::vector<platform::OpenFile> open = platform::open_files();
  for (const platform::OpenFile& file : open) close_in_child(file.number);
  if (!open.empty()) return;
  // The platform could not tell: a container may be without /proc.
  constexpr long kMost = 65536;
  const long limit = ::sysconf(_SC_OPEN_MAX);
  const int last = static_cast<int>(limit < 0 ? kMost : std::min(limit, kMost));
  for (int fd = kFirst; fd < last; ++fd) close_in_child(fd);
#else
  check(::posix_spawn_file_actions_addclosefrom_np(&actions, kFirst),
        "posix_spawn_file_actions_addclosefrom_np");
#endif
}

// As CPython: the PATH of the child's own environment counts.
std::vector<std::string> places_of(const std::string& program,
                                   const subprocess::Environment& variables) {
  std::string path = "/bin:/usr/bin";
  for (const auto& [name, value] : variables)
    if (name == "PATH") path = value;
  std::vector<std::string> places;
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t end = std::min(path.find(':', from), path.size());
    places.push_back(path.substr(from, end - from));
    if (!places.back().empty()) places.back() += '/';
    places.back() += program;
    from = end + 1;
  }
  return places;
}

pid_t spawn(const Strings& arguments, const std::optional<Strings>& environment,
            const CreateSubprocessOptions& options, const Pipe (&streams)[3]) {
  SpawnSetup setup;
  for (int number = 0; number < 3; ++number)
    if (streams[number].theirs.get() >= 0)
      check(
          ::posix_spawn_file_actions_adddup2(&setup.actions, streams[number].theirs.get(), number),
          "posix_spawn_file_actions_adddup2");
  if (options.stderr_.kind() == subprocess::Redirection::Kind::stdout_)
    check(::posix_spawn_file_actions_adddup2(&setup.actions, STDOUT_FILENO, STDERR_FILENO),
          "posix_spawn_file_actions_adddup2");
  if (options.cwd)
    check(::posix_spawn_file_actions_addchdir_np(&setup.actions, options.cwd->c_str()),
          *options.cwd);
  close_others(setup.actions);
  // As CPython: the child handles signals that this process ignores.
  sigset_t defaults;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  ::sigaddset(&defaults, SIGXFSZ);
  check(::posix_spawnattr_setsigdefault(&setup.attributes, &defaults),
        "posix_spawnattr_setsigdefault");
  int flags = POSIX_SPAWN_SETSIGDEF;
  if (options.start_new_session) flags |= POSIX_SPAWN_SETSID;
  if (const sigset_t* mask = core::mask_for_children()) {
    flags |= POSIX_SPAWN_SETSIGMASK;
    check(::posix_spawnattr_setsigmask(&setup.attributes, mask), "posix_spawnattr_setsigmask");
  }
  check(::posix_spawnattr_setflags(&setup.attributes, static_cast<short>(flags)),
        "posix_spawnattr_setflags");
  pid_t pid = -1;
  const char* program = arguments.get()[0];
  int error = ENOENT;
  if (options.env && std::strchr(program, '/') == nullptr) {
    for (const std::string& path : places_of(program, *options.env)) {
      const int failed = ::posix_spawn(&pid, path.c_str(), &setup.actions, &setup.attributes,
                                       arguments.get(), environment->get());
      // An error other than a missing file is kept: the first one is reported.
      if (failed == 0 || error == ENOENT || error == ENOTDIR) error = failed;
      if (failed == 0) break;
    }
  } else {
    error = ::posix_spawnp(&pid, program, &setup.actions, &setup.attributes, arguments.get(),
                           environment ? environment->get() : environ);
  }
  const std::string why = is_why(options.cwd, error) ? *options.cwd : program;
  check(error, why.empty() ? "''" : why);
  return pid;
}

}  // namespace

SpawnedProcess start_process(LoopObject& loop, const std::vector<std::string>& command,
                             const CreateSubprocessOptions& options) {
  if (command.empty()) throw ValueError("the command is empty: its first string names the program");
  const Strings arguments(command);
  std::optional<Strings> environment;
  if (options.env) environment.emplace(environment_of(*options.env));
  if (options.cwd) refuse_null_bytes(*options.cwd);
  Pipe streams[3] = {open_stream(options.stdin_, STDIN_FILENO),
                     open_stream(options.stdout_, STDOUT_FILENO),
                     open_stream(options.stderr_, STDERR_FILENO)};
  SpawnedProcess spawned;
  spawned.process = core::Ref<ProcessObject>(new ProcessObject(loop));
  spawned.process->started(spawn(arguments, environment, options, streams));
  for (int number = 0; number < 3; ++number)
    spawned.streams[number] = std::move(streams[number].ours);
  return spawned;
}

}  // namespace fiber::asyncio::detail
