#include <fiber/asyncio/transport_layer.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/protocol_side.hpp>
#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/transports.hpp>

#include <atomic>

namespace fiber::asyncio {
namespace detail {
namespace {

std::atomic<default_layer_maker> the_default{nullptr};

}  // namespace

ReceiveBuffer ReceivesEvents::get_buffer(std::ptrdiff_t) { return {}; }
void ReceivesEvents::buffer_updated(std::size_t) {}

TransportLayer::~TransportLayer() = default;
LayerMaker::~LayerMaker() = default;

std::pair<std::size_t, std::size_t> water_marks(std::optional<std::size_t> high,
                                                std::optional<std::size_t> low,
                                                std::size_t usual_high) {
  const std::size_t its_high = high ? *high : (low ? 4 * *low : usual_high);
  const std::size_t its_low = low ? *low : its_high / 4;
  if (its_high < its_low)
    throw ValueError("high (" + std::to_string(its_high) + ") must be >= low (" +
                     std::to_string(its_low) + ") must be >= 0");
  return {its_high, its_low};
}

void set_default_layer_maker(default_layer_maker maker) noexcept { the_default = maker; }

// --- the transport and its layers ----------------------------------------------------------------

// Runs a step on the loop's own stack. Each step keeps its HubStep for life, so that queueing needs
// no memory; the HubStep uses the step's claim.
class TransportObject::HubStep final : public HandleObject {
 public:
  HubStep(LoopObject& loop, Step& step, void (TransportObject::*action)()) noexcept
      : HandleObject(&loop), step_(step), action_(action) {}

  // An exception of a protocol goes on to the loop, which reports it.
  void call() override {
    if (!step_.self->has_protocol()) {
      step_.run(&step_);
      return;
    }
    struct End {
      core::Ref<TransportObject> self;
      ~End() { self->release(); }
    } end{core::Ref<TransportObject>(step_.self)};
    step_.queued = false;
    end.self->loop_.ready_queue().claim_again();
    (end.self.get()->*action_)();
    end.self->loop_.turns().throw_interrupt();
  }

 private:
  Step& step_;
  void (TransportObject::*action_)();
};

void TransportObject::make_hub_steps() {
  const std::pair<Step*, void (TransportObject::*)()> steps[] = {
      {&begin_step_, &TransportObject::begin},
      {&read_step_, &TransportObject::read_step},
      {&write_step_, &TransportObject::write_step},
      {&lost_step_, &TransportObject::lose}};
  for (const auto& [step, action] : steps)
    if (step->on_hub == nullptr) step->on_hub = new HubStep(loop_, *step, action);
}

void TransportObject::put_layer(core::Owner<TransportLayer> layer, bool made) {
  make_hub_steps();
  TransportLayer* top = layer.get();
  TransportLayer* lower = layer_.get();
  SendsBytes& below = lower != nullptr ? static_cast<SendsBytes&>(*lower) : *this;
  top->place(*this, below, *this, std::move(layer_), made);
  layer_ = std::move(layer);
  if (lower != nullptr)
    lower->set_above(*top);
  else
    above_ = top;
}

void TransportObject::check_layer_possible() const {
  if (eof_) throw RuntimeError("Cannot call start_tls() after write_eof()");
  if (lent_to_sendfile) throw RuntimeError("unable to start TLS; sendfile is in progress");
  if (begin_waiter_ != nullptr && !begin_waiter_->done())
    throw RuntimeError("Cannot call start_tls() twice at once, or before the connection is made");
  // A connection that is lost would never tell the end of the handshake.
  if (lost_) throw ConnectionResetError("Connection lost");
}

void TransportObject::start_layer(core::Owner<TransportLayer> layer, ReaderObject* reader) {
  check_layer_possible();
  // Bytes that have come belong to the layer: data sent in the open must not pass for protected
  // data.
  try {
    if (reader != nullptr) layer->received_before(reader->take_buffered());
    put_layer(std::move(layer), true);
    if (reader_ != nullptr) reader_->set_source(this);
    user_paused_ = false;
    // As CPython: the layer is told of an end that the stream knows already.
    read_ended_ = false;
    // The layer counts anew: tasks in drain(), and the protocol, go on.
    if (drain_waits_) resume_sending();
    layer_->hold();  // until begin()
    begin_soon();
    wait_begun();
  } catch (...) {
    close();
    throw;
  }
}

void TransportObject::handshake_ended(const std::exception_ptr& error) {
  if (begin_waiter_ != nullptr) begin_waiter_->wake_with(error);
}

void TransportObject::connection_made() {
  if (side_ != nullptr) {
    keep_interrupt([&] { side_->connection_made(*this); });
    return;
  }
  reader_->set_source(this);
  if (server != nullptr) server->made(*this);
}

void TransportObject::data_received(std::string_view data) {
  if (side_ != nullptr)
    keep_interrupt([&] { side_->data_received(data); });
  else
    reader_->feed_data(data);
}

bool TransportObject::buffered() const noexcept { return side_ != nullptr && side_->buffered(); }

ReceiveBuffer TransportObject::get_buffer(std::ptrdiff_t sizehint) {
  ReceiveBuffer buffer;
  keep_interrupt([&] { buffer = side_->get_buffer(sizehint); });
  return buffer;
}

void TransportObject::buffer_updated(std::size_t count) {
  keep_interrupt([&] { side_->buffer_updated(count); });
}

bool TransportObject::eof_received() {
  if (side_ != nullptr) {
    bool keep_open = false;
    keep_interrupt([&] { keep_open = side_->eof_received(); });
    if (keep_open)
      log(LogLevel::warning, "returning true from eof_received() has no effect when using ssl");
    return false;
  }
  reader_->feed_eof();
  return false;
}

// A layer treats every exception as its own: keep one that must end the loop until the step ends.
void TransportObject::keep_interrupt(const std::function<void()>& function) {
  try {
    function();
  } catch (const KeyboardInterrupt&) {
    loop_.turns().interrupt = std::current_exception();
  } catch (const SystemExit&) {
    loop_.turns().interrupt = std::current_exception();
  }
}

// Tells the stream of the loss; without memory for the layers' work, directly.
void TransportObject::tell_of_loss() noexcept {
  try {
    above_->connection_lost(error_);
  } catch (...) {
    stream_lost();
    handshake_ended(std::current_exception());
  }
}

void TransportObject::connection_lost(const std::exception_ptr&) {
  losing_stream_ = true;
  post(lost_step_);
}

}  // namespace detail

ssl_argument::ssl_argument(const ssl_argument& other) noexcept = default;
ssl_argument::ssl_argument(ssl_argument&& other) noexcept = default;
ssl_argument& ssl_argument::operator=(const ssl_argument& other) noexcept = default;
ssl_argument& ssl_argument::operator=(ssl_argument&& other) noexcept = default;
ssl_argument::~ssl_argument() = default;

detail::LayerMaker& ssl_argument::maker(bool check_hostname) const {
  if (maker_ == nullptr) {
    const detail::default_layer_maker make = detail::the_default;
    if (make == nullptr)
      throw RuntimeError(
          "ssl needs the library fiber-ssl: include <fiber/ssl.hpp>, and link with fiber-ssl");
    maker_ = make(check_hostname);
  }
  return *maker_;
}

}  // namespace fiber::asyncio
