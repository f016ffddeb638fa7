#include <fiber/asyncio/subprocess.hpp>

#include <fiber/asyncio/process_object.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <csignal>

#include <unistd.h>

namespace fiber::asyncio {
namespace detail {
namespace {

// The transports of a child's streams. Discards them unless all have been opened.
class Transports {
 public:
  explicit Transports(LoopObject& loop) noexcept : loop_(loop) {}
  Transports(const Transports&) = delete;
  Transports& operator=(const Transports&) = delete;
  ~Transports() {
    for (const core::Ref<TransportObject>& transport : all_)
      if (transport) transport->discard();
  }
  core::Ref<TransportObject> open(int number, TransportObject::Kind kind, ReaderObject* reader,
                                  UniqueFd fd) {
    core::Ref<TransportObject> transport(new TransportObject(loop_, kind, reader));
    transport->open(std::move(fd));
    all_[number] = transport;
    transport->begin();
    return transport;
  }
  void keep() noexcept {
    for (core::Ref<TransportObject>& transport : all_) transport = nullptr;
  }

 private:
  LoopObject& loop_;
  core::Ref<TransportObject> all_[3];
};

}  // namespace

Process spawn_process(const std::vector<std::string>& command,
                      const CreateSubprocessOptions& options) {
  if (options.limit == 0) throw ValueError("Limit cannot be <= 0");
  LoopObject& loop = running_loop();
  SpawnedProcess spawned = start_process(loop, command, options);
  const core::Ref<ProcessObject>& object = spawned.process;
  UniqueFd(&streams)[3] = spawned.streams;
  Transports transports(loop);
  if (streams[0].get() >= 0)
    object->stdin_transport =
        transports.open(0, TransportObject::Kind::write_pipe, nullptr, std::move(streams[0]));
  const auto open_reader = [&](int number) {
    core::Ref<ReaderObject> reader;
    if (streams[number].get() < 0) return reader;
    reader = core::Ref<ReaderObject>(new ReaderObject(loop, options.limit));
    transports.open(number, TransportObject::Kind::read_pipe, reader.get(),
                    std::move(streams[number]));
    return reader;
  };
  object->stdout_reader = open_reader(1);
  object->stderr_reader = open_reader(2);
  Process process(*object);
  transports.keep();
  return process;
}

}  // namespace detail

// The state behind a user's handle, which also holds the handles of the streams; these keep the
// loop.
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

Process::Handle& Process::handle() const {
  if (handle_ == nullptr) throw ValueError("this Process was moved from");
  return *handle_;
}

pid_t Process::pid() const { return handle().object->pid; }
std::optional<int> Process::returncode() const { return handle().object->returncode; }
const std::optional<StreamWriter>& Process::stdin_() const { return handle().stdin_stream; }
const std::optional<StreamReader>& Process::stdout_() const { return handle().stdout_stream; }
const std::optional<StreamReader>& Process::stderr_() const { return handle().stderr_stream; }

void Process::send_signal(int signal) const { handle().object->send_signal(signal); }
void Process::terminate() const { send_signal(SIGTERM); }
void Process::kill() const { send_signal(SIGKILL); }

int Process::wait_now() const {
  if (!returncode()) handle().object->wait();
  return *returncode();
}

// The tasks own everything they need: if one fails, the others run on without this call. The
// streams keep the bytes until the end has come, so that a later reader gets them if this call ends
// early.
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
      // The child did not read all of the input.
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
