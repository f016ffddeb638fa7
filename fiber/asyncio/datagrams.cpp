#include <fiber/asyncio/datagrams.hpp>

#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/protocol_side.hpp>
#include <fiber/asyncio/reserved_call.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <tuple>
#include <type_traits>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::asyncio {
namespace detail {

// The object behind the DatagramTransport handles. The loop holds a reference while the transport
// can receive; its reader and writer are ordinary callbacks.
class DatagramObject final : public HandledObject<DatagramObject>,
                             public AnyTransport,
                             private LoopDependent {
 public:
  DatagramObject(LoopObject& loop, std::shared_ptr<BaseProtocol> protocol, SocketAddress remote)
      : HandledObject(loop), LoopDependent(loop), remote_(std::move(remote)) {
    use(std::move(protocol));
  }

  // Takes over the descriptor unless it throws OSError or RuntimeError.
  void open(UniqueFd&& fd) {
    loop_.selector().reserve(fd.get(), this);
    fd_ = std::move(fd);
    sockname_ = SocketAddress::of_socket(fd_.get());
    peername_ = SocketAddress::of_peer(fd_.get());
  }
  // Returns when the protocol has been told of its connection. In a task.
  void begin();

  void sendto(std::string_view data, const SocketAddress& to);
  void close() override;
  void abort() { force_close(nullptr); }
  bool is_closing() const noexcept override { return closing_; }
  std::size_t write_buffer_size() const noexcept { return buffered_; }
  std::size_t low_water() const noexcept { return low_water_; }
  std::size_t high_water() const noexcept { return high_water_; }
  void set_limits(std::optional<std::size_t> high, std::optional<std::size_t> low) {
    std::tie(high_water_, low_water_) = water_marks(high, low, kHighWater);
    maybe_pause();
  }

  void keep() noexcept override { retain_handle(); }
  void let_go() noexcept override { release_handle(); }
  std::shared_ptr<BaseProtocol> get_protocol() const override { return protocol_; }
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override { use(std::move(protocol)); }
  SocketAddress own_address() const override { return sockname_; }
  SocketAddress peer_address() const override { return peername_; }
  int file() const noexcept override { return fd_.get(); }

 private:
  friend core::Counted<DatagramObject>;
  friend HandledObject<DatagramObject>;
  ~DatagramObject() { let_descriptor_go(); }
  using HandledObject::loop_;
  using Self = core::Ref<DatagramObject>;
  using Protocol = std::shared_ptr<DatagramProtocol>;
  struct Datagram {
    std::string data;
    SocketAddress to;
  };
  static constexpr std::size_t kHeader = 8;  // counted for each datagram, as CPython does
  static constexpr std::size_t kHighWater = 64 * 1024;

  void use(std::shared_ptr<BaseProtocol> protocol);
  void begun();
  template <class F>
  void watch(Selector::For what, F&& callback);
  void unwatch(Selector::For what);
  void read_ready();
  void write_ready();
  std::ptrdiff_t send(std::string_view data, const SocketAddress& to) const noexcept;
  void not_sent(int error, const SocketAddress& to);
  void maybe_pause();
  void maybe_resume();
  void force_close(const std::exception_ptr& error);
  void look_for_descriptor() noexcept;
  void let_descriptor_go() noexcept;
  void lose();
  void end() noexcept;
  void loop_closed() noexcept override {
    const Self held(this);
    closing_ = lost_ = ended_ = true;
    loss_.drop();
    end();
  }

  Protocol protocol_;
  UniqueFd fd_;
  SocketAddress remote_;
  SocketAddress sockname_;
  SocketAddress peername_;
  std::deque<Datagram> out_;
  std::size_t buffered_ = 0;
  std::size_t high_water_ = kHighWater;
  std::size_t low_water_ = kHighWater / 4;
  bool closing_ = false;
  bool paused_ = false;
  bool lost_ = false;   ///< connection_lost() was called, or waits for its turn
  bool ended_ = false;  ///< connection_lost() was called
  int refused_ = 1;     ///< counts the datagrams since the loss, and the loss, as CPython does
  Waiter* begin_waiter_ = nullptr;
  std::exception_ptr error_;  ///< of which connection_lost() tells
  ReservedCall<DatagramObject> loss_{*this, &DatagramObject::lose};
};

void DatagramObject::use(std::shared_ptr<BaseProtocol> protocol) {
  auto datagrams = std::dynamic_pointer_cast<DatagramProtocol>(protocol);
  if (datagrams == nullptr) throw TypeError("the protocol must be a DatagramProtocol");
  protocol_ = std::move(datagrams);
}

void DatagramObject::begin() {
  const EventLoop loop(&loop_);
  loop.call_soon([self = Self(this)] {
    const Protocol protocol = self->protocol_;
    if (protocol != nullptr) protocol->connection_made(DatagramTransport(*self));
  });
  loop.call_soon([self = Self(this)] { self->begun(); });
  Waiter waiter(loop_);
  struct Place {
    Waiter*& place;
    ~Place() { place = nullptr; }
  } place{begin_waiter_};
  begin_waiter_ = &waiter;
  waiter.wait();
}

void DatagramObject::begun() {
  if (begin_waiter_ != nullptr) begin_waiter_->wake();
  if (!closing_) watch(Selector::For::reading, [self = Self(this)] { self->read_ready(); });
}

template <class F>
void DatagramObject::watch(Selector::For what, F&& callback) {
  auto handle = core::Ref<HandleObject>::adopt(
      new HandleOf<std::decay_t<F>>(&loop_, std::forward<F>(callback)));
  prepare(handle.get());
  const Selector::Acting acting(loop_.selector(), this);
  loop_.selector().add(fd_.get(), what, std::move(handle));
}

void DatagramObject::unwatch(Selector::For what) {
  if (!loop_.selector().is_reserved_by(fd_.get(), this)) return;
  const Selector::Acting acting(loop_.selector(), this);
  try {
    loop_.selector().remove(fd_.get(), what);
  } catch (const OSError&) {
    // Other code has closed the descriptor: no handle is left.
  }
}

// Forgets the descriptor if other code has closed it: its number may stand for another file.
void DatagramObject::look_for_descriptor() noexcept {
  if (fd_.get() >= 0 && !loop_.selector().is_still_reserved_by(fd_.get(), this))
    static_cast<void>(fd_.release());
}

void DatagramObject::let_descriptor_go() noexcept {
  if (fd_.get() < 0) return;  // the loop may be gone, too
  look_for_descriptor();
  if (fd_.get() < 0) return;
  unwatch(Selector::For::reading);
  unwatch(Selector::For::writing);
  loop_.selector().end_reservation(fd_.get());
  loop_.selector().closing(fd_.get());
  fd_.reset();
}

void DatagramObject::read_ready() {
  if (lost_) return;
  const Protocol protocol = protocol_;
  const ReadBuffer memory;
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  const std::ptrdiff_t count = ::recvfrom(fd_.get(), memory.span().data(), memory.span().size(),
                                          MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&raw), &size);
  if (count >= 0)
    protocol->datagram_received(
        {memory.span().data(), static_cast<std::size_t>(count)},
        SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), size));
  else if (!would_block(errno) && errno != EINTR)
    protocol->error_received(os_error(errno));
}

