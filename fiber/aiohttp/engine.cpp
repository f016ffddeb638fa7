#include <fiber/aiohttp/engine.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>

#include <unistd.h>

namespace fiber::aiohttp::detail {

Engine::Engine(asyncio::EventLoop loop, std::size_t max_idle_connections)
    : loop_(std::move(loop)), multi_(http::new_multi()) {
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &Engine::on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &Engine::on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(max_idle_connections));
}

Engine::~Engine() {
  multi_.reset();  // closes what is open, through on_socket and on_close
  while (!watched_.empty()) watch(nullptr, watched_.begin()->first, CURL_POLL_REMOVE);
  arm(-1);
  if (redirect_timer_) std::exchange(redirect_timer_, {}).cancel();
}

void Engine::add(http::Transfer& transfer) {
  CURL* easy = transfer.easy();
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &Engine::on_close);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
  transfer.on_redirect = [this, &transfer] { redirected_.push_back(&transfer); };
  const auto place = transfers_.insert(&transfer).first;
  if (curl_multi_add_handle(multi_.get(), easy) == CURLM_OK) return;
  transfers_.erase(place);
  throw std::bad_alloc();
}

void Engine::remove(http::Transfer& transfer) noexcept {
  transfers_.erase(&transfer);
  std::erase(redirected_, &transfer);
  curl_multi_remove_handle(multi_.get(), transfer.easy());
}

int Engine::on_socket(CURL* easy, curl_socket_t socket, int wanted, void* self, void*) {
  try {
    static_cast<Engine*>(self)->watch(easy, socket, wanted);
    return 0;
  } catch (...) {
    // Not told to curl, which uses what it has freed then (7.88).
    static_cast<Engine*>(self)->fail_all(std::current_exception());
    return 0;
  }
}

int Engine::on_timer(CURLM*, long milliseconds, void* self) {
  try {
    static_cast<Engine*>(self)->arm(milliseconds);
    return 0;
  } catch (...) {
    static_cast<Engine*>(self)->fail_all(std::current_exception());
    return 0;
  }
}

// Without memory nothing would come back to what is under way.
void Engine::fail_all(const std::exception_ptr& error) noexcept {
  for (http::Transfer* transfer : transfers_) transfer->fail(error);
}

int Engine::on_close(void* self, curl_socket_t socket) {
  on_socket(nullptr, socket, CURL_POLL_REMOVE, self, nullptr);
  return ::close(socket);
}

void Engine::watch(CURL* easy, curl_socket_t socket, int wanted) {
  if (wanted == CURL_POLL_REMOVE) wanted = CURL_POLL_NONE;
  const auto found = watched_.find(socket);
  const int watched = found == watched_.end() ? CURL_POLL_NONE : found->second.events;
  if (wanted == CURL_POLL_NONE) {
    if (found != watched_.end()) watched_.erase(found);
  } else {
    http::Transfer* transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    watched_[socket] = {wanted, transfer};
  }
  const int changes = watched ^ wanted;
  if (changes & CURL_POLL_IN) {
    if (wanted & CURL_POLL_IN)
      loop_.add_reader(socket, [this, socket] { act(socket, CURL_CSELECT_IN); });
    else
      loop_.remove_reader(socket);
  }
  if (changes & CURL_POLL_OUT) {
    if (wanted & CURL_POLL_OUT)
      loop_.add_writer(socket, [this, socket] { act(socket, CURL_CSELECT_OUT); });
    else
      loop_.remove_writer(socket);
  }
}

void Engine::arm(long milliseconds) {
  asyncio::TimerHandle next;
  if (milliseconds >= 0)
    next = loop_.call_later(std::chrono::milliseconds(milliseconds), [this] {
      timer_ = {};
      act(CURL_SOCKET_TIMEOUT, 0);
    });
  if (timer_) timer_.cancel();
  timer_ = std::move(next);
}

void Engine::act(curl_socket_t socket, int events) {
  // The bytes that have come need not make a line yet, of which curl would tell.
  if (const auto found = watched_.find(socket);
      found != watched_.end() && transfers_.contains(found->second.transfer))
    found->second.transfer->touch();
  int running = 0;
  const CURLMcode code = curl_multi_socket_action(multi_.get(), socket, events, &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode result = message->data.result;
    http::Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    transfer->finish(result);
  }
  if (code != CURLM_OK) fail_all(http::error_of(code));
  follow_redirects(false);
}

void Engine::follow_redirects(bool at_once) {
  for (std::size_t i = 0; i < redirected_.size();) {
    http::Transfer* transfer = redirected_[i];
    const bool goes_on = transfers_.contains(transfer) && transfer->is_redirected();
    if (goes_on && !at_once && !transfer->hop_is_over()) {
      ++i;
      continue;
    }
    redirected_.erase(redirected_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!goes_on) continue;
    remove(*transfer);
    if (!transfer->next_hop()) continue;
    try {
      add(*transfer);
    } catch (...) {
      transfer->fail(std::current_exception());
    }
  }
  if (redirected_.empty() || redirect_timer_) return;
  try {
    redirect_timer_ = loop_.call_later(std::chrono::milliseconds(50), [this] {
      redirect_timer_ = {};
      follow_redirects(true);
    });
  } catch (...) {
    for (http::Transfer* transfer : redirected_) transfer->fail(std::current_exception());
  }
}

}  // namespace fiber::aiohttp::detail
