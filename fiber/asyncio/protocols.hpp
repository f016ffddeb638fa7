// Protocols: objects whose functions are called with what happens to a connection. Python:
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
// The functions are callbacks of the loop: they may not await (RuntimeError); a fiber is one
// create_task away. One that throws is reported to the loop's exception handler; if it was to take
// data, its transport is aborted. The transport keeps its protocol until connection_lost() has
// returned. All are called in the context in which the connection was made.
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

/// What all protocols have. Python: asyncio.BaseProtocol.
class FIBER_API BaseProtocol {
 public:
  BaseProtocol() = default;
  BaseProtocol(const BaseProtocol&) = default;
  BaseProtocol& operator=(const BaseProtocol&) = default;
  virtual ~BaseProtocol();

  /// The last call. Null: closed by the other side's end, by close() or abort().
  virtual void connection_lost(const std::exception_ptr& error);
  /// More than the high limit of the write buffer is buffered, and then no more than the low one.
  virtual void pause_writing();
  virtual void resume_writing();
};

/// Of connections and pipes. Python: asyncio.Protocol.
class FIBER_API Protocol : public BaseProtocol {
 public:
  ~Protocol() override;
  /// The first call.
  virtual void connection_made(const Transport& transport);
  /// The bytes stay for the length of the call.
  virtual void data_received(std::string_view data);
  /// The other side sends no more. False: close the transport; true: leave it open for writing
  /// (not over TLS). A pipe is closed in any case.
  virtual bool eof_received();
};

/// A protocol that says where received bytes are to go. Python: asyncio.BufferedProtocol.
class FIBER_API BufferedProtocol : public BaseProtocol {
 public:
  ~BufferedProtocol() override;
  virtual void connection_made(const Transport& transport);
  /// Memory for what comes next, which stays until buffer_updated(); it may not be empty.
  /// `sizehint`: how much is there, -1 if that is not known.
  virtual std::span<char> get_buffer(std::ptrdiff_t sizehint) = 0;
  /// So many bytes were put there.
  virtual void buffer_updated(std::size_t count) = 0;
  virtual bool eof_received();
};

/// Of datagrams. Python: asyncio.DatagramProtocol.
class FIBER_API DatagramProtocol : public BaseProtocol {
 public:
  ~DatagramProtocol() override;
  virtual void connection_made(const DatagramTransport& transport);
  virtual void datagram_received(std::string_view data, const SocketAddress& from);
  /// Sending or receiving has failed, as when nobody listens there. The transport goes on.
  virtual void error_received(const std::exception_ptr& error);
};

/// Of child processes. Python: asyncio.SubprocessProtocol.
class FIBER_API SubprocessProtocol : public BaseProtocol {
 public:
  ~SubprocessProtocol() override;
  virtual void connection_made(const SubprocessTransport& transport);
  /// `fd`: 1 for the child's stdout, 2 for stderr.
  virtual void pipe_data_received(int fd, std::string_view data);
  /// 0 for its stdin, too.
  virtual void pipe_connection_lost(int fd, const std::exception_ptr& error);
  virtual void process_exited();
};

}  // namespace fiber::asyncio
