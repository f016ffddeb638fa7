#include <fiber/asyncio/protocol_side.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/demangle.hpp>
#include <fiber/greenlet.hpp>

#include <typeinfo>
#include <utility>

namespace fiber::asyncio::detail {

bool call_guarded(const std::function<void()>& function,
                  const std::function<void(const std::exception_ptr&)>& failed) {
  const std::exception_ptr error = caught(function);
  if (error) failed(error);
  return !error;
}

void tell_to_wait(LoopObject& loop, std::shared_ptr<BaseProtocol> protocol, bool wait) {
  if (protocol == nullptr) return;
  const char* failed =
      wait ? "protocol.pause_writing() failed" : "protocol.resume_writing() failed";
  call_guarded([&] { wait ? protocol->pause_writing() : protocol->resume_writing(); },
               [&](const std::exception_ptr& error) {
                 loop.errors().report_failure(failed, {.exception = error});
               });
}

namespace {

core::Owner<char[]>& spare_buffer() {
  static thread_local core::Owner<char[]> spare;
  return spare;
}

}  // namespace

ReadBuffer::ReadBuffer() : buffer_(std::move(spare_buffer())) {
  if (buffer_ == nullptr) buffer_ = core::Owner<char[]>(new char[kSize]);
}
ReadBuffer::~ReadBuffer() {
  if (spare_buffer() == nullptr) spare_buffer() = std::move(buffer_);
}

void ProtocolSide::set(std::shared_ptr<BaseProtocol> protocol) {
  auto* plain = dynamic_cast<Protocol*>(protocol.get());
  auto* buffered = dynamic_cast<BufferedProtocol*>(protocol.get());
  if (plain == nullptr && buffered == nullptr) {
    const BaseProtocol* its = protocol.get();
    throw TypeError(its == nullptr ? "a protocol was expected, got null"
                                   : "a Protocol or BufferedProtocol was expected, got " +
                                         core::demangle(typeid(*its)));
  }
  const std::shared_ptr<BaseProtocol> before = std::exchange(protocol_, std::move(protocol));
  plain_ = plain;
  buffered_ = plain != nullptr ? nullptr : buffered;
}

void ProtocolSide::drop() noexcept {
  plain_ = nullptr;
  buffered_ = nullptr;
  const std::shared_ptr<BaseProtocol> before = std::exchange(protocol_, nullptr);
}

void ProtocolSide::connection_made(TransportObject& transport) const {
  const std::shared_ptr<BaseProtocol> held = protocol_;
  if (plain_ != nullptr)
    plain_->connection_made(Transport(transport));
  else if (buffered_ != nullptr)
    buffered_->connection_made(Transport(transport));
}

void ProtocolSide::data_received(std::string_view data) const {
  const std::shared_ptr<BaseProtocol> held = protocol_;
  if (plain_ != nullptr) plain_->data_received(data);
}

ReceiveBuffer ProtocolSide::get_buffer(std::ptrdiff_t sizehint) const {
  ReceiveBuffer buffer{.owner = protocol_};
  buffer.memory = buffered_->get_buffer(sizehint);
  if (buffer.memory.empty()) throw RuntimeError("get_buffer() returned an empty buffer");
  return buffer;
}

void ProtocolSide::buffer_updated(std::size_t count) const {
  const std::shared_ptr<BaseProtocol> held = protocol_;
  if (plain_ != nullptr)
    throw RuntimeError(
        "get_buffer() has set another protocol, which has no buffer_updated(): received bytes are "
        "lost");
  if (buffered_ != nullptr) buffered_->buffer_updated(count);
}

bool ProtocolSide::eof_received() const {
  const std::shared_ptr<BaseProtocol> held = protocol_;
  if (plain_ != nullptr) return plain_->eof_received();
  return buffered_ != nullptr && buffered_->eof_received();
}

void ProtocolSide::connection_lost(const std::exception_ptr& error) const {
  const std::shared_ptr<BaseProtocol> held = protocol_;
  if (held != nullptr) held->connection_lost(error);
}

}  // namespace fiber::asyncio::detail
