#include <fiber/aiohttp/engine.hpp>

#include <fiber/aiohttp/connector.hpp>
#include <fiber/aiohttp/times.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace fiber::aiohttp::detail {
namespace {

constexpr auto redirect_time = std::chrono::milliseconds(50);
// The loop polled the connection at most this long ago: no closer check is needed.
constexpr auto unseen_time = std::chrono::milliseconds(10);

}  // namespace

Engine::Engine(asyncio::EventLoop loop, const TCPConnector& options)
    : loop_(std::move(loop)),
      options_(std::make_shared<const TCPConnector>(options)),
      addresses_(std::make_shared<AddressBook>(loop_, options)),
      most_idle_(options.force_close ? 0 : std::max<std::size_t>(options.limit, 10)) {}

Engine::~Engine() {
  while (Ride* ride = rides_.first()) remove(*ride);
  close_idle(0);
  cancel(idle_timer_);
}

core::Ref<Ride> Engine::add(http::Transfer& transfer, std::function<bool()> may_go_on) {
  core::Ref<Ride> ride(new Ride(transfer));
  ride->may_go_on = std::move(may_go_on);
  transfer.on_owner = [this, &ride = *ride] { look(ride); };
  rides_.append(*ride);
  try {
    start(*ride);
  } catch (...) {
    remove(*ride);
    throw;
  }
  return ride;
}

void Engine::remove(Ride& ride) noexcept {
  if (ride.transfer == nullptr) return;
  const core::Ref<Ride> kept(&ride);
  rides_.remove(ride);
  std::exchange(ride.transfer, nullptr)->on_owner = nullptr;
  cancel(ride.redirect_timer);
  cancel(ride.continue_timer);
  if (ride.connection) std::exchange(ride.connection, {})->close();
  try {
    if (ride.connecting) std::exchange(ride.connecting, {}).cancel();
  } catch (...) {
    // There was no memory to cancel the task: it goes on, and closes the connection that it makes.
  }
}

asyncio::Transport Engine::detach(Ride& ride) noexcept {
  const std::shared_ptr<Connection> connection = std::exchange(ride.connection, {});
  remove(ride);
  return connection ? connection->detach() : asyncio::Transport();
}

void Engine::start(Ride& ride) {
  http::Transfer& transfer = *ride.transfer;
  ride.connection = transfer.wants_new_connection() ? nullptr : take_idle(transfer);
  if (!ride.connection) return connect(core::Ref(&ride));
  ride.connection->carry(ride);
  arrange(ride);
}

void Engine::connect(const core::Ref<Ride>& ride) {
  // The engine lives as long as the ride has its transfer.
  auto made = [this, ride](std::shared_ptr<Connection> connection) {
    if (ride->transfer == nullptr) return connection->close();
    ride->connection = std::move(connection);
    ride->connection->carry(*ride);
    ride->connecting = {};
    look(*ride);
  };
  // Reports the failure of the task, also one before its beginning.
  auto ended = [this, ride](const auto& task) {
    if (ride->transfer == nullptr) return;
    try {
      return task.result();
    } catch (http::Failure& failure) {
      ride->transfer->refuse(std::move(failure));
    } catch (...) {
      ride->transfer->fail(std::current_exception());
    }
    ride->connecting = {};
    look(*ride);
  };
  auto connector = std::make_shared<Connector>(
      loop_, *ride->transfer, options_, addresses_,
      [this](const auto& route) { return std::make_shared<Connection>(*this, route); });
  ride->connecting = loop_.create_task(asyncio::Coroutine<void>(
      [connector, made = std::move(made)] { made(connector->connect()); }, "TCPConnector.connect"));
  ride->connecting.add_done_callback(std::move(ended));
}

void Engine::look(Ride& ride) noexcept { guarded(ride, &Engine::arrange); }

void Engine::go_on(Ride& ride) noexcept { guarded(ride, &Engine::start); }

// Makes a step of a ride, whose transfer gets its exceptions.
void Engine::guarded(Ride& ride, void (Engine::*step)(Ride&)) noexcept {
  if (ride.transfer == nullptr) return;
  const core::Ref<Ride> kept(&ride);
  try {
    (this->*step)(ride);
  } catch (...) {
    if (ride.transfer == nullptr) return;
    ride.transfer->fail(std::current_exception());
    leave_connection(ride);
  }
}

