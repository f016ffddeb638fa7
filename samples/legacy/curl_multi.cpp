// curl_multi: libcurl's multi interface driven by our loop; a transfer is something to await.
//
// The library says which sockets it waits for and when it wants to be called; our loop watches and
// calls. (fiber::requests and fiber::aiohttp have this built in.)
#include <curl/curl.h>
#include <fiber/asyncio.hpp>

#include <chrono>
#include <memory>
#include <string>

#include "../tutorial/support/image_server.hpp"
#include "../tutorial/support/print.hpp"

using namespace fiber;
using asyncio::await;

class CurlMulti {
 public:
  explicit CurlMulti(const asyncio::EventLoop& loop) : loop_(loop), multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &CurlMulti::watch);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &CurlMulti::set_timer);
  }
  CurlMulti(const CurlMulti&) = delete;
  CurlMulti& operator=(const CurlMulti&) = delete;
  ~CurlMulti() {
    curl_multi_cleanup(multi_);
    timer_.cancel();
  }

  // Waits for a transfer; its result. Cancelling the task ends the transfer.
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
    return await(done);
  }

 private:
  static int watch(CURL*, curl_socket_t fd, int what, void* self, void*) {
    auto* its = static_cast<CurlMulti*>(self);
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
    auto* its = static_cast<CurlMulti*>(self);
    its->timer_.cancel();
    if (milliseconds >= 0)
      its->timer_ = its->loop_.call_later(std::chrono::milliseconds(milliseconds),
                                          [its] { its->act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
  }
  void act(curl_socket_t fd, int events) {
    int running = 0;
    curl_multi_socket_action(multi_, fd, events, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const asyncio::Future<CURLcode>* done = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &done);
      if (!done->done()) done->set_result(message->data.result);
    }
  }

  asyncio::EventLoop loop_;
  CURLM* multi_;
  asyncio::TimerHandle timer_;
};

std::string download(CurlMulti& multi, const std::string& url) {
  std::string body;
  const std::unique_ptr<CURL, void (*)(CURL*)> handle(curl_easy_init(), curl_easy_cleanup);
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
  curl_write_callback write = [](char* data, std::size_t size, std::size_t count, void* to) {
    static_cast<std::string*>(to)->append(data, size * count);
    return size * count;
  };
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write);
  const CURLcode status = multi.perform(curl);
  if (status != CURLE_OK) throw RuntimeError(curl_easy_strerror(status));
  return body;
}

int main() {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  asyncio::run([] {
    const ImageServer server(std::chrono::milliseconds(200));  // answers after a while
    CurlMulti multi(asyncio::get_running_loop());
    const auto start = asyncio::get_running_loop().time();
    std::vector<asyncio::Task<std::string>> transfers;
    for (const std::string& url : server.urls())
      transfers.push_back(asyncio::create_task([&multi, url] { return download(multi, url); }));
    std::size_t bytes = 0;
    for (const std::string& body : await(asyncio::gather(transfers))) bytes += body.size();
    const auto took = asyncio::get_running_loop().time() - start;
    print(transfers.size(), "transfers,", bytes, "bytes");
    print("one after the other:", took > std::chrono::milliseconds(1200) ? "yes" : "no");
  });
  curl_global_cleanup();
}
