// Connections that are read and written in order, without callbacks. Python: asyncio.streams.
//
//   auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", 8080));
//   writer.write("ping\n");
//   await(writer.drain());
//   std::string line = await(reader.readline());
//   writer.close();
//   await(writer.wait_closed());
//
// Data is a std::string of bytes. The handles belong to one loop and its thread. A handle that was
// moved from may be assigned to and compared; all other functions throw ValueError.
#pragma once

#include <fiber/asyncio/server.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/stream_reader.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/transport.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::asyncio {

/// The longest line that readline() and readuntil() accept; twice as much may be buffered before
/// the other side must wait.
inline constexpr std::size_t kDefaultStreamLimit = 64 * 1024;

/// A counted reference to the receiving half of a connection. One task at a time may wait in it.
/// Every read throws the error by which the connection was lost. Python: asyncio.StreamReader.
class FIBER_API StreamReader {
 public:
  /// Makes a reader to feed by hand, in the running (or set) loop. Throws ValueError for a limit of
  /// 0.
  explicit StreamReader(std::size_t limit = kDefaultStreamLimit);
  StreamReader(std::size_t limit, const EventLoop& loop);

  /// Waits for data, or the end; returns at most n bytes, "" at the end. Without n, or if it is
  /// negative: all bytes up to the end. Await it, as all functions below that say so.
  auto read(std::ptrdiff_t n = -1) const {
    return detail::Deferred([object = checked(), n] { return object->read(n); });
  }
  /// Reads into memory of the caller's, which must stay until then; returns the number of bytes, 0
  /// at the end. Saves a copy; not in Python. Await it.
  auto readinto(std::span<char> buffer) const {
    return detail::Deferred([object = checked(), buffer] { return object->readinto(buffer); });
  }
  /// Returns a line with its '\n'; without it if the stream ends first; "" at the end. Throws
  /// ValueError if the line is longer than the limit, and drops it. Await it.
  auto readline() const {
    return detail::Deferred([object = checked()] { return object->readline(); });
  }
  /// Returns exactly n bytes. Throws IncompleteReadError, with the bytes so far, if the stream ends
  /// first, and ValueError for a negative n. Await it.
  auto readexactly(std::ptrdiff_t n) const {
    return detail::Deferred([object = checked(), n] { return object->readexactly(n); });
  }
  /// Returns the bytes up to and with the separator; of several separators, the one that ends
  /// first. Throws IncompleteReadError if the stream ends first; LimitOverrunError, leaving the
  /// data, if more than the limit would have to be returned; ValueError for an empty separator.
  /// Await it.
  auto readuntil(std::string_view separator = "\n") const {
    return detail::Deferred([object = checked(), separator = std::string(separator)] {
      return object->readuntil({&separator, 1});
    });
  }
  auto readuntil(std::vector<std::string> separators) const {
    return detail::Deferred([object = checked(), separators = std::move(separators)] {
      return object->readuntil({separators.data(), separators.size()});
    });
  }
  auto readuntil(std::initializer_list<std::string> separators) const {
    return readuntil(std::vector<std::string>(separators));
  }

  /// Returns true if the end was received and no byte is left to read.
  bool at_eof() const { return checked()->at_eof(); }
  /// Returns the error by which the connection was lost; null if it was not, or ended in good
  /// order.
  std::exception_ptr exception() const { return checked()->exception(); }

  /// Adds bytes to the buffer, for tests and protocols.
  void feed_data(std::string_view data) const { checked()->feed_data(data); }
  void feed_eof() const { checked()->feed_eof(); }  ///< ends the stream, for tests and protocols
  /// Ends the stream with an exception, which its readers throw.
  void set_exception(std::exception_ptr error) const { checked()->set_exception(std::move(error)); }
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  void set_exception(E&& error) const {
    set_exception(std::make_exception_ptr(std::forward<E>(error)));
  }

  /// Iterates over lines, `for (std::string line : reader)`: waits for each line, until the end.
  /// The iterator is a handle of its own: the body may assign to `reader`. Python: async for.
  class LineIterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;

