// compare_downloads: two transfers pulled in step through a write callback that suspends (libcurl).
//
// Each transfer runs on a stack of its own: curl_easy_perform calls back with some bytes, the
// callback yields them, and the transfer stands still until the next are wanted. Nothing is stored,
// and at the first difference both are given up.
#include <curl/curl.h>
#include <fiber/generator.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "../tutorial/support/image_server.hpp"
#include "../tutorial/support/print.hpp"
#include "support/callback_border.hpp"

using Chunks = fiber::Generator<std::string_view>;

Chunks download(std::string url) {
  return [url](Chunks::Self& self) {
    struct Transfer {
      Chunks::Self& self;
      CallbackBorder border;
    } transfer{self, {}};
    const std::unique_ptr<CURL, void (*)(CURL*)> handle(curl_easy_init(), curl_easy_cleanup);
    CURL* curl = handle.get();
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    curl_write_callback write = [](char* data, std::size_t size, std::size_t count, void* to) {
      auto* its = static_cast<Transfer*>(to);
      const std::string_view bytes(data, size * count);
      const bool more = its->border.pass([&] { its->self.yield(bytes); });
      return more ? bytes.size() : 0;  // 0: CURLE_WRITE_ERROR
    };
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write);
    const CURLcode status = curl_easy_perform(curl);
    transfer.border.rethrow();
    if (status != CURLE_OK) throw fiber::RuntimeError(curl_easy_strerror(status));
  };
}

// Returns the place of the first difference, or the common number of bytes.
std::string compared(const Chunks& a, const Chunks& b) {
  std::string_view left, right;
  for (std::size_t at = 0;;) {
    if (left.empty()) left = a.next({});
    if (right.empty()) right = b.next({});
    const std::size_t size = std::min(left.size(), right.size());
    if (size == 0)
      return (left.empty() && right.empty() ? "equal: " : "one ends at byte ") + std::to_string(at);
    for (std::size_t i = 0; i < size; ++i)
      if (left[i] != right[i]) return "they differ at byte " + std::to_string(at + i);
    at += size;
    left.remove_prefix(size);
    right.remove_prefix(size);
  }
}

int main() {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  {
    const ImageServer server(ImageServer::Seconds(0));  // in a thread of its own
    const auto urls = server.urls();
    print("1 and 1:", compared(download(urls[0]), download(urls[0])));
    print("1 and 2:", compared(download(urls[0]), download(urls[1])));
    try {
      print("1 and none:", compared(download(urls[0]), download(urls[0] + ".none")));
    } catch (const fiber::RuntimeError& error) {
      print("1 and none:", error.what());
    }
  }
  curl_global_cleanup();
}