std::ptrdiff_t DatagramObject::send(std::string_view data, const SocketAddress& to) const noexcept {
  const platform::Uncancelled guard;
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (peername_ || !to) return ::send(fd_.get(), data.data(), data.size(), kFlags);
  return ::sendto(fd_.get(), data.data(), data.size(), kFlags, to.data(), to.size());
}

// Tells the protocol why a datagram was not sent. As CPython: without any address to send to, the
// connection ends.
void DatagramObject::not_sent(int error, const SocketAddress& to) {
  if (peername_ || to) {
    const Protocol protocol = protocol_;
    protocol->error_received(os_error(error));
    return;
  }
  const std::exception_ptr nowhere = fiber::detail::error_from([] {
    return TypeError("sendto(): an address is needed, since the socket is not connected");
  });
  loop_.errors().report_failure("Fatal write error on datagram transport", {.exception = nowhere});
  force_close(nowhere);
}

void DatagramObject::sendto(std::string_view data, const SocketAddress& to) {
  if (remote_ && to && to != remote_)
    throw ValueError("Invalid address: must be None or " + repr(remote_));
  // As CPython: an endpoint without `remote_addr` still sends until connection_lost() has returned.
  if (fd_.get() < 0 || (lost_ && remote_)) {
    constexpr int kWarnFrom = 5;
    if (refused_ >= kWarnFrom) log(LogLevel::warning, "socket.send() raised exception.");
    if (refused_ <= kWarnFrom) ++refused_;
    return;
  }
  const SocketAddress& where = remote_ ? remote_ : to;
  if (out_.empty()) {
    if (send(data, where) >= 0) return;
    if (!would_block(errno) && errno != EINTR) {
      not_sent(errno, where);
      return;
    }
    watch(Selector::For::writing, [self = Self(this)] { self->write_ready(); });
  }
  out_.push_back({std::string(data), where});
  buffered_ += data.size() + kHeader;
  maybe_pause();
}

