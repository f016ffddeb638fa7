// The outcomes of both clients for one URL, as texts that can be compared.
#pragma once

#include <fiber/requests.hpp>

#include "aiohttp_session.hpp"

#include <exception>
#include <string>
#include <utility>

namespace support {

namespace detail {
// Returns "ConnectionError" for "ConnectionError('text')".
inline std::string name_of_current_exception() {
  const std::string repr = fiber::repr(std::current_exception());
  return repr.substr(0, repr.find('('));
}
}  // namespace detail

// Returns "200 hello", or the name of the exception.
inline std::string with_requests(const std::string& url, fiber::requests::Options options = {},
                                 std::string_view method = "GET") {
  try {
    const auto response = fiber::requests::request(method, url, std::move(options));
    return std::to_string(response.status_code) + " " + response.content;
  } catch (const std::exception&) {
    return detail::name_of_current_exception();
  }
}
inline std::string with_aiohttp(const std::string& url, fiber::aiohttp::RequestOptions options = {},
                                std::string_view method = "GET") {
  std::string outcome;
  with_session([&](fiber::aiohttp::ClientSession& session) {
    try {
      auto response = fiber::asyncio::await(session.request(method, url, std::move(options)));
      outcome = std::to_string(response.status) + " " + fiber::asyncio::await(response.read());
    } catch (const std::exception&) {
      outcome = detail::name_of_current_exception();
    }
  });
  return outcome;
}

}  // namespace support
