// The object behind every handle of a transport.
#pragma once

#include <fiber/asyncio/sock.hpp>
#include <fiber/standard.hpp>

namespace fiber::asyncio {
class BaseProtocol;
}

namespace fiber::asyncio::detail {

class TransportObject;

class FIBER_API AnyTransport {
 public:
  /// Called by the handles of users.
  virtual void keep() noexcept = 0;
  virtual void let_go() noexcept = 0;

  virtual void close() = 0;
  virtual bool is_closing() const noexcept = 0;
  virtual std::shared_ptr<BaseProtocol> get_protocol() const = 0;
  /// Sets the protocol; null removes it. Throws TypeError for a protocol of another kind.
  virtual void set_protocol(std::shared_ptr<BaseProtocol> protocol) = 0;
  virtual SocketAddress own_address() const = 0;
  virtual SocketAddress peer_address() const = 0;
  virtual int file() const noexcept = 0;
  /// Returns this object; null unless it carries a stream of bytes.
  virtual TransportObject* stream() noexcept { return nullptr; }

 protected:
  ~AnyTransport() = default;
};

}  // namespace fiber::asyncio::detail