void DatagramObject::write_ready() {
  while (!out_.empty()) {
    const std::ptrdiff_t count = send(out_.front().data, out_.front().to);
    if (count < 0 && (would_block(errno) || errno == EINTR)) break;
    const int error = count < 0 ? errno : 0;
    const Datagram sent = std::move(out_.front());
    buffered_ -= sent.data.size() + kHeader;
    out_.pop_front();
    if (error == 0) continue;
    not_sent(error, sent.to);
    return;  // the others have their turn in the next iteration
  }
  maybe_resume();  // the protocol may send more, or close
  if (!out_.empty() || ended_) return;
  unwatch(Selector::For::writing);
  if (closing_) lose();
}

void DatagramObject::maybe_pause() {
  if (paused_ || buffered_ <= high_water_) return;
  paused_ = true;
  tell_to_wait(loop_, protocol_, true);
}

void DatagramObject::maybe_resume() {
  if (!paused_ || buffered_ > low_water_) return;
  paused_ = false;
  tell_to_wait(loop_, protocol_, false);
}

void DatagramObject::close() {
  if (std::exchange(closing_, true)) return;
  look_for_descriptor();
  unwatch(Selector::For::reading);
  if (!out_.empty()) return;        // the last write ends the transport
  unwatch(Selector::For::writing);  // still there after an error of the last datagram
  lost_ = true;
  loss_.post();
}

void DatagramObject::force_close(const std::exception_ptr& error) {
  if (std::exchange(lost_, true)) return;
  look_for_descriptor();
  if (!out_.empty()) unwatch(Selector::For::writing);
  out_.clear();
  buffered_ = 0;
  if (!std::exchange(closing_, true)) unwatch(Selector::For::reading);
  error_ = error;
  loss_.post();
}

void DatagramObject::lose() {
  if (std::exchange(ended_, true)) return;
  const Self held(this);
  lost_ = true;
  struct End {
    DatagramObject& self;
    ~End() { self.end(); }
  } end{*this};
  const Protocol protocol = protocol_;
  if (protocol != nullptr) protocol->connection_lost(std::exchange(error_, nullptr));
}

void DatagramObject::end() noexcept {
  out_.clear();
  buffered_ = 0;
  let_descriptor_go();
  const Protocol protocol = std::exchange(protocol_, nullptr);
}

// --- sockets ------------------------------------------------------------------------------------

