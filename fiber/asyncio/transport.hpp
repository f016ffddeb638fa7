// Transports: the objects to which a protocol or a StreamWriter writes. Python: asyncio.transports.
//
// Each of these classes is a counted reference to a transport, which the loop keeps while its
// connection lasts; a null reference throws ValueError when it is used. They belong to one loop and
// its thread.
#pragma once

#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

namespace fiber::asyncio {

namespace detail {

template <class R>
concept range_of_text = std::ranges::input_range<R> &&
                        std::convertible_to<std::ranges::range_reference_t<R>, std::string_view>;

template <range_of_text R>
std::string joined(R&& pieces) {
  std::string all;
  for (auto&& piece : pieces) all += std::string_view(piece);
  return all;
}
FIBER_API std::string joined(std::initializer_list<std::string_view> pieces);

}  // namespace detail

/// The common functions of all transports. Python: asyncio.BaseTransport.
class FIBER_API BaseTransport {
 public:
  BaseTransport() noexcept = default;
  explicit BaseTransport(detail::AnyTransport& object) noexcept;
  BaseTransport(const BaseTransport& other) noexcept;
  BaseTransport& operator=(const BaseTransport& other) noexcept;
  ~BaseTransport();

  /// Sends the buffered data, then closes; connection_lost() follows, in a later iteration.
  void close() const { object().close(); }
  bool is_closing() const { return object().is_closing(); }  ///< true after close() or abort()
  /// Sets the protocol that is called from now on, of the transport's kind of protocol. Throws
  /// TypeError.
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) const;
  /// Returns null once the connection is lost, and for a stream.
  std::shared_ptr<BaseProtocol> get_protocol() const { return object().get_protocol(); }

  /// Returns further data of the connection, such as get_extra_info(ssl::peercert): see
  /// <fiber/ssl.hpp>. std::nullopt if there is none under that key.
  template <class Key>
  auto get_extra_info(const Key& key) const {
    const detail::TransportObject* stream = object().stream();
    using Info = decltype(key.of(*stream));
    return stream != nullptr ? key.of(*stream) : Info();
  }
  /// Python: get_extra_info("sockname"), ("peername"): no address if there is none.
  SocketAddress sockname() const { return object().own_address(); }
  /// Of the other side; empty without one.
  SocketAddress peername() const { return object().peer_address(); }
  /// Python: get_extra_info("socket").fileno(), ("pipe").fileno(). -1 once it is closed.
  int fileno() const { return object().file(); }

  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const BaseTransport& a, const BaseTransport& b) noexcept {
    return a.object_ == b.object_;
  }
  detail::AnyTransport& object() const {
    if (object_ == nullptr) [[unlikely]]
      refuse_null();
    return *object_;
  }

 protected:
  /// Throws NotImplementedError for a transport of datagrams or of a process.
  detail::TransportObject& stream() const {
    detail::TransportObject* stream = object().stream();
    if (stream == nullptr) refuse_other();
    return *stream;
  }
  /// Returns stream(); throws NotImplementedError also for the writing end of a pipe.
  detail::TransportObject& reading() const {
    detail::TransportObject& its = stream();
    if (its.is_write_pipe()) [[unlikely]]
      refuse_direction("written to, not read from");
    return its;
  }
  detail::TransportObject& writing() const {
    detail::TransportObject& its = stream();
    if (its.is_read_pipe()) [[unlikely]]
      refuse_direction("read from, not written to");
    return its;
  }

 private:
  [[noreturn]] static void refuse_null();
  [[noreturn]] static void refuse_other();
  [[noreturn]] static void refuse_direction(const char* what);
  detail::AnyTransport* object_ = nullptr;
};

/// Python: asyncio.ReadTransport.
class FIBER_API ReadTransport : public virtual BaseTransport {
 public:
  ReadTransport() noexcept = default;
  /// Stops receiving, unless it has stopped. Throws NotImplementedError for a pipe to which one
  /// writes.
  void pause_reading() const { reading().pause_by_user(); }
  /// Goes on receiving, unless it does. Throws as pause_reading().
  void resume_reading() const { reading().resume_by_user(); }
  bool is_reading() const { return stream().is_reading(); }  ///< false after pause_reading()
};

/// Python: asyncio.WriteTransport.
class FIBER_API WriteTransport : public virtual BaseTransport {
 public:
  WriteTransport() noexcept = default;
  /// Closes without sending the buffered data.
  void abort() const { stream().abort(); }
  /// Sends at once as much as possible without waiting, and buffers the rest; see pause_writing().
  /// Does nothing once the connection is lost. Throws RuntimeError after write_eof(),
  /// NotImplementedError for a pipe from which one reads.
  void write(std::string_view data) const { writing().write(data); }
  /// Writes the pieces one after the other.
  template <detail::range_of_text R>
  void writelines(R&& pieces) const {
    write(detail::joined(pieces));
  }
  void writelines(std::initializer_list<std::string_view> pieces) const {
    write(detail::joined(pieces));
  }
  /// Makes the other side read the end, after the written data. Throws NotImplementedError over
  /// TLS, where it is impossible, and for a pipe from which one reads.
  void write_eof() const { writing().write_eof(); }
  bool can_write_eof() const { return stream().can_write_eof(); }  ///< false over TLS
  /// Returns the number of bytes that wait to be sent.
  std::size_t get_write_buffer_size() const { return stream().write_buffer_size(); }
  /// Sets the limits: pause_writing() is called, and drain() waits, once more than `high` bytes are
  /// buffered, until no more than `low` are. Default: 64 KiB and 16 KiB; a missing limit follows
  /// from the other. Throws ValueError.
  void set_write_buffer_limits(std::optional<std::size_t> high = {},
                               std::optional<std::size_t> low = {}) const {
    stream().set_write_buffer_limits(high, low);
  }
  /// Returns the low and the high limit.
  std::pair<std::size_t, std::size_t> get_write_buffer_limits() const {
    return {stream().low_water(), stream().high_water()};
  }
};

/// A connection, in both directions. Python: asyncio.Transport.
class FIBER_API Transport : public ReadTransport, public WriteTransport {
 public:
  Transport() noexcept = default;
  explicit Transport(detail::TransportObject& object) noexcept : BaseTransport(object) {}
};

}  // namespace fiber::asyncio
