// A protocol that feeds a StreamReader, for transports that are made with protocols. Python:
// asyncio.StreamReaderProtocol.
//
//   asyncio::StreamReader reader;
//   await(loop.connect_read_pipe(
//       [&] { return std::make_shared<asyncio::StreamReaderProtocol>(reader); }, fd));
//   await(reader.readline());
#pragma once

#include <fiber/asyncio/protocols.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/standard.hpp>

namespace fiber::asyncio {

/// Pauses the transport while the reader's buffer is full. To write to the connection, make a
/// StreamWriter of the transport.
class FIBER_API StreamReaderProtocol : public Protocol, private detail::ReadSource {
 public:
  /// `connected(reader, writer)` is called, in a task of its own, when the connection is made, as
  /// by start_server(); with it, the writer's start_tls() is the server's side of the handshake.
  explicit StreamReaderProtocol(
      const StreamReader& reader,
      std::function<void(StreamReader&, StreamWriter&)> connected = nullptr);
  ~StreamReaderProtocol() override;

  void connection_made(const Transport& transport) override;
  void data_received(std::string_view data) override;
  /// Returns true, so that writing stays possible; false over TLS.
  bool eof_received() override;
  void connection_lost(const std::exception_ptr& error) override;

 private:
  void pause_reading() override;
  void resume_reading() override;
  void nobody_reads() noexcept override {}

  core::Ref<detail::ReaderObject> reader_;
  std::function<void(StreamReader&, StreamWriter&)> connected_;
  Transport transport_;
};

}  // namespace fiber::asyncio