    explicit LineIterator(const StreamReader& reader) : object_(reader.checked()) { ++*this; }
    std::string& operator*() const noexcept { return line_; }
    LineIterator& operator++() {
      line_ = object_->readline();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const LineIterator& at, std::default_sentinel_t) noexcept {
      return at.line_.empty();
    }

   private:
    core::Ref<detail::ReaderObject, detail::ByHandle> object_;
    mutable std::string line_;
  };
  LineIterator begin() const { return LineIterator(*this); }   ///< reads the first line
  std::default_sentinel_t end() const noexcept { return {}; }  ///< the end of the stream

  friend bool operator==(const StreamReader& a, const StreamReader& b) noexcept {
    return a.object_.get() == b.object_.get();
  }
  explicit StreamReader(detail::ReaderObject& object) noexcept : object_(&object) {}
  detail::ReaderObject& object() const { return *checked(); }

 private:
  /// Throws ValueError if this handle was moved from.
  const core::Ref<detail::ReaderObject, detail::ByHandle>& checked() const {
    if (!object_) [[unlikely]]
      refuse_moved();
    return object_;
  }
  [[noreturn]] static void refuse_moved();
  core::Ref<detail::ReaderObject, detail::ByHandle> object_;
};

/// Keyword arguments of StreamWriter::start_tls. `server_hostname`: the name for which the
/// certificate must be, sent to the server; not for the side of the server. open_connection
/// documents the times.
struct StartTlsOptions {
  std::string server_hostname = {};       ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};

namespace detail {
FIBER_API void start_tls(TransportObject& transport, const ssl_argument& sslcontext,
                         const StartTlsOptions& options);
}  // namespace detail

/// A counted reference to the sending half of a connection. The connection is closed when the last
/// reference is dropped; written data is sent first. Python: asyncio.StreamWriter.
class FIBER_API StreamWriter {
 public:
  /// Sends at once as much as possible without waiting, and buffers the rest; use drain() where
  /// much is written. Does nothing once the connection is lost. Throws RuntimeError after
  /// write_eof().
  void write(std::string_view data) const { checked()->write(data); }
  /// Writes the pieces one after the other.
  template <detail::range_of_text R>
  void writelines(R&& pieces) const {
    write(detail::joined(pieces));
  }
  void writelines(std::initializer_list<std::string_view> pieces) const {
    write(detail::joined(pieces));
  }
  /// Makes the other side read the end, after the written data. This side can read on. Throws
  /// NotImplementedError over TLS, where it is impossible.
  void write_eof() const { checked()->write_eof(); }
  bool can_write_eof() const { return checked()->can_write_eof(); }  ///< false over TLS
  /// Goes on at once unless more than the high limit is buffered; then waits until no more than the
  /// low limit is: 64 KiB and 16 KiB, unless the transport was told otherwise. Throws the error by
  /// which the connection was lost, ConnectionResetError if it was lost in good order; await it.
  auto drain() const {
    return detail::Deferred([object = checked()] { object->drain(); });
  }
  /// Stops reading, sends the buffered data, closes. A task that reads gets the end.
  void close() const { checked()->close(); }
  bool is_closing() const { return checked()->is_closing(); }  ///< true after close(), or an error
  /// Waits until the connection is closed; throws the error by which it was lost; await it.
  auto wait_closed() const {
    return detail::Deferred([object = checked()] { object->wait_closed(); });
  }

  /// Goes on over TLS, as the server if this is a connection of a server, once the written data is
  /// sent and the handshake done. Data that had come and was not read belongs to the handshake.
  /// Throws SSLError, ConnectionError, ValueError, and in these cases the connection is closed;
  /// TypeError for a pipe, a child's stdin for one. Await it.
  auto start_tls(ssl_argument sslcontext, StartTlsOptions options = {}) const {
    return detail::Deferred(
        [object = checked(), sslcontext = std::move(sslcontext), options = std::move(options)] {
          detail::start_tls(*object, sslcontext, options);
        });
  }

