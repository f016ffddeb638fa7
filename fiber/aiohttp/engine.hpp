// libcurl's multi handle, driven by an event loop.
//
// curl says which descriptors to watch and when to call it at the latest; the loop's readers,
// writers and timer call curl_multi_socket_action(). Rules:
//  1. What curl calls (on_socket, on_timer, on_close) only registers with the loop; it never calls
//     the multi interface.
//  2. After every action the messages are read: transfers learn there that they are done.
//  3. The body of a redirect has 50 ms to arrive, and its connection is used again if it does. It
//  is
//     not waited for longer: the redirect is followed, and the connection closed.
//  4. A descriptor leaves the loop before it is closed: its number may come back at once.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/with.hpp>
#include <fiber/http/transfer.hpp>

#include <exception>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace fiber::aiohttp::detail {

class Engine {
 public:
  Engine(asyncio::EventLoop loop, std::size_t max_idle_connections);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  const asyncio::EventLoop& loop() const noexcept { return loop_; }

  /// Starts the transfer, and follows its redirects; it must be removed before it is destroyed and
  /// before the engine is.
  void add(http::Transfer& transfer);
  /// Ends it, closing its connection unless it is done. Not from within its on_change.
  void remove(http::Transfer& transfer) noexcept;

 private:
  static int on_socket(CURL*, curl_socket_t socket, int wanted, void* self, void*);
  static int on_timer(CURLM*, long milliseconds, void* self);
  static int on_close(void* self, curl_socket_t socket);

  struct Watched {
    int events;                ///< CURL_POLL_IN, _OUT, _INOUT
    http::Transfer* transfer;  ///< that used the socket when curl asked for it
  };

  void watch(CURL* easy, curl_socket_t socket, int wanted);
  void arm(long milliseconds);
  void fail_all(const std::exception_ptr& error) noexcept;
  void act(curl_socket_t socket, int events);
  void follow_redirects(bool at_once);

  asyncio::EventLoop loop_;
  std::unordered_map<curl_socket_t, Watched> watched_;
  std::unordered_set<http::Transfer*> transfers_;
  std::vector<http::Transfer*> redirected_;
  asyncio::TimerHandle timer_;
  asyncio::TimerHandle redirect_timer_;
  http::Multi multi_;
};

}  // namespace fiber::aiohttp::detail