void Engine::arrange(Ride& ride) {
  http::Transfer& transfer = *ride.transfer;
  if (ride.connection && !transfer.is_over() && !transfer.wants_connection())
    ride.connection->work();
  if (transfer.is_redirected()) {
    if (transfer.is_over()) return follow_redirect(ride);
    if (ride.redirect_timer) return;
    ride.redirect_timer = loop_.call_later(redirect_time, [this, kept = core::Ref(&ride)] {
      if (kept->transfer == nullptr) return;
      try {
        follow_redirect(*kept);
      } catch (...) {
        kept->transfer->fail(std::current_exception());
      }
    });
    return;
  }
  if (transfer.is_over()) return leave_connection(ride);
  if (ride.connection && transfer.wants_connection()) {
    leave_connection(ride);
    return start(ride);
  }
  if (const auto until = transfer.expects_until(); until && !ride.continue_timer) {
    const auto left = *until - http::Transfer::Clock::now();
    ride.continue_timer = loop_.call_later(left, [this, kept = core::Ref(&ride)] {
      kept->continue_timer = {};
      if (kept->transfer == nullptr) return;
      kept->transfer->stop_expecting();
      look(*kept);
    });
  }
}

void Engine::follow_redirect(Ride& ride) {
  cancel(ride.redirect_timer);
  leave_connection(ride);
  if (ride.transfer->next_hop() && ride.may_go_on()) start(ride);
}

// Takes the connection from a ride that is over, or given up.
void Engine::leave_connection(Ride& ride) noexcept {
  cancel(ride.continue_timer);
  std::shared_ptr<Connection> connection = std::exchange(ride.connection, {});
  if (!connection) return;
  connection->leave();
  const bool keeps =
      ride.transfer->is_over() && ride.transfer->keeps_connection() && connection->is_alive(false);
  if (!keeps || most_idle_ == 0) return connection->close();
  try {
    connection->idle_since = ride.transfer->last_activity();
    watch_idle();
    idle_.entry(connection->key()).second.push_back(std::move(connection));
    ++idle_count_;
  } catch (...) {
    connection->close();
  }
}

// --- idle connections ---------------------------------------------------------------------------

std::shared_ptr<Connection> Engine::take_idle(const http::Transfer& transfer) {
  auto* found = idle_.find(transfer.route().key);
  if (found == nullptr) return nullptr;
  const auto now = http::Transfer::Clock::now();
  auto& connections = found->second;
  while (!connections.empty()) {
    std::shared_ptr<Connection> connection = std::move(connections.back());
    connections.pop_back();
    --idle_count_;
    if (connection->is_alive(now - connection->idle_since > unseen_time)) return connection;
    connection->close();
  }
  return nullptr;
}

void Engine::forget(const Connection& connection) noexcept {
  auto* found = idle_.find(connection.key());
  if (found == nullptr) return;
  idle_count_ -=
      std::erase_if(found->second, [&](const auto& one) { return one.get() == &connection; });
}

// Closes connections that were idle for too long and, beyond `most`, older ones of some host.
void Engine::close_idle(std::size_t most) noexcept {
  const auto now = http::Transfer::Clock::now();
  for (auto& [key, connections] : idle_) {
    // The oldest connections are in front.
    auto fresh = connections.begin();
    while (fresh != connections.end() &&
           (now - (*fresh)->idle_since >= options_->keepalive_timeout || idle_count_ > most)) {
      (*fresh)->close();
      ++fresh;
      --idle_count_;
    }
    connections.erase(connections.begin(), fresh);
  }
  idle_.erase_if([](const auto& entry) { return entry.second.empty(); });
}

void Engine::watch_idle() {
  if (idle_count_ >= most_idle_) close_idle(most_idle_ - 1);
  if (idle_timer_) return;
  idle_timer_ = loop_.call_later(options_->keepalive_timeout, [this] {
    idle_timer_ = {};
    close_idle(most_idle_);
    if (idle_count_ > 0) watch_idle();
  });
}

}  // namespace fiber::aiohttp::detail