  /// Returns further data of the connection, such as get_extra_info(ssl::peercert): see
  /// <fiber/ssl.hpp>. std::nullopt if this connection has none under that key.
  template <class Key>
  auto get_extra_info(const Key& key) const {
    return key.of(*checked());
  }
  /// Python: get_extra_info("peername"), ("sockname"), ("socket").fileno() (-1 once closed).
  const SocketAddress& peername() const { return checked()->peername; }
  const SocketAddress& sockname() const { return checked()->sockname; }  ///< the own address
  int fileno() const { return checked()->fileno(); }  ///< of the connection; -1 once closed
  Transport transport() const { return Transport(*checked()); }  ///< for the loop's functions

  friend bool operator==(const StreamWriter& a, const StreamWriter& b) noexcept {
    return a.object_.get() == b.object_.get();
  }
  /// Makes a writer for a transport whose protocol is not a stream's. Throws NotImplementedError if
  /// the transport carries no stream of bytes. Python: StreamWriter(transport, protocol, reader,
  /// loop).
  explicit StreamWriter(const WriteTransport& transport);
  explicit StreamWriter(detail::TransportObject& object) noexcept : object_(&object) {}

 private:
  /// Throws ValueError if this handle was moved from.
  const core::Ref<detail::TransportObject, detail::ByHandle>& checked() const {
    if (!object_) [[unlikely]]
      refuse_moved();
    return object_;
  }
  [[noreturn]] static void refuse_moved();
  core::Ref<detail::TransportObject, detail::ByHandle> object_;
};

/// The result of open_connection: auto [reader, writer] = ...
using StreamPair = std::pair<StreamReader, StreamWriter>;

/// Keyword arguments of open_connection and its relatives. `limit`: of the reader, in bytes; see
/// kDefaultStreamLimit.
struct OpenConnectionOptions {
  std::size_t limit = kDefaultStreamLimit;  ///< of the reader, in bytes
  int family = 0;                           ///< AF_INET, AF_INET6; 0: both
  int proto = 0;                            ///< IPPROTO_ constant; 0: the usual one
  int flags = 0;                            ///< AI_ constants
  std::optional<std::pair<std::string, int>> local_addr = {};  ///< local host and port
  /// RFC 8305: while an address does not answer, the next one is tried as well after this time, and
  /// the first connection is kept. Without a value: one after the other. The RFC has 250ms.
  time_limit happy_eyeballs_delay = {};
  /// The number of addresses of the first family before the families take turns; 0: the resolver's
  /// order. Default: 1 with happy_eyeballs_delay, else 0.
  std::optional<int> interleave = {};
  bool all_errors = false;  ///< throw an ExceptionGroup of all errors, not a single one
  /// Over TLS: an ssl::SSLContext, or `true` for the usual one. `server_hostname`: the name for
  /// which the certificate must be; by default the host; "" for none. The handshake may take
  /// `ssl_handshake_timeout` (60 seconds), then ConnectionAbortedError; closing waits for the other
  /// side's answer for `ssl_shutdown_timeout` (30 seconds). Without `ssl` these three throw
  /// ValueError.
  ssl_argument ssl = {};
  std::optional<std::string> server_hostname = {};  ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};            ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};             ///< default: 30 s
};
/// Options as above, without a host that gives the name: with `ssl`, `server_hostname` is required.
struct OpenUnixConnectionOptions {
  std::size_t limit = kDefaultStreamLimit;  ///< of the reader, in bytes
  ssl_argument ssl = {};                    ///< an ssl::SSLContext, or `true` for the usual one
  std::optional<std::string> server_hostname = {};  ///< the name for which the certificate must be
  time_limit ssl_handshake_timeout = {};            ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};             ///< default: 30 s
};

