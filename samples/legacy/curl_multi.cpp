// curl_multi: libcurl's multi interface driven by our loop; a transfer is something to await.
//
// support/curl_guest.hpp has the code that drives it. (fiber::requests and fiber::aiohttp have
// their own clients.)
#include <curl/curl.h>
#include <fiber/asyncio.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "../tutorial/support/image_server.hpp"
#include "../tutorial/support/print.hpp"
#include "support/curl_guest.hpp"

using namespace fiber;
using asyncio::await;

std::string download(CurlGuest& multi, const std::string& url) {
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
    CurlGuest multi(asyncio::get_running_loop());
    int running = 0, most = 0;
    std::vector<asyncio::Task<std::string>> transfers;
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (const std::string& url : server.urls())
        transfers.push_back(group.create_task([&, url] {
          most = std::max(most, ++running);
          std::string body = download(multi, url);
          --running;
          return body;
        }));
    });
    std::size_t bytes = 0;
    for (const auto& transfer : transfers) bytes += transfer.result().size();
    print(transfers.size(), "transfers,", bytes, "bytes");
    print("at the same time:", most);
  });
  curl_global_cleanup();
}
