#include <fiber/asyncio/transport_layer.hpp>

#include <fiber/asyncio/server_object.hpp>
#include <fiber/asyncio/transports.hpp>

#include <atomic>

namespace fiber::asyncio {
namespace detail {
namespace {

std::atomic<default_layer_maker> the_default{nullptr};

}  // namespace

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

// --- what a transport does with layers ----------------------------------------------------------

// A step on the loop's own stack. There is one for each, as long as the transport, so that queueing
// it needs no memory; its claim is that of the step.
class TransportObject::HubStep final : public HandleObject {
 public:
  HubStep(LoopObject& loop, Leaf& step) noexcept : HandleObject(&loop), step_(step) {}
  void call() override { step_.run(&step_); }

 private:
  Leaf& step_;
};

void TransportObject::put_layer(std::unique_ptr<TransportLayer> layer, bool made) {
  for (Step* step : {&begin_step_, &read_step_, &write_step_, &lost_step_})
    if (step->on_hub == nullptr) step->on_hub = new HubStep(loop_, *step);
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

void TransportObject::start_layer(std::unique_ptr<TransportLayer> layer) {
  if (eof_) throw RuntimeError("Cannot call start_tls() after write_eof()");
  // What has come already belongs to the layer: nothing that was sent in the open may be taken for
  // what it protects.
  try {
    layer->received_before(reader_->take_buffered());
    put_layer(std::move(layer), true);
    reader_->set_source(this);
    drain_waits_ = false;
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
  reader_->set_source(this);
  if (server != nullptr) server->made(*this);
}

bool TransportObject::eof_received() {
  reader_->feed_eof();
  return false;
}

// Without memory for what the layers do then, the stream is told of it directly.
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
