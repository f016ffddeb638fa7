#include <fiber/asyncio/subprocess_protocols.hpp>

#include <fiber/asyncio/process_object.hpp>
#include <fiber/asyncio/reserved_call.hpp>

#include <algorithm>
#include <csignal>
#include <functional>

namespace fiber::asyncio {
namespace detail {

// The object behind the SubprocessTransport handles: as CPython's BaseSubprocessTransport. The
// pipes and the child's end refer to it until they are over.
class SubprocessObject final : public HandledObject<SubprocessObject>,
                               public AnyTransport,
                               private LoopDependent {
 public:
  SubprocessObject(LoopObject& loop, std::shared_ptr<BaseProtocol> protocol)
      : HandledObject(loop), LoopDependent(loop) {
    use(std::move(protocol));
    pending_->reserve(kEnds);
  }
  void start(SpawnedProcess spawned);
  // Connects the pipes; in a task.
  void connect_pipes();
  void wait() const {
    if (process_ && !process_->returncode) process_->wait();
  }

  void close() override;
  bool is_closing() const noexcept override { return closed_; }
  pid_t pid() const noexcept { return pid_; }
  std::optional<int> returncode() const noexcept { return returncode_; }
  Transport pipe(int fd) const { return fd >= 0 && fd < 3 ? pipes_[fd].transport : Transport(); }
  void send_signal(int signal) const;

  void keep() noexcept override { retain_handle(); }
  void let_go() noexcept override { release_handle(); }
  std::shared_ptr<BaseProtocol> get_protocol() const override { return protocol_; }
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override { use(std::move(protocol)); }
  SocketAddress own_address() const override { return {}; }
  SocketAddress peer_address() const override { return {}; }
  int file() const noexcept override { return -1; }

  // --- called by the pipes ---
  void pipe_made(int fd, const Transport& transport) { pipes_[fd].transport = transport; }
  void pipe_data_received(int fd, std::string_view data);
  void pipe_connection_lost(int fd, const std::exception_ptr& error);
  const std::shared_ptr<SubprocessProtocol>& protocol() const noexcept { return protocol_; }

 private:
  friend core::Counted<SubprocessObject>;
  friend HandledObject<SubprocessObject>;
  ~SubprocessObject() = default;
  using HandledObject::loop_;
  using Self = core::Ref<SubprocessObject>;
  struct End {
    UniqueFd fd = UniqueFd();
    bool wanted = false;
    bool disconnected = false;
    Transport transport = {};
  };

  void use(std::shared_ptr<BaseProtocol> protocol);
  // Calls a function of the protocol in the next iteration, or once it knows of its connection.
  void tell(std::function<void(SubprocessProtocol&)> what);
  // Calls a function by a call that was made beforehand, so that an end is reported even without
  // memory.
  void tell(ReservedCall<SubprocessObject>& end) noexcept;
  void exited();
  void tell_exited();
  void try_finish() noexcept;
  void lose();
  void loop_closed() noexcept override;

  std::shared_ptr<SubprocessProtocol> protocol_;
  core::Ref<ProcessObject> process_;
  pid_t pid_ = -1;
  std::optional<int> returncode_;
  End pipes_[3];
  struct Pending {
    std::function<void()> call;
    ReservedCall<SubprocessObject>* end = nullptr;  // in place of a call
  };
  std::optional<std::vector<Pending>> pending_{std::in_place};  // until connection_made()
  static constexpr std::size_t kEnds = 2;  // in pending_ there is always room for these
  ReservedCall<SubprocessObject> exited_{*this, &SubprocessObject::exited};
  ReservedCall<SubprocessObject> tell_exited_{*this, &SubprocessObject::tell_exited};
  ReservedCall<SubprocessObject> lose_{*this, &SubprocessObject::lose};
  bool closed_ = false;
  bool finished_ = false;
};

namespace {

// The protocol of one of the child's pipes.
class PipeProtocol final : public Protocol {
 public:
  PipeProtocol(SubprocessObject& process, int fd) : process_(&process), fd_(fd) {}
  void connection_made(const Transport& transport) override { process_->pipe_made(fd_, transport); }
  void data_received(std::string_view data) override { process_->pipe_data_received(fd_, data); }
  void connection_lost(const std::exception_ptr& error) override {
    const core::Ref<SubprocessObject> process = std::exchange(process_, {});
    process->pipe_connection_lost(fd_, error);
  }
  void pause_writing() override {
    if (const auto protocol = process_->protocol()) protocol->pause_writing();
  }
  void resume_writing() override {
    if (const auto protocol = process_->protocol()) protocol->resume_writing();
  }