/// Keyword arguments of start_server and its relatives. `limit`: of each connection's reader.
struct StartServerOptions {
  std::size_t limit = kDefaultStreamLimit;  ///< of the reader, in bytes
  int family = 0;                           ///< AF_INET, AF_INET6; 0: both
  int flags = 1;                            ///< AI_PASSIVE
  int backlog = 100;                        ///< for listen(): connections that wait to be accepted
  bool reuse_address = true;                ///< SO_REUSEADDR
  bool reuse_port = false;                  ///< SO_REUSEPORT
  bool keep_alive = false;                  ///< SO_KEEPALIVE
  bool start_serving = true;                ///< false: see Server::start_serving, serve_forever
  /// Over TLS: an ssl::SSLContext that has a certificate; `true` is a TypeError. The times are
  /// those of open_connection. The callback is called once the handshake is done; a client whose
  /// handshake fails is dropped, and in debug mode reported.
  ssl_argument ssl = {};
  time_limit ssl_handshake_timeout = {};  ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};   ///< default: 30 s
};
/// Keyword arguments of start_unix_server.
struct StartUnixServerOptions {
  std::size_t limit = kDefaultStreamLimit;  ///< of the reader, in bytes
  int backlog = 100;                        ///< connections that wait to be accepted
  bool start_serving = true;                ///< false: see Server::start_serving
  bool cleanup_socket = true;               ///< remove the socket's file when the server is closed
  ssl_argument ssl = {};                    ///< as of start_server
  time_limit ssl_handshake_timeout = {};    ///< default: 60 s
  time_limit ssl_shutdown_timeout = {};     ///< default: 30 s
};

namespace detail {

using client_connected = std::function<void(StreamReader&, StreamWriter&)>;

/// Connects when it is called. Moved out of line: where GCC 12 inlines the move of an empty option,
/// it warns of a string that was never set.
class FIBER_API ConnectTo {
 public:
  ConnectTo(std::string host, int port, OpenConnectionOptions&& options) noexcept;
  ConnectTo(ConnectTo&& other) noexcept;
  ConnectTo(const ConnectTo&) = delete;
  ConnectTo& operator=(const ConnectTo&) = delete;
  ConnectTo& operator=(ConnectTo&&) = delete;
  ~ConnectTo();
  StreamPair operator()() const;

 private:
  std::string host_;
  int port_;
  OpenConnectionOptions options_;
};
FIBER_API StreamPair connect_unix(const std::string& path,
                                  const OpenUnixConnectionOptions& options);
FIBER_API StreamPair connect_given(GivenDescriptor& sock, const OpenUnixConnectionOptions& options);
FIBER_API Server serve(client_connected callback, const std::vector<std::string>& hosts, int port,
                       const StartServerOptions& options);
FIBER_API Server serve_unix(client_connected callback, const std::string& path,
                            const StartUnixServerOptions& options);
FIBER_API Server serve_given(client_connected callback, GivenDescriptor& sock,
                             const StartServerOptions& options);
FIBER_API Server serve_given(client_connected callback, GivenDescriptor& sock,
                             const StartUnixServerOptions& options);

template <class F>
client_connected as_client_connected(F&& callback) {
  using Result = std::invoke_result_t<std::decay_t<F>&, StreamReader&, StreamWriter&>;
  if constexpr (has_await<Result>)
    return [callback = std::decay_t<F>(std::forward<F>(callback))](StreamReader& reader,
                                                                   StreamWriter& writer) mutable {
      static_cast<void>(asyncio::await(callback(reader, writer)));
    };
  else
    return std::forward<F>(callback);
}

/// Serves at a bound socket. `Sock`: int, which is lent, or GivenDescriptor.
template <class Sock, class F, class Options>
auto serve_from(F&& callback, Sock sock, Options options) {
  return Deferred([callback = as_client_connected(std::forward<F>(callback)),
                   sock = std::move(sock), options]() mutable {
    GivenDescriptor given(std::move(sock));
    return detail::serve_given(std::move(callback), given, options);
  });
}

}  // namespace detail

