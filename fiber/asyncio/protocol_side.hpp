// The protocol of a TransportObject, whose functions are called on the loop's own stack.
#pragma once

#include <fiber/asyncio/protocols.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/core/owner.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace fiber::asyncio::detail {

/// Calls `function`. Returns true if it returned; its exceptions go to `failed`, except those that
/// end the loop or the thread, which pass through.
bool call_guarded(const std::function<void()>& function,
                  const std::function<void(const std::exception_ptr&)>& failed);

/// Calls pause_writing() or resume_writing(); the loop reports what they throw.
void tell_to_wait(LoopObject& loop, std::shared_ptr<BaseProtocol> protocol, bool wait);

/// Memory for a read, which no other code uses as long as this lives.
class ReadBuffer {
 public:
  static constexpr std::size_t kSize = 256 * 1024;  ///< as CPython: at most this per recv
  ReadBuffer();
  ~ReadBuffer();
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;
  std::span<char> span() const noexcept { return {buffer_.get(), kSize}; }

 private:
  core::Owner<char[]> buffer_;
};

/// A protocol that may be replaced, and dropped, while one of its functions runs.
class ProtocolSide {
 public:
  /// Throws TypeError unless `protocol` is a Protocol or a BufferedProtocol.
  explicit ProtocolSide(std::shared_ptr<BaseProtocol> protocol) { set(std::move(protocol)); }
  void set(std::shared_ptr<BaseProtocol> protocol);
  const std::shared_ptr<BaseProtocol>& get() const noexcept { return protocol_; }
  /// Drops the protocol, after the last call.
  void drop() noexcept;

  bool buffered() const noexcept { return buffered_ != nullptr; }
  void connection_made(TransportObject& transport) const;
  /// For a Protocol.
  void data_received(std::string_view data) const;
  /// For a BufferedProtocol. Returns its buffer, which lives as long as the protocol: it may have
  /// been replaced meanwhile. Throws RuntimeError if the buffer is empty.
  ReceiveBuffer get_buffer(std::ptrdiff_t sizehint) const;
  /// Throws RuntimeError if get_buffer() has set a protocol without a buffer.
  void buffer_updated(std::size_t count) const;
  bool eof_received() const;
  void connection_lost(const std::exception_ptr& error) const;

 private:
  std::shared_ptr<BaseProtocol> protocol_;
  Protocol* plain_ = nullptr;
  BufferedProtocol* buffered_ = nullptr;
};

}  // namespace fiber::asyncio::detail
