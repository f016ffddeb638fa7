// A TransportObject with a protocol above it in place of a stream's reader.
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/protocol_side.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>
#include <fiber/platform/thread.hpp>

#include <cerrno>
#include <functional>
#include <new>
#include <utility>

#include <poll.h>

namespace fiber::asyncio::detail {

namespace {

// Returns whether a read would return: input, the end, or an error.
bool input_waits(int fd) noexcept {
  const platform::Uncancelled guard;
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, 0) != 0;
}

}  // namespace

void TransportObject::speak_to(std::shared_ptr<BaseProtocol> protocol) {
  auto side = core::make_owner<ProtocolSide>(std::move(protocol));
  make_hub_steps();
  for (const Step* step : {&begin_step_, &read_step_, &write_step_, &lost_step_})
    if (step->on_hub->context == nullptr) prepare(step->on_hub);
  side_ = std::move(side);
}

void TransportObject::take_context(Step& step) noexcept {
  if (side_ == nullptr) return;
  try {
    prepare(step.on_hub);
  } catch (const std::bad_alloc&) {
    // The context of its last use stays.
  }
}

std::shared_ptr<BaseProtocol> TransportObject::get_protocol() const {
  return side_ != nullptr ? side_->get() : nullptr;
}

void TransportObject::set_protocol(std::shared_ptr<BaseProtocol> protocol) {
  if (side_ != nullptr)
    side_->set(std::move(protocol));
  else
    speak_to(std::move(protocol));
}

void TransportObject::fed_by_protocol(ReaderObject& reader, bool serves) noexcept {
  fed_reader_ = core::Ref<ReaderObject>(&reader);
  serves_ = serves;
}

bool TransportObject::is_reading() const noexcept { return !is_closing() && !user_paused_; }

void TransportObject::pause_by_user() {
  if (is_reading()) pause_reading();
}

void TransportObject::resume_by_user() {
  if (is_closing() || !user_paused_) return;
  take_context(read_step_);
  resume_reading();
}

void TransportObject::resume_receiving() {
  paused_ = false;
  // As CPython: a protocol that has kept the connection open is told of the end again.
  if (side_ != nullptr && layer_ == nullptr) read_ended_ = false;
  // Readiness for data that was not read, or whose read was called off, is reported again.
  if (reading() && (readable_ || input_waits(descriptor()))) loop_.selector().again(*this);
}

// Begins in a step: whatever the outcome of the call, reading begins after it.
void TransportObject::begin_protocol() {
  struct Rest {
    TransportObject& self;
    ~Rest() {
      self.begun_ = true;
      if (self.readable_ && self.reading()) self.loop_.selector().again(self);
      if (self.begin_waiter_ != nullptr) self.begin_waiter_->wake();
    }
  } rest{*this};
  side_->connection_made(*this);
}

// Ends the connection. As CPython: an OSError comes from the other side, other errors are reported.
void TransportObject::fatal_error(const std::exception_ptr& error, const char* message) {
  bool reported = true;
  try {
    std::rethrow_exception(error);
  } catch (const OSError& os) {
    reported = kind_ == Kind::read_pipe && os.error_number() != EIO;
  } catch (...) {
    // Another error: not from the connection.
  }
  if (reported) loop_.errors().report_failure(message, {.exception = error});
  force_close(error);
}

bool TransportObject::calls(const std::function<void()>& function, const char* message) {
  return call_guarded(function,
                      [&](const std::exception_ptr& error) { fatal_error(error, message); });
}

// Notes whether a read has emptied the socket: for a stream of bytes, if it returned less than
// there was room for; a new edge comes with new data. Where a read does not tell, the kernel is
// asked: a read on trial would find later data one iteration before its turn.
void TransportObject::note_received(std::size_t got, std::size_t room) noexcept {
  const bool all = got < room && byte_stream_ && !hangup_ && !urgent_;
  readable_ = !all && input_waits(descriptor());
}

void TransportObject::read_for_protocol() {
  const bool buffered = side_->buffered();
  // The protocol is asked for memory only if there is data to put there.
  if (buffered && !byte_stream_ && !input_waits(descriptor())) {
    readable_ = hangup_ = urgent_ = false;
    return;
  }
  const ReadBuffer memory;
  ReceiveBuffer to{.memory = memory.span()};
  if (buffered && !calls([&] { to = side_->get_buffer(-1); },
                         "Fatal error: protocol.get_buffer() call failed."))
    return;
  if (descriptor() < 0) return;
  std::ptrdiff_t count = 0;
  {
    const platform::Uncancelled guard;
    count = receive(to.memory.data(), to.memory.size());
  }
  if (count == 0) {
    read_ended_ = true;
    protocol_reads_end();
  } else if (count < 0) {
    if (would_block(errno))
      readable_ = hangup_ = urgent_ = false;
    else if (errno == EINTR)
      loop_.selector().again(*this);
    else
      fatal_error(os_error(errno), kind_ == Kind::socket ? "Fatal read error on socket transport"
                                                         : "Fatal read error on pipe transport");
  } else {
    const auto got = static_cast<std::size_t>(count);
    note_received(got, to.memory.size());
    if (readable_) loop_.selector().again(*this);
    // A lambda by reference: a std::function of that size would need memory.
    const auto give = [&] { side_->data_received({to.memory.data(), got}); };
    if (buffered)
      calls([&] { side_->buffer_updated(got); },
            "Fatal error: protocol.buffer_updated() call failed.");
    else if (kind_ == Kind::socket)
      calls(std::ref(give), "Fatal error: protocol.data_received() call failed.");
    else
      give();
  }
}

// Ends the connection: without another edge, unread data would never be read.
void TransportObject::read_without_memory() {
  fatal_error(std::current_exception(), kind_ == Kind::socket
                                            ? "Fatal read error on socket transport"
                                            : "Fatal read error on pipe transport");
}

void TransportObject::protocol_reads_end() {
  if (kind_ == Kind::socket) {
    bool keep_open = false;
    if (calls([&] { keep_open = side_->eof_received(); },
              "Fatal error: protocol.eof_received() call failed.") &&
        !keep_open)
      finish();
    return;
  }
  if (closing_) return;
  closing_ = true;
  ++refused_;
  // Of the protocol of now, though another may be set before the call: as CPython's bound method.
  EventLoop(&loop_).call_soon([side = *side_] { side.eof_received(); });
  take_context(lost_step_);
  post(lost_step_);
}

void TransportObject::wait_sent() {
  if (!lost_ && !out_.empty()) {
    Waiter waiter(loop_, sent_waiters_);
    waiter.wait();
  }
  // Also lost after the last byte was sent, before the task goes on.
  if (lost_) throw ConnectionError("Connection is closed by peer");
}

// Tells the protocol, and drops it, since it may hold the transport.
void TransportObject::tell_protocol_of_loss() {
  struct Drop {
    ProtocolSide& side;
    ~Drop() { side.drop(); }
  } drop{*side_};
  side_->connection_lost(error_);
}

}  // namespace fiber::asyncio::detail
