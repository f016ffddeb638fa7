#include <fiber/asyncio/subprocess.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/waiter.hpp>

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fiber::asyncio {
namespace detail {

// The child, from its start until its end is known. The loop holds a reference meanwhile.
class ProcessObject : public core::Counted<ProcessObject> {
 public:
  ProcessObject(LoopObject& loop, pid_t its_pid, UniqueFd pidfd)
      : pid(its_pid), loop_(loop), pidfd_(std::move(pidfd)) {}

  int pidfd() const noexcept { return pidfd_.get(); }
  void watch() {
    EventLoop(&loop_).add_reader(pidfd_.get(),
                                 [self = core::Ref<ProcessObject>(this)] { self->ready(); });
  }
  void wait() {
    Waiter waiter(loop_, waiters_);
    waiter.wait();
  }
  void send_signal(int signal) {
    if (returncode) raise_os_error(ESRCH, "process " + std::to_string(pid));
    if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) != 0)
      raise_os_error(errno, "process " + std::to_string(pid));
  }

  const pid_t pid;
  std::optional<int> returncode;
  core::Ref<TransportObject> stdin_transport;
  // Until its end: what they have not read by then is wanted only if somebody can ask for it.
  core::Ref<ReaderObject> stdout_reader;
  core::Ref<ReaderObject> stderr_reader;

 private:
  friend core::Counted<ProcessObject>;
  ~ProcessObject() {
    // The loop is closed, nobody will ever wait for it.
    if (!returncode && ::kill(pid, SIGKILL) == 0) reap(0);
  }

  void ready() {
    if (!reap(WNOHANG)) return;
    const core::Ref<ProcessObject> held(this);
    EventLoop(&loop_).remove_reader(pidfd_.get());
    pidfd_ = UniqueFd();
    waiters_.wake_all();
    for (core::Ref<ReaderObject>* reader : {&stdout_reader, &stderr_reader})
      if (const core::Ref<ReaderObject> ended = std::exchange(*reader, {})) ended->writer_ended();
  }

  bool reap(int flags) noexcept {
    siginfo_t info{};
    int result = 0;
    do {
      result = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | flags);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
      constexpr int kUnknown = 255;  // somebody else has waited for it
      returncode = kUnknown;
      log(LogLevel::warning,
          "Unknown child process pid " + std::to_string(pid) + ", will report returncode 255");
      return true;
    }
    if (info.si_pid == 0) return false;
    returncode = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return true;
  }

  LoopObject& loop_;
  UniqueFd pidfd_;
  WaiterList waiters_;
};

namespace {

struct Pipe {
  UniqueFd ours;
  UniqueFd theirs;
};

// Above the standard streams, which are replaced one after the other.
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

// What a standard stream of the child is made from.
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

// Arrays as exec wants them.
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

// posix_spawn does not say what has failed, the change of directory or the program.
bool is_why(const std::optional<std::string>& directory, int error) {
  if (!directory) return false;
  const std::string inside = *directory + "/.";
  return ::faccessat(AT_FDCWD, inside.c_str(), X_OK, AT_EACCESS) != 0 && errno == error;
}

Strings environment_of(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> pairs;
  for (const auto& [name, value] : variables) {
    if (name.empty() || name.find('=') != std::string::npos)
      throw ValueError("illegal environment variable name");
    pairs.push_back(name + "=" + value);
  }
  return Strings(std::move(pairs));
}

pid_t spawn(const Strings& arguments, const std::optional<Strings>& environment,
            const create_subprocess_options& options, const Pipe (&streams)[3]) {
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
  // As CPython: the child gets no other descriptors, and what we ignore it need not.
  constexpr int kFirst = 3;
  check(::posix_spawn_file_actions_addclosefrom_np(&setup.actions, kFirst),
        "posix_spawn_file_actions_addclosefrom_np");
  sigset_t defaults;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  ::sigaddset(&defaults, SIGXFSZ);
  check(::posix_spawnattr_setsigdefault(&setup.attributes, &defaults),
        "posix_spawnattr_setsigdefault");
  check(::posix_spawnattr_setflags(
            &setup.attributes,
            static_cast<short>(POSIX_SPAWN_SETSIGDEF |
                               (options.start_new_session ? POSIX_SPAWN_SETSID : 0))),
        "posix_spawnattr_setflags");
  pid_t pid = -1;
  const char* program = arguments.get()[0];
  const int error = ::posix_spawnp(&pid, program, &setup.actions, &setup.attributes,
                                   arguments.get(), environment ? environment->get() : environ);
  check(error, is_why(options.cwd, error) ? *options.cwd : program);
  return pid;
}

core::Ref<TransportObject> open_transport(LoopObject& loop, TransportObject::Kind kind,
                                          ReaderObject* reader, UniqueFd fd) {
  const core::Ref<TransportObject> transport(new TransportObject(loop, kind, reader));
  transport->open(std::move(fd));
  transport->begin();
  return transport;
}

}  // namespace

