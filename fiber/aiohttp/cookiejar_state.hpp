// What a CookieJar is a handle to.
#pragma once

#include <fiber/http/transfer.hpp>

#include <memory>
#include <mutex>

namespace fiber::aiohttp::detail {

struct JarState {
  explicit JarState(bool keeps_cookies)
      : keeps(keeps_cookies), shared(std::make_shared<http::Shared>(keeps_cookies)) {}

  http::Params cookies_for_all() const {
    const std::lock_guard lock(mutex);
    return for_all;
  }

  const bool keeps;
  const std::shared_ptr<http::Shared> shared;
  mutable std::mutex mutex;
  http::Params for_all;  // hosts; libcurl has none of that kind
};

}  // namespace fiber::aiohttp::detail