namespace {

struct Pair {
  int family = 0;
  int proto = 0;
  SocketAddress local;
  SocketAddress remote;
};

using Options = CreateDatagramEndpointOptions;

Pair unix_pair(const Options& options) {
  Pair pair{.family = AF_UNIX, .proto = options.proto, .local = {}, .remote = {}};
  if (options.local_path) {
    pair.local = SocketAddress::from_path(*options.local_path);
    struct stat found {};
    if (!options.local_path->starts_with('\0') &&
        ::stat(options.local_path->c_str(), &found) == 0 && S_ISSOCK(found.st_mode))
      ::unlink(options.local_path->c_str());
  }
  if (options.remote_path) pair.remote = SocketAddress::from_path(*options.remote_path);
  return pair;
}

// Returns the addresses, joined by family and protocol, in the resolver's order.
std::vector<Pair> pairs_of(LoopObject& loop, const Options& options) {
  const bool paths = options.local_path || options.remote_path;
  if (!options.local_addr && !options.remote_addr && !paths) {
    if (options.family == 0) throw ValueError("unexpected address family");
    return {{.family = options.family, .proto = options.proto, .local = {}, .remote = {}}};
  }
  if (paths) {
    if (options.local_addr || options.remote_addr || options.family != AF_UNIX)
      throw ValueError("a path needs .family = AF_UNIX, and no host");
    return {unix_pair(options)};
  }
  std::vector<Pair> pairs;
  const auto add = [&](const std::pair<std::string, int>& where, SocketAddress Pair::*member) {
    for (const AddressInfo& info : resolve(loop, where.first, where.second,
                                           {.family = options.family,
                                           .type = SOCK_DGRAM,
                                           .proto = options.proto,
                                           .flags = options.flags})) {
      const auto found = std::find_if(pairs.begin(), pairs.end(), [&](const Pair& pair) {
        return pair.family == info.family && pair.proto == info.proto;
      });
      Pair& pair =
          found != pairs.end()
              ? *found
              : pairs.emplace_back(
                    Pair{.family = info.family, .proto = info.proto, .local = {}, .remote = {}});
      pair.*member = info.address;
    }
  };
  if (options.local_addr) add(*options.local_addr, &Pair::local);
  if (options.remote_addr) add(*options.remote_addr, &Pair::remote);
  std::erase_if(pairs, [&](const Pair& pair) {
    return (options.local_addr && !pair.local) || (options.remote_addr && !pair.remote);
  });
  if (pairs.empty()) throw ValueError("can not get address information");
  return pairs;
}

UniqueFd make_endpoint(LoopObject& loop, const Pair& pair, const Options& options) {
  UniqueFd fd = make_socket(pair.family, SOCK_DGRAM, pair.proto);
  if (options.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT");
  if (options.allow_broadcast) set_option(fd.get(), SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST");
  if (pair.local && ::bind(fd.get(), pair.local.data(), pair.local.size()) != 0)
    raise_os_error(errno, repr(pair.local));
  if (pair.remote && !options.allow_broadcast) sock_connect(loop, fd.get(), pair.remote);
  return fd;
}

DatagramTransport begun(DatagramObject& object) {
  DatagramTransport transport(object);
  try {
    object.begin();
  } catch (...) {
    object.close();
    throw;
  }
  return transport;
}

// Returns the socket of the first pair of addresses that has one, and its remote address.
std::pair<UniqueFd, SocketAddress> first_endpoint(LoopObject& loop, const Options& options) {
  std::exception_ptr first;
  for (const Pair& pair : pairs_of(loop, options)) {
    try {
      return {make_endpoint(loop, pair, options), pair.remote};
    } catch (const OSError&) {
      if (first == nullptr) first = std::current_exception();
    }
  }
  std::rethrow_exception(first);
}

}  // namespace

DatagramTransport make_datagram_endpoint(LoopObject& loop, const protocol_factory& factory,
                                         const Options& options) {
  auto [fd, remote] = first_endpoint(loop, options);
  const core::Ref<DatagramObject> object(new DatagramObject(loop, factory(), remote));
  object->open(std::move(fd));
  return begun(*object);
}

DatagramTransport make_datagram_endpoint(LoopObject& loop, const protocol_factory& factory,
                                         GivenDescriptor& sock, const Options& options) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(sock.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) raise_os_error(errno);
  if (type == SOCK_STREAM)
    throw ValueError("A datagram socket was expected, got descriptor " +
                     std::to_string(sock.get()));
  if (options.local_addr || options.remote_addr || options.local_path || options.remote_path ||
      options.family != 0 || options.proto != 0 || options.flags != 0 || options.reuse_port ||
      options.allow_broadcast)
    throw ValueError("socket modifier keyword arguments can not be used when sock is specified.");
  loop.selector().refuse_watched(sock.get());
  const core::Ref<DatagramObject> object(new DatagramObject(loop, factory(), {}));
  set_nonblocking(sock.get());
  sock.hand_over([&](UniqueFd&& fd) { object->open(std::move(fd)); });
  return begun(*object);
}

}  // namespace detail

// --- the handle ---------------------------------------------------------------------------------

namespace {

detail::DatagramObject& object_of(const DatagramTransport& transport) {
  return static_cast<detail::DatagramObject&>(transport.object());
}

}  // namespace

DatagramTransport::DatagramTransport(detail::DatagramObject& object) noexcept
    : BaseTransport(object) {}
void DatagramTransport::sendto(std::string_view data, const SocketAddress& to) const {
  object_of(*this).sendto(data, to);
}
void DatagramTransport::abort() const { object_of(*this).abort(); }
std::size_t DatagramTransport::get_write_buffer_size() const {
  return object_of(*this).write_buffer_size();
}
void DatagramTransport::set_write_buffer_limits(std::optional<std::size_t> high,
                                                std::optional<std::size_t> low) const {
  object_of(*this).set_limits(high, low);
}
std::pair<std::size_t, std::size_t> DatagramTransport::get_write_buffer_limits() const {
  return {object_of(*this).low_water(), object_of(*this).high_water()};
}

}  // namespace fiber::asyncio
