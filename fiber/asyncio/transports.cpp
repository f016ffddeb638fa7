#include <fiber/asyncio/transports.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/protocol_side.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/platform/socket.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <new>
#include <tuple>

#include <sys/socket.h>
#include <unistd.h>

namespace fiber::asyncio::detail {
template <void (TransportObject::*Action)()>
void TransportObject::run_step(Leaf* leaf) noexcept {
  auto* step = static_cast<Step*>(leaf);
  TransportObject* self = step->self;
  step->queued = false;
  self->loop_.ready_queue().claim_again();
  const platform::Uncancelled guard;
  try {
    (self->*Action)();
  } catch (...) {
    self->force_close(std::current_exception());  // no memory for the received data
  }
  self->release();
}

TransportObject::TransportObject(LoopObject& loop, Kind kind, ReaderObject* reader)
    : HandledObject(loop), kind_(kind), reader_(reader) {
  loop.ready_queue().claim(kSteps);
  for (Step* step : {&begin_step_, &read_step_, &write_step_, &lost_step_}) step->self = this;
  begin_step_.run = &run_step<&TransportObject::begin>;
  read_step_.run = &run_step<&TransportObject::read_step>;
  write_step_.run = &run_step<&TransportObject::write_step>;
  lost_step_.run = &run_step<&TransportObject::lose>;
  if (reader_ != nullptr) reader_->retain();
}

TransportObject::~TransportObject() {
  loop_.ready_queue().give_back(kSteps);
  for (Step* step : {&begin_step_, &read_step_, &write_step_, &lost_step_})
    if (step->on_hub != nullptr) step->on_hub->release();
  if (attached_) loop_.selector().forget(*this);
  if (reader_ != nullptr) {
    reader_->set_source(nullptr);
    reader_->release();
  }
}

void TransportObject::post(Step& step) noexcept {
  if (step.queued) return;
  // A layer, or a protocol, calls the user's functions: these need the loop's own stack.
  if (step.on_hub != nullptr) {
    step.on_hub->retain();
    loop_.push(Entry(step.on_hub));
  } else {
    loop_.push(Entry(static_cast<Leaf*>(&step)));
  }
  step.queued = true;
  retain();
}

// --- beginning and end --------------------------------------------------------------------------

void TransportObject::open(UniqueFd&& fd, std::optional<bool> plain_tcp) {
  may_be_always_ready_ = outlives_peer;
  loop_.selector().watch(*this, fd.get());
  // On other sockets a read may stop after one packet, the bytes of one sender, before a descriptor
  // that is passed along, or after one record of a layer above TCP.
  byte_stream_ = kind_ == Kind::socket &&
                 (plain_tcp.has_value() ? *plain_tcp : platform::is_plain_tcp(fd.get()));
  static_cast<void>(fd.release());
  attached_ = true;
  retain();
}

namespace {

// Puts the waiter in its place while it waits. Once woken, another waiter may take the place before
// it goes on.
class Placed {
 public:
  Placed(Waiter*& place, Waiter& waiter) : place_(place), waiter_(waiter) { place_ = &waiter; }
  ~Placed() {
    if (place_ == &waiter_) place_ = nullptr;
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;

 private:
  Waiter*& place_;
  Waiter& waiter_;
};

}  // namespace

void TransportObject::wait_connected() {
  Waiter waiter(loop_);
  {
    const Placed placed(connect_waiter_, waiter);
    waiter.wait();
  }
  end_connect(descriptor(), peername);
}

void TransportObject::begin() {
  begun_ = true;
  if (layer_ != nullptr) {
    layer_->begin();
    return;
  }
  if (side_ != nullptr) {
    begin_protocol();
    return;
  }
  if (reader_ != nullptr) reader_->set_source(this);
  if (readable_ && reading()) loop_.selector().again(*this);
  if (begin_waiter_ != nullptr) begin_waiter_->wake();
}

void TransportObject::wait_begun() {
  Waiter waiter(loop_);
  const Placed placed(begin_waiter_, waiter);
  waiter.wait();
}

void TransportObject::discard() noexcept {
  const int fd = descriptor();
  if (fd < 0) return;
  closing_ = lost_ = stream_lost_ = true;
  refused_ = 1;
  const platform::Uncancelled guard;
  if (loop_.selector().unwatch(*this)) ::close(fd);
  release();
}

void TransportObject::detached(int fd) noexcept {
  const core::Ref<TransportObject> self(this);  // the layer may drop the last reference
  const platform::Uncancelled guard;
  attached_ = false;
  closing_ = stream_lost_ = true;
  const bool open = !std::exchange(lost_, true);
  refused_ = 1;
  if (layer_ != nullptr) layer_->detached();
  if (side_ != nullptr) side_->drop();
  if (reader_ != nullptr) reader_->set_source(nullptr);
  if (server != nullptr) server->detach(*this);
  std::uint32_t given_up = 0;
  for (Step* step : {&begin_step_, &read_step_, &write_step_, &lost_step_})
    given_up += std::exchange(step->queued, false) ? 1 : 0;
  if (fd >= 0) ::close(fd);
  if (open) ++given_up;
  release(given_up);
}

void TransportObject::lost_descriptor() noexcept { force_close(os_error(EBADF)); }

void TransportObject::close() {
  if (layer_ == nullptr) {
    finish();
    return;
  }
  const platform::Uncancelled guard;
  try {
    layer_->close();
  } catch (...) {
    layer_->fail(std::current_exception());  // no memory for the closing message
  }
}

void TransportObject::abort() {
  if (layer_ != nullptr)
    layer_->abort();
  else
    force_close(nullptr);
}

void TransportObject::finish() {
  if (closing_) return;
  closing_ = true;
  if (!out_.empty()) return;  // the last write step closes
  ++refused_;
  take_context(lost_step_);
  post(lost_step_);
}

void TransportObject::force_close(std::exception_ptr error) {
  if (refused_ != 0) return;
  out_.clear();
  closing_ = true;
  ++refused_;
  error_ = std::move(error);
  take_context(lost_step_);
  post(lost_step_);
}

void TransportObject::lose() {
  if (!lost_)
    socket_lost();
  else if (losing_stream_)
    stream_lost();
}

void TransportObject::socket_lost() {
  lost_ = true;
  refused_ = std::max(refused_, 1);
  // Runs whatever the protocol throws.
  struct End {
    TransportObject& self;
    ~End() {
      const int fd = self.descriptor();
      const platform::Uncancelled guard;
      const bool is_its_file = self.loop_.selector().unwatch(self);
      if (is_its_file || self.lent_to_sendfile) self.loop_.selector().closing(fd);
      if (is_its_file) ::close(fd);
      if (self.server != nullptr) self.server->detach(self);
      self.release();
    }
  } end{*this};
  if (layer_ != nullptr)
    tell_of_loss();
  else
    stream_lost();
}

void TransportObject::stream_lost() {
  if (std::exchange(stream_lost_, true)) return;
  if (reader_ != nullptr) {
    reader_->set_source(nullptr);
    if (error_)
      reader_->set_exception(error_);
    else
      reader_->feed_eof();
  }
  close_waiters_.wake_all(error_);
  if (drain_waits_) drain_waiters_.wake_all(error_);
  if (!sent_waiters_.empty())
    sent_waiters_.wake_all(
        fiber::detail::error_from([] { return ConnectionError("Connection is closed by peer"); }));
  if (side_ != nullptr) tell_protocol_of_loss();
}

void TransportObject::wait_closed() {
  if (!stream_lost_) {
    Waiter waiter(loop_, close_waiters_);
    waiter.wait();
  } else if (error_) {
    std::rethrow_exception(error_);
  }
}

// --- readiness ----------------------------------------------------------------------------------

void TransportObject::ready(Readiness readiness) {
  if (readiness.hangup) hangup_ = true;
  if (readiness.urgent) urgent_ = true;
  if (readiness.readable) {
    readable_ = true;
    if (reading()) post(read_step_);
  }
  if (readiness.writable && (!out_.empty() || connect_waiter_ != nullptr)) post(write_step_);
}

Watch::Readiness TransportObject::used_up() const noexcept {
  return {.readable = !readable_ && !read_ended_,
          .writable = !out_.empty() || connect_waiter_ != nullptr};
}

// Pauses for the reader or the user: resuming does not ask which of them has paused.
void TransportObject::pause_reading() {
  user_paused_ = true;
  if (layer_ != nullptr) {
    layer_->pause_receiving();
    return;
  }
  paused_ = true;
  // A read whose turn has not come yet is called off, even if reading resumes before that.
  if (read_step_.queued) readable_ = false;
}

void TransportObject::resume_reading() {
  user_paused_ = false;
  if (layer_ != nullptr)
    layer_->resume_receiving();
  else
    resume_receiving();
}

// In a step, which is not cancelled.
std::ptrdiff_t TransportObject::receive(char* to, std::size_t size) noexcept {
  if (kind_ == Kind::socket) return ::recv(descriptor(), to, size, 0);
  return ::read(descriptor(), to, size);
}

void TransportObject::read_step() {
  if (!reading() || !readable_) return;
  try {
    read();
  } catch (const std::bad_alloc&) {
    read_without_memory();
  }
}

void TransportObject::read() {
  if (kind_ == Kind::write_pipe) {  // the other side of the pipe was closed
    if (hangup_ && !outlives_peer) force_close(out_.empty() ? nullptr : os_error(EPIPE));
    return;
  }
  if (side_ != nullptr && layer_ == nullptr) {
    read_for_protocol();
    return;
  }
  constexpr std::size_t kWorthwhile = 16 * 1024;
  const std::span<char> direct = above_ != nullptr ? std::span<char>() : reader_->direct();
  const bool directly = direct.size() >= kWorthwhile;
  char* to = directly ? direct.data() : loop_.selector().scratch();
  const std::size_t size = directly ? direct.size() : Selector::kScratchSize;
  const std::ptrdiff_t count = receive(to, size);
  if (count > 0) {
    const auto got = static_cast<std::size_t>(count);
    note_received(got, size);
    if (above_ != nullptr)
      above_->data_received({to, got});
    else if (directly)
      reader_->fed_directly(got);
    else
      reader_->feed_data({to, got});
    if (readable_ && reading()) loop_.selector().again(*this);
  } else if (count == 0) {
    read_ended_ = true;
    if (above_ != nullptr) {
      if (!above_->eof_received()) finish();
    } else if (kind_ == Kind::read_pipe) {
      close();
    } else {
      reader_->feed_eof();
    }
  } else if (would_block(errno)) {
    readable_ = hangup_ = urgent_ = false;
  } else if (errno == EINTR) {
    loop_.selector().again(*this);
  } else {
    force_close(os_error(errno));
  }
}

// --- writing ------------------------------------------------------------------------------------

// Sends until everything is sent (and `data` empty) or sending would block. Returns false if the
// connection failed.
bool TransportObject::send_some(std::string_view& data) {
  while (!data.empty()) {
    std::ptrdiff_t count = 0;
    if (kind_ == Kind::socket) {
      count = ::send(descriptor(), data.data(), data.size(), MSG_NOSIGNAL);
    } else {
      const WithoutSigpipe guard;
      count = ::write(descriptor(), data.data(), data.size());
    }
    if (count >= 0) {
      data.remove_prefix(static_cast<std::size_t>(count));
    } else if (would_block(errno)) {
      return true;
    } else if (errno != EINTR) {
      force_close(os_error(errno));
      return false;
    }
  }
  return true;
}

void TransportObject::write(std::string_view data) {
  if (layer_ != nullptr)
    layer_->write(data);
  else
    send(data);
}

void TransportObject::send(std::string_view data) {
  if (eof_) throw RuntimeError("Cannot call write() after write_eof()");
  if (lent_to_sendfile) throw RuntimeError("unable to write; sendfile is in progress");
  if (data.empty()) return;
  // Buffered data is still to be sent, or given up: none is lost yet.
  if (closing_ && refused_ == 0 && kind_ != Kind::socket) return;
  if (refused_ != 0) {
    constexpr int kWarnFrom = 5;
    if (refused_ >= kWarnFrom)
      log(LogLevel::warning, kind_ == Kind::socket
                                 ? "socket.send() raised exception."
                                 : "pipe closed by peer or os.write(pipe, data) raised exception.");
    if (refused_ <= kWarnFrom) ++refused_;
    return;
  }
  if (out_.empty()) {
    if (!send_some(data) || data.empty()) return;
    take_context(write_step_);
  }
  out_.append(data);
  maybe_pause_writing();
}

void TransportObject::write_step() {
  if (connect_waiter_ != nullptr) {
    connect_waiter_->wake();
    return;
  }
  if (out_.empty() || refused_ != 0) return;
  std::string_view rest = out_.view();
  if (!send_some(rest)) return;
  out_.consume(out_.size() - rest.size());
  // As CPython: a pipe resumes only once it has sent everything.
  if (kind_ == Kind::socket || out_.empty()) maybe_resume_writing();
  if (!out_.empty() || lost_) return;
  sent_waiters_.wake_all();
  if (closing_)
    lose();
  else if (eof_)
    shut_down_writing();
}

void TransportObject::maybe_pause_writing() {
  if (write_paused_ || out_.size() <= high_water_) return;
  write_paused_ = true;
  if (above_ != nullptr)
    above_->pause_sending();
  else
    pause_sending();
}

void TransportObject::maybe_resume_writing() {
  if (!write_paused_ || out_.size() > low_water_) return;
  write_paused_ = false;
  if (above_ != nullptr)
    above_->resume_sending();
  else
    resume_sending();
}

void TransportObject::pause_sending() {
  drain_waits_ = true;
  if (side_ != nullptr) tell_to_wait(loop_, side_->get(), true);
}

void TransportObject::resume_sending() {
  drain_waits_ = false;
  drain_waiters_.wake_all();
  if (side_ != nullptr) tell_to_wait(loop_, side_->get(), false);
}

void TransportObject::shut_down_writing() noexcept { ::shutdown(descriptor(), SHUT_WR); }

void TransportObject::write_eof() {
  if (layer_ != nullptr)
    throw NotImplementedError(
        "write_eof(): TLS cannot close one direction alone; see can_write_eof()");
  if (closing_ || eof_) return;
  if (kind_ != Kind::socket) {
    close();
    return;
  }
  eof_ = true;
  if (out_.empty()) shut_down_writing();
}

void TransportObject::drain() {
  const ReaderObject* reader = stream_reader();
  if (reader != nullptr && reader->exception()) std::rethrow_exception(reader->exception());
  // Lets a loop of write() and drain() see the end of the connection.
  if (is_closing()) asyncio::await(asyncio::sleep(0));
  if (stream_lost_) throw ConnectionResetError("Connection lost");
  if (!drain_waits_) return;
  Waiter waiter(loop_, drain_waiters_);
  waiter.wait();
}

void TransportObject::set_write_buffer_limits(std::optional<std::size_t> high,
                                              std::optional<std::size_t> low) {
  if (layer_ != nullptr) {
    layer_->set_write_buffer_limits(high, low);
    return;
  }
  std::tie(high_water_, low_water_) = water_marks(high, low, 64 * 1024);
  maybe_pause_writing();
}

}  // namespace fiber::asyncio::detail
