// The state that the copies of a CookieJar share.
#pragma once

#include <fiber/http/shared.hpp>

#include <memory>

namespace fiber::aiohttp::detail {

struct JarState {
  explicit JarState(bool keeps_cookies) : shared(std::make_shared<http::Shared>(keeps_cookies)) {}

  http::CookieStore& store() const noexcept { return shared->cookies(); }

  const std::shared_ptr<http::Shared> shared;
};

}  // namespace fiber::aiohttp::detail
