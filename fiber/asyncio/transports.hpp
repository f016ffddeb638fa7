// A connected stream socket, or one end of a pipe: the object behind the StreamWriter handles.
//
// Invariants
//  1. The descriptor is registered with the loop once, from open() until the connection is lost.
//     While it is, the loop holds a reference.
//  2. Reads and writes happen in steps: entries of the ready queue that the loop pushes when the
//     descriptor is ready, one iteration before the waiting task goes on, just as the callbacks of
//     CPython's transports. A queued step holds a reference.
//  3. If `out_` holds any bytes, the last send would have blocked, so that an edge must come.
//  4. The last StreamWriter handle closes the transport when it is dropped.
//  5. With a layer in between (see transport_layer.hpp) this object has two faces: the socket below
//     the layer, and the stream above. A StreamWriter's actions go through `layer_`, the socket's
//     events go to `above_`; both are null without a layer.
//  6. With a protocol in place of a reader (`side_`) the steps run on the loop's own stack, as with
//     a layer, and the protocol's exceptions go to the loop. Only the loop keeps the protocol.
#pragma once

#include <fiber/asyncio/any_transport.hpp>
#include <fiber/asyncio/handled_object.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/stream_reader.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/asyncio/watch.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>

namespace fiber::asyncio::detail {

class ProtocolSide;
class ServerObject;

class FIBER_API TransportObject final : public HandledObject<TransportObject>,
                                        public Watch,
                                        public AnyTransport,
                                        private ReadSource,
                                        private SendsBytes,
                                        private ReceivesEvents {
 public:
  enum class Kind : std::uint8_t { socket, read_pipe, write_pipe };

  /// `reader`: the receiver of data; null for a write_pipe, and with a protocol.
  TransportObject(LoopObject& loop, Kind kind, ReaderObject* reader);

  /// Takes over the descriptor, which must not block, unless it throws OSError or RuntimeError.
  /// `plain_tcp`: whether it is plain TCP, where the caller knows; else the socket is asked.
  void open(UniqueFd&& fd, std::optional<bool> plain_tcp = {});
  /// Suspends until a connect() that is in progress has ended. Throws OSError.
  void wait_connected();
  /// Begins to read, in the iteration after the connection was made.
  void begin();
  /// Suspends until begin() was called.
  void wait_begun();
  /// Queues begin().
  void begin_soon() { post(begin_step_); }
  /// Closes the descriptor now, without any notice.
  void discard() noexcept;

  /// Puts a layer on top, whose handshake begin() begins. `made`: over a stream in use. Throws
  /// std::bad_alloc without any change.
  void put_layer(core::Owner<TransportLayer> layer, bool made);
  TransportLayer* layer() const noexcept { return layer_.get(); }
  /// Called by the layer when its handshake has ended. Wakes the task in wait_begun().
  void handshake_ended(const std::exception_ptr& error);
  /// Throws RuntimeError or ConnectionResetError if a layer cannot be started now.
  void check_layer_possible() const;
  /// Puts a layer on top and waits for its handshake; if that fails, the connection is closed.
  /// The layer gets what the reader has buffered.
  void start_layer(core::Owner<TransportLayer> layer, ReaderObject* reader);

  void write(std::string_view data);
  void write_eof();
  /// Suspends while too much is buffered.
  void drain();
  /// Suspends until the connection is lost; throws the error by which it was lost.
  void wait_closed();
  void close() override;
  void abort();
  bool is_closing() const noexcept override {
    return layer_ != nullptr ? layer_->is_closing() : closing_;
  }
  bool is_socket() const noexcept { return kind_ == Kind::socket; }
  bool is_read_pipe() const noexcept { return kind_ == Kind::read_pipe; }
  bool is_write_pipe() const noexcept { return kind_ == Kind::write_pipe; }
  bool can_write_eof() const noexcept { return layer_ == nullptr && kind_ != Kind::read_pipe; }

  std::size_t write_buffer_size() const noexcept {
    return layer_ != nullptr ? layer_->write_buffer_size() : out_.size();
  }
  void set_write_buffer_limits(std::optional<std::size_t> high, std::optional<std::size_t> low);
  std::size_t high_water() const noexcept {
    return layer_ != nullptr ? layer_->high_water() : high_water_;
  }
  std::size_t low_water() const noexcept {
    return layer_ != nullptr ? layer_->low_water() : low_water_;
  }

  ReaderObject* reader() const noexcept { return reader_; }
  /// Returns the reader of the stream, also if a StreamReaderProtocol feeds it; null without one.
  ReaderObject* stream_reader() const noexcept {
    return reader_ != nullptr ? reader_ : fed_reader_.get();
  }
  /// Called by the StreamReaderProtocol of this connection. `serves`: as a server's.
  void fed_by_protocol(ReaderObject& reader, bool serves) noexcept;
  /// Whether a handshake on the stream is that of a server.
  bool is_server_side() const noexcept { return serves_ || server != nullptr; }

  // --- with a protocol (transport_protocols.cpp) ---
  // Makes the protocol get the received data from now on, in the current context. Throws TypeError.
  void speak_to(std::shared_ptr<BaseProtocol> protocol);
  bool has_protocol() const noexcept { return side_ != nullptr; }
  bool is_reading() const noexcept;
  void pause_by_user();
  void resume_by_user();
  /// Suspends until nothing is buffered. Throws ConnectionError if the connection is lost before.
  void wait_sent();
  /// While this is set no other code may write: sendfile(2) does.
  bool lent_to_sendfile = false;
  /// Set for a write_pipe to a character device: its other side may come again.
  bool outlives_peer = false;

  void keep() noexcept override { retain_handle(); }
  void let_go() noexcept override { release_handle(); }
  std::shared_ptr<BaseProtocol> get_protocol() const override;
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override;
  SocketAddress own_address() const override { return sockname; }
  SocketAddress peer_address() const override { return peername; }
  int file() const noexcept override { return fileno(); }
  TransportObject* stream() noexcept override { return this; }

  int fileno() const noexcept { return descriptor(); }
  SocketAddress peername;
  SocketAddress sockname;

  ServerObject* server = nullptr;  ///< accepted this connection; counted
  core::Links<TransportObject> among_clients;

 private:
  struct Step : Leaf {
    TransportObject* self = nullptr;
    HandleObject* on_hub = nullptr;  ///< counted; with a layer alone: see post()
    bool queued = false;
  };
  class HubStep;
  void make_hub_steps();
  template <void (TransportObject::*Action)()>
  static void run_step(Leaf* leaf) noexcept;

  friend core::Counted<TransportObject>;
  friend HandledObject<TransportObject>;
  ~TransportObject() override;
  void no_handles() noexcept {
    if (side_ == nullptr) close();
  }

  void ready(Readiness readiness) override;
  Readiness used_up() const noexcept override;
  void detached(int fd) noexcept override;
  void lost_descriptor() noexcept override;
  void pause_reading() override;
  void resume_reading() override;
  void nobody_reads() noexcept override { close(); }

  /// The socket, for the lowest layer.
  void send(std::string_view data) override;
  void finish() override;
  void fail(std::exception_ptr error) override { force_close(std::move(error)); }
  bool finishing() const noexcept override { return closing_; }
  void pause_receiving() override { paused_ = true; }
  void resume_receiving() override;

  /// The stream, for the top layer.
  void connection_made() override;
  void data_received(std::string_view data) override;
  bool buffered() const noexcept override;
  ReceiveBuffer get_buffer(std::ptrdiff_t sizehint) override;
  void buffer_updated(std::size_t count) override;
  bool eof_received() override;
  void connection_lost(const std::exception_ptr& error) override;
  void pause_sending() override;
  void resume_sending() override;

  bool reading() const noexcept { return begun_ && !paused_ && !closing_ && !read_ended_; }
  void post(Step& step) noexcept;  ///< each has a claim in the ready queue
  /// Makes a protocol's step run in a copy of the current context from now on, as CPython's
  /// call_soon and add_writer do. Without memory the step keeps the context that it has.
  void take_context(Step& step) noexcept;
  static constexpr std::size_t kSteps = 4;
  void read_step();
  void read();
  void write_step();
  std::ptrdiff_t receive(char* to, std::size_t size) noexcept;
  bool send_some(std::string_view& data);
  void maybe_pause_writing();
  void maybe_resume_writing();
  void shut_down_writing() noexcept;
  void force_close(std::exception_ptr error);
  void lose();
  void socket_lost();
  void tell_of_loss() noexcept;
  void stream_lost();

  void keep_interrupt(const std::function<void()>& function);
  void begin_protocol();
  void fatal_error(const std::exception_ptr& error, const char* message);
  bool calls(const std::function<void()>& function, const char* message);
  void note_received(std::size_t got, std::size_t room) noexcept;
  void read_for_protocol();
  void read_without_memory();
  void protocol_reads_end();
  void tell_protocol_of_loss();

  Kind kind_;
  bool begun_ = false;
  bool paused_ = false;       ///< the reader has enough
  bool read_ended_ = false;   ///< the other side has sent its last byte
  bool readable_ = false;     ///< reported, and no read has used it up
  bool hangup_ = false;       ///< the end, or an error, can be read
  bool urgent_ = false;       ///< reads stop before an urgent byte
  bool byte_stream_ = false;  ///< of TCP: reads stop for nothing else
  bool closing_ = false;
  bool eof_ = false;  ///< write_eof() was called
  bool lost_ = false;
  bool losing_stream_ = false;  ///< a layer has reported the loss; the stream sees it next
  bool stream_lost_ = false;
  bool write_paused_ = false;
  bool drain_waits_ = false;  ///< drain() must wait; without a layer as write_paused_
  bool attached_ = false;     ///< known to the loop
  bool user_paused_ = false;  ///< by pause_by_user()
  int refused_ = 0;           ///< counts the writes since the loss of the connection was queued
  std::size_t high_water_ = 64 * 1024;
  std::size_t low_water_ = 16 * 1024;
  ByteBuffer out_;
  ReaderObject* reader_;  ///< counted
  core::Owner<ProtocolSide> side_;
  core::Owner<TransportLayer> layer_;
  ReceivesEvents* above_ = nullptr;  ///< the lowest layer
  std::exception_ptr error_;
  Waiter* begin_waiter_ = nullptr;
  Waiter* connect_waiter_ = nullptr;
  WaiterList drain_waiters_;
  WaiterList close_waiters_;
  WaiterList sent_waiters_;
  Step begin_step_;
  Step read_step_;
  Step write_step_;
  Step lost_step_;
  core::Ref<ReaderObject> fed_reader_;
  bool serves_ = false;
};

}  // namespace fiber::asyncio::detail
