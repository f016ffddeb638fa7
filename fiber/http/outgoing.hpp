// A request that is ready to be sent, and the head of what comes back.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>

#include <cstddef>
#include <optional>
#include <string>

namespace fiber::http {

// Where the two clients of Python differ, the rules are those of:
enum class Rules { requests, aiohttp };

inline constexpr std::size_t unlimited = static_cast<std::size_t>(-1);

struct Outgoing {
  Rules rules = Rules::requests;
  std::string method = "GET";
  std::string url = {};  // from prepare_url()
  Headers headers = {};
  Body body = {};
  Params cookies = {};  // for this request alone
  std::optional<BasicAuth> auth = {};
  Verify verify = {};
  bool follow_redirects = true;
  long max_redirects = 30;
  std::optional<Seconds> connect_timeout = {};
  bool trust_env = false;  // take proxies from the environment (never for this machine itself)
  std::size_t max_body_size = unlimited;  // in bytes, after decompression
};

// The head of a response. Another name than the server's Head, which the same program may have.
struct ResponseHead {
  int status = 0;
  std::string reason = {};
  std::string url = {};
  Headers headers = {};
};

}  // namespace fiber::http
