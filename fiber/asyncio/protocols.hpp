// Protocols: objects whose functions are called on the events of a connection. Python:
// asyncio.protocols.
//
//   struct Echo : asyncio::Protocol {
//     void connection_made(const asyncio::Transport& its) override { transport = its; }
//     void data_received(std::string_view data) override { transport.write(data); }
//     asyncio::Transport transport;
//   };
//   const auto make = [] { return std::make_shared<Echo>(); };
//   const auto server = await(loop.create_server(make, "", 8080));
//
// The functions are callbacks of the loop: they may not await (RuntimeError); to wait, start a task
// by create_task. An exception of a function is reported to the loop's exception handler; if
// the function was to take data, the transport is aborted. The transport keeps its protocol until
// connection_lost() has returned. All are called in the context in which the connection was made.
#pragma once

#include <fiber/asyncio/transport.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <string_view>

namespace fiber::asyncio {

class DatagramTransport;
class SubprocessTransport;

/// The common functions of all protocols. Python: asyncio.BaseProtocol.
class FIBER_API BaseProtocol {
 public:
  BaseProtocol() = default;
  BaseProtocol(const BaseProtocol&) = default;
  BaseProtocol& operator=(const BaseProtocol&) = default;
  virtual ~BaseProtocol();

  /// The last call. `error` is null if the connection was closed by the other side's end, by
  /// close() or abort().
  virtual void connection_lost(const std::exception_ptr& error);
  /// Called when more than the high limit of the write buffer is buffered.
  virtual void pause_writing();
  virtual void resume_writing();  ///< Called when no more than the low limit is buffered.
};

/// A protocol for connections and pipes. Python: asyncio.Protocol.
class FIBER_API Protocol : public BaseProtocol {
 public:
  ~Protocol() override;
  /// The first call.
  virtual void connection_made(const Transport& transport);
  /// Gets received bytes, which are valid for the length of the call.
  virtual void data_received(std::string_view data);
  /// Called when the other side sends no more. Returns false to close the transport, true to leave
  /// it open for writing (not over TLS). A pipe is closed in any case.
  virtual bool eof_received();
};

/// A protocol that provides the memory for received bytes. Python: asyncio.BufferedProtocol.
class FIBER_API BufferedProtocol : public BaseProtocol {
 public:
  ~BufferedProtocol() override;
  virtual void connection_made(const Transport& transport);  ///< Called once, at first.
  /// Returns memory for the next bytes, valid until buffer_updated(); it must not be empty.
  /// `sizehint`: the number of bytes to come, -1 if unknown.
  virtual std::span<char> get_buffer(std::ptrdiff_t sizehint) = 0;
  /// Called when `count` bytes were put into the buffer.
  virtual void buffer_updated(std::size_t count) = 0;
  virtual bool eof_received();  ///< See Protocol::eof_received.
};

/// A protocol for datagrams. Python: asyncio.DatagramProtocol.
class FIBER_API DatagramProtocol : public BaseProtocol {
 public:
  ~DatagramProtocol() override;
  virtual void connection_made(const DatagramTransport& transport);  ///< Called once, at first.
  /// Called with each datagram and its sender.
  virtual void datagram_received(std::string_view data, const SocketAddress& from);
  /// Called when sending or receiving has failed, for instance because the port is closed. The
  /// transport goes on.
  virtual void error_received(const std::exception_ptr& error);
};

/// A protocol for child processes. Python: asyncio.SubprocessProtocol.
class FIBER_API SubprocessProtocol : public BaseProtocol {
 public:
  ~SubprocessProtocol() override;
  /// Called once, when the process has started.
  virtual void connection_made(const SubprocessTransport& transport);
  /// Gets output of the child. `fd`: 1 for stdout, 2 for stderr.
  virtual void pipe_data_received(int fd, std::string_view data);
  /// Called when a pipe is closed. `fd`: also 0, for stdin.
  virtual void pipe_connection_lost(int fd, const std::exception_ptr& error);
  virtual void process_exited();  ///< Called when the process has ended.
};

}  // namespace fiber::asyncio
