#include <fiber/aiohttp/engine.hpp>

#include <chrono>
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
    return -1;  // curl ends its transfers with an error
  }
}

int Engine::on_timer(CURLM*, long milliseconds, void* self) {
  try {
    static_cast<Engine*>(self)->arm(milliseconds);
    return 0;
  } catch (...) {
    return -1;
  }
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
  if (timer_) std::exchange(timer_, {}).cancel();
  if (milliseconds < 0) return;
  timer_ = loop_.call_later(std::chrono::milliseconds(milliseconds), [this] {
    timer_ = {};
    act(CURL_SOCKET_TIMEOUT, 0);
  });
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
  // Without memory curl forgets what it was about to do next, and would never come back to it.
  if (code != CURLM_OK) {
    const std::exception_ptr error = http::error_of(code);
    for (http::Transfer* transfer : transfers_) transfer->fail(error);
  }
  follow_redirects(false);
}

void Engine::follow_redirects(bool at_once) {
  const auto pending = std::exchange(redirected_, {});
  for (http::Transfer* transfer : pending) {
    if (!transfers_.contains(transfer) || !transfer->is_redirected()) continue;
    if (!at_once && !transfer->hop_is_over()) {
      redirected_.push_back(transfer);
      continue;
    }
    remove(*transfer);
    if (!transfer->next_hop()) continue;
    try {
      add(*transfer);
    } catch (...) {
      transfer->fail(std::current_exception());
    }
  }
  if (!redirected_.empty() && !redirect_timer_)
    redirect_timer_ = loop_.call_later(std::chrono::milliseconds(50), [this] {
      redirect_timer_ = {};
      follow_redirects(true);
    });
}

}  // namespace fiber::aiohttp::detail