 private:
  core::Ref<SubprocessObject> process_;
  int fd_;
};

}  // namespace

void SubprocessObject::use(std::shared_ptr<BaseProtocol> protocol) {
  auto its = std::dynamic_pointer_cast<SubprocessProtocol>(protocol);
  if (its == nullptr) throw TypeError("the protocol must be a SubprocessProtocol");
  protocol_ = std::move(its);
}

void SubprocessObject::start(SpawnedProcess spawned) {
  process_ = std::move(spawned.process);
  pid_ = process_->pid;
  for (int fd = 0; fd < 3; ++fd) {
    pipes_[fd].fd = std::move(spawned.streams[fd]);
    pipes_[fd].wanted = pipes_[fd].fd.get() >= 0;
  }
  process_->on_exit = [self = Self(this)] { self->exited_.post(); };
}

void SubprocessObject::connect_pipes() {
  for (int fd = 0; fd < 3; ++fd) {
    if (!pipes_[fd].wanted) continue;
    GivenDescriptor pipe(std::move(pipes_[fd].fd));
    connect_pipe(
        loop_, [&] { return std::make_shared<PipeProtocol>(*this, fd); }, pipe,
        fd == 0 ? TransportObject::Kind::write_pipe : TransportObject::Kind::read_pipe);
  }
  const EventLoop loop(&loop_);
  loop.call_soon([self = Self(this)] {
    if (const auto protocol = self->protocol_)
      protocol->connection_made(SubprocessTransport(*self));
  });
  const auto pending = std::exchange(pending_, std::nullopt);
  for (const Pending& each : *pending) {
    if (each.end != nullptr)
      each.end->post();
    else
      loop.call_soon(each.call);
  }
}

void SubprocessObject::tell(std::function<void(SubprocessProtocol&)> what) {
  std::function<void()> call = [self = Self(this), what = std::move(what)] {
    if (const auto protocol = self->protocol_) what(*protocol);
  };
  if (!pending_) {
    EventLoop(&loop_).call_soon(std::move(call));
    return;
  }
  if (pending_->capacity() < pending_->size() + 1 + kEnds)
    pending_->reserve(2 * pending_->size() + 1 + kEnds);
  pending_->push_back({std::move(call)});
}

void SubprocessObject::tell(ReservedCall<SubprocessObject>& end) noexcept {
  if (pending_)
    pending_->push_back({.call = nullptr, .end = &end});
  else
    end.post();
}

void SubprocessObject::pipe_data_received(int fd, std::string_view data) {
  tell([fd, data = std::string(data)](SubprocessProtocol& protocol) {
    protocol.pipe_data_received(fd, data);
  });
}

void SubprocessObject::pipe_connection_lost(int fd, const std::exception_ptr& error) {
  pipes_[fd].disconnected = true;
  const struct Finish {
    SubprocessObject& self;
    ~Finish() { self.try_finish(); }
  } finish{*this};
  tell([fd, error](SubprocessProtocol& protocol) { protocol.pipe_connection_lost(fd, error); });
}

void SubprocessObject::exited() {
  if (!process_) return;
  returncode_ = process_->returncode;
  tell(tell_exited_);
  try_finish();
}

void SubprocessObject::tell_exited() {
  if (const auto protocol = protocol_) protocol->process_exited();
}

void SubprocessObject::try_finish() noexcept {
  if (!returncode_ || finished_) return;
  if (std::any_of(std::begin(pipes_), std::end(pipes_),
                  [](const End& pipe) { return pipe.wanted && !pipe.disconnected; }))
    return;
  finished_ = true;
  tell(lose_);
}

void SubprocessObject::lose() {
  // Until connection_lost() has returned, get_protocol() still returns the protocol, and signals to
  // the child are ignored.
  struct Drop {
    SubprocessObject& self;
    ~Drop() {
      self.process_ = {};
      const std::shared_ptr<SubprocessProtocol> last = std::exchange(self.protocol_, nullptr);
    }
  } drop{*this};
  const std::shared_ptr<SubprocessProtocol> protocol = protocol_;
  if (protocol != nullptr) protocol->connection_lost(nullptr);
}

void SubprocessObject::close() {
  if (std::exchange(closed_, true)) return;
  for (End& pipe : pipes_) {
    pipe.fd.reset();
    if (pipe.transport) pipe.transport.close();
  }
  if (!process_ || process_->returncode) return;
  try {
    process_->send_signal(SIGKILL);
  } catch (const OSError&) {
    // The child has ended, or belongs to another user by now.
  }
}

void SubprocessObject::send_signal(int signal) const {
  if (!process_) raise_os_error(ESRCH, "process " + std::to_string(pid_));
  try {
    process_->send_signal(signal);
  } catch (const ProcessLookupError&) {
    // The child's end is about to be noted.
  }
}

void SubprocessObject::loop_closed() noexcept {
  const Self held(this);
  closed_ = finished_ = true;
  for (ReservedCall<SubprocessObject>* call : {&exited_, &tell_exited_, &lose_}) call->drop();
  pending_.reset();
  if (process_) process_->on_exit = nullptr;
  process_ = {};
  for (End& pipe : pipes_) {
    pipe.fd.reset();
    pipe.transport = Transport();
  }
  const std::shared_ptr<SubprocessProtocol> protocol = std::exchange(protocol_, nullptr);
}

SubprocessTransport make_subprocess(LoopObject& loop, const protocol_factory& factory,
                                    const std::vector<std::string>& command,
                                    const SubprocessOptions& options) {
  const core::Ref<SubprocessObject> object(new SubprocessObject(loop, factory()));
  object->start(start_process(loop, command,
                              {.stdin_ = options.stdin_,
                               .stdout_ = options.stdout_,
                               .stderr_ = options.stderr_,
                               .cwd = options.cwd,
                               .env = options.env,
                               .start_new_session = options.start_new_session}));
  SubprocessTransport transport(*object);
  try {
    asyncio::await(EventLoop(&loop).create_task([object] { object->connect_pipes(); }));
  } catch (...) {
    object->close();
    object->wait();
    throw;
  }
  return transport;
}

}  // namespace detail

// --- the handle ---------------------------------------------------------------------------------

namespace {

detail::SubprocessObject& object_of(const SubprocessTransport& transport) {
  return static_cast<detail::SubprocessObject&>(transport.object());
}

}  // namespace

SubprocessTransport::SubprocessTransport(detail::SubprocessObject& object) noexcept
    : BaseTransport(object) {}
pid_t SubprocessTransport::get_pid() const { return object_of(*this).pid(); }
std::optional<int> SubprocessTransport::get_returncode() const {
  return object_of(*this).returncode();
}
Transport SubprocessTransport::get_pipe_transport(int fd) const {
  return object_of(*this).pipe(fd);
}
void SubprocessTransport::send_signal(int signal) const { object_of(*this).send_signal(signal); }
void SubprocessTransport::terminate() const { send_signal(SIGTERM); }
void SubprocessTransport::kill() const { send_signal(SIGKILL); }

}  // namespace fiber::asyncio