/// The callback for each connection, called in a task of its own: callback(reader, writer), which
/// may wait. Its exceptions are reported to the loop's exception handler, and the connection
/// closed.
template <class F>
concept client_connected_callback =
    std::invocable<std::decay_t<F>&, StreamReader&, StreamWriter&> &&
    std::copy_constructible<std::decay_t<F>>;

/// Connects to a TCP server; tries the addresses of the host in order. Throws gaierror,
/// ConnectionRefusedError and other OSErrors; await it. Python: asyncio.open_connection.
inline auto open_connection(std::string host, int port, OpenConnectionOptions options = {}) {
  return detail::Deferred(detail::ConnectTo(std::move(host), port, std::move(options)));
}
/// Takes over a connected stream socket, which stays the caller's if this throws: RuntimeError if
/// another connection has it already, ValueError, OSError; or if the result is never awaited. When
/// cancelled, or with a TLS handshake that fails, it closes the socket. Python:
/// open_connection(sock=...).
inline auto open_connection_from(int fd, OpenUnixConnectionOptions options = {}) {
  return detail::Deferred([fd, options] {
    detail::GivenDescriptor lent(fd);
    return detail::connect_given(lent, options);
  });
}
/// Connects to a Unix socket; await it. Python: asyncio.open_unix_connection.
inline auto open_unix_connection(std::string path, OpenUnixConnectionOptions options = {}) {
  return detail::Deferred(
      [path = std::move(path), options] { return detail::connect_unix(path, options); });
}

/// Listens at a host (a name, an address, "" for all interfaces, or several of these) and a port
/// (0: chosen by the system, see Server::sockets); await it. Throws gaierror, OSError. Python:
/// asyncio.start_server.
template <client_connected_callback F, detail::hosts Hosts = std::vector<std::string>>
auto start_server(F&& callback, Hosts hosts, int port, StartServerOptions options = {}) {
  return detail::Deferred(
      [callback = detail::as_client_connected(std::forward<F>(callback)),
       list = detail::list_of_hosts(std::move(hosts)), port,
       options]() mutable { return detail::serve(std::move(callback), list, port, options); });
}
/// Takes over a bound stream socket, which stays the caller's if this throws: RuntimeError if a
/// connection or another server has it already, ValueError, OSError; or if the result is never
/// awaited. The file of a Unix socket stays. Python: start_server(sock=...).
template <client_connected_callback F>
auto start_server_from(F&& callback, int fd, StartServerOptions options = {}) {
  return detail::serve_from(std::forward<F>(callback), fd, options);
}
/// Takes over a bound Unix socket as start_server_from() does; its file is removed with the server
/// unless `cleanup_socket` is false. Python: start_unix_server(sock=...).
template <client_connected_callback F>
auto start_unix_server_from(F&& callback, int fd, StartUnixServerOptions options = {}) {
  return detail::serve_from(std::forward<F>(callback), fd, options);
}
/// Listens at a Unix socket. A socket file that an earlier server has left is replaced. Python:
/// asyncio.start_unix_server.
template <client_connected_callback F>
auto start_unix_server(F&& callback, std::string path, StartUnixServerOptions options = {}) {
  return detail::Deferred(
      [callback = detail::as_client_connected(std::forward<F>(callback)), path = std::move(path),
       options]() mutable { return detail::serve_unix(std::move(callback), path, options); });
}

}  // namespace fiber::asyncio

/// Structured bindings refuse a result that is not awaited yet: auto [reader, writer] =
/// open_connection(...).
template <class F>
struct std::tuple_size<fiber::asyncio::detail::Deferred<F>> {
  static_assert(!std::is_object_v<F>, "await it first: auto [reader, writer] = await(...)");
  static constexpr std::size_t value = 2;
};
template <std::size_t I, class F>
struct std::tuple_element<I, fiber::asyncio::detail::Deferred<F>> {
  using type = fiber::asyncio::detail::Anything;
};
namespace fiber::asyncio::detail {
template <std::size_t I, class F>
Anything get(const Deferred<F>& deferred);
}
