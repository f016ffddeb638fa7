// libcurl's multi interface driven by our loop. libcurl says which sockets it waits for and when it
// wants to be called; our loop watches the sockets and calls libcurl.
#pragma once

#include <curl/curl.h>
#include <fiber/asyncio.hpp>

#include <chrono>

class CurlGuest {
 public:
  explicit CurlGuest(const fiber::asyncio::EventLoop& loop)
      : loop_(loop), multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &CurlGuest::watch);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &CurlGuest::set_timer);
  }
  CurlGuest(const CurlGuest&) = delete;
  CurlGuest& operator=(const CurlGuest&) = delete;
  ~CurlGuest() {
    curl_multi_cleanup(multi_);
    timer_.cancel();
  }

  // Waits for a transfer, and returns its result. Cancelling the task ends the transfer.
  CURLcode perform(CURL* curl) {
    const auto done = loop_.create_future<CURLcode>();
    struct Registration {
      CURLM* multi;
      CURL* curl;
      ~Registration() { curl_multi_remove_handle(multi, curl); }
    };
    curl_easy_setopt(curl, CURLOPT_PRIVATE, &done);
    curl_multi_add_handle(multi_, curl);
    const Registration registration{multi_, curl};
    return fiber::asyncio::await(done);
  }

  // The number of calls of libcurl for a socket or a deadline.
  int turns() const { return turns_; }

 private:
  static int watch(CURL*, curl_socket_t fd, int what, void* self, void*) {
    auto* its = static_cast<CurlGuest*>(self);
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
      its->loop_.add_reader(fd, [its, fd] { its->act(fd, CURL_CSELECT_IN); });
    else
      its->loop_.remove_reader(fd);
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
      its->loop_.add_writer(fd, [its, fd] { its->act(fd, CURL_CSELECT_OUT); });
    else
      its->loop_.remove_writer(fd);
    return 0;
  }
  static int set_timer(CURLM*, long milliseconds, void* self) {
    auto* its = static_cast<CurlGuest*>(self);
    its->timer_.cancel();
    if (milliseconds >= 0)
      its->timer_ = its->loop_.call_later(std::chrono::milliseconds(milliseconds),
                                          [its] { its->act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
  }
  void act(curl_socket_t fd, int events) {
    ++turns_;
    int running = 0;
    curl_multi_socket_action(multi_, fd, events, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const fiber::asyncio::Future<CURLcode>* done = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &done);
      if (!done->done()) done->set_result(message->data.result);
    }
  }

  fiber::asyncio::EventLoop loop_;
  CURLM* multi_;
  int turns_ = 0;
  fiber::asyncio::TimerHandle timer_;
};