Process spawn_process(const std::vector<std::string>& command,
                      const create_subprocess_options& options) {
  if (command.empty()) throw ValueError("a command needs a program");
  const Strings arguments(command);
  std::optional<Strings> environment;
  if (options.env) environment.emplace(environment_of(*options.env));
  if (options.cwd) refuse_null_bytes(*options.cwd);
  if (options.limit == 0) throw ValueError("Limit cannot be <= 0");
  LoopObject& loop = running_loop();
  Pipe streams[3] = {open_stream(options.stdin_, STDIN_FILENO),
                     open_stream(options.stdout_, STDOUT_FILENO),
                     open_stream(options.stderr_, STDERR_FILENO)};
  const pid_t pid = spawn(arguments, environment, options, streams);
  // From here on something waits for the child, even if an exception leaves.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int error = errno;
  const core::Ref<ProcessObject> object(new ProcessObject(loop, pid, std::move(pidfd)));
  if (object->pidfd() < 0) raise_os_error(error, "pidfd_open");
  object->watch();
  if (streams[0].ours.get() >= 0)
    object->stdin_transport = open_transport(loop, TransportObject::Kind::write_pipe, nullptr,
                                             std::move(streams[0].ours));
  const auto open_reader = [&](Pipe& stream) {
    core::Ref<ReaderObject> reader;
    if (stream.ours.get() < 0) return reader;
    reader = core::Ref<ReaderObject>(new ReaderObject(loop, options.limit));
    open_transport(loop, TransportObject::Kind::read_pipe, reader.get(), std::move(stream.ours));
    return reader;
  };
  object->stdout_reader = open_reader(streams[1]);
  object->stderr_reader = open_reader(streams[2]);
  return Process(*object);
}

}  // namespace detail

// What a user holds: of the streams too, which keep the loop.
struct Process::Handle {
  explicit Handle(detail::ProcessObject& its_object) : object(&its_object) {
    if (object->stdin_transport) stdin_stream.emplace(*object->stdin_transport);
    object->stdin_transport = {};
    if (object->stdout_reader) stdout_stream.emplace(*object->stdout_reader);
    if (object->stderr_reader) stderr_stream.emplace(*object->stderr_reader);
  }
  core::Ref<detail::ProcessObject> object;
  std::optional<StreamWriter> stdin_stream;
  std::optional<StreamReader> stdout_stream;
  std::optional<StreamReader> stderr_stream;
};

Process::Process(detail::ProcessObject& object) : handle_(std::make_shared<Handle>(object)) {}

pid_t Process::pid() const noexcept { return handle_->object->pid; }
std::optional<int> Process::returncode() const noexcept { return handle_->object->returncode; }
const std::optional<StreamWriter>& Process::stdin_() const noexcept {
  return handle_->stdin_stream;
}
const std::optional<StreamReader>& Process::stdout_() const noexcept {
  return handle_->stdout_stream;
}
const std::optional<StreamReader>& Process::stderr_() const noexcept {
  return handle_->stderr_stream;
}

void Process::send_signal(int signal) const { handle_->object->send_signal(signal); }
void Process::terminate() const { send_signal(SIGTERM); }
void Process::kill() const { send_signal(SIGKILL); }

int Process::wait_now() const {
  if (!returncode()) handle_->object->wait();
  return *returncode();
}

// The tasks hold what they need: where one fails, the others run on without this call. What they
// read stays with the streams until all is there, so that whoever reads next gets it if this call
// ends early.
std::pair<std::string, std::string> Process::communicate_now(std::string input) const {
  const auto feed = [process = *this, input = std::move(input)] {
    const std::optional<StreamWriter>& stream = process.stdin_();
    if (!stream) return;
    try {
      if (!input.empty()) {
        stream->write(input);
        await(stream->drain());
      }
    } catch (const ConnectionError&) {
      // It did not want it all.
    }
    stream->close();
  };
  const auto end_of = [](const std::optional<StreamReader>& stream) {
    return [stream] {
      if (stream) stream->object().wait_for_end();
    };
  };
  await(asyncio::gather(feed, end_of(stdout_()), end_of(stderr_())));
  wait_now();
  const auto take = [](const std::optional<StreamReader>& stream) {
    return stream ? stream->object().take_all() : std::string();
  };
  std::string out = take(stdout_());
  return {std::move(out), take(stderr_())};
}

}  // namespace fiber::asyncio
