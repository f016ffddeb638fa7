// A request that is ready to be sent, and the head of its response.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/ssl/context.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace fiber::http {

// The client of Python whose rules apply where the two differ.
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
  std::optional<ssl::SSLContext> context = {};  // in place of verify, certificate and key
  bool follow_redirects = true;
  long max_redirects = 30;
  std::optional<Seconds> connect_timeout = {};
  // As requests has it: "http", "https://host" or "all", and the URL of a proxy. These proxies are
  // used before the environment's; the URL "" means no proxy.
  Params proxies = {};
  std::optional<BasicAuth> proxy_auth = {};
  std::string certificate = {};  // path of the client's certificate, in PEM
  std::string key = {};          // path of its key; "" if the key is in `certificate`
  bool url_credentials = true;   // credentials in the URL are sent
  bool keep_history = false;     // the bodies of redirects are wanted
  bool upgrade = false;          // an answer 101 gives the connection to another protocol
  bool trust_env = false;  // take proxies from the environment (never for this machine itself)
  std::size_t max_body_size = unlimited;  // in bytes, after decompression
};

// The head of a response. Not called Head: the server has a Head, and a program may use both.
struct ResponseHead {
  int status = 0;
  std::string reason = {};
  std::string url = {};
  Headers headers = {};
};

// A response before the final one.
struct Hop {
  ResponseHead head;
  std::string method;  // of the request that was answered
  Headers request_headers;
  std::string body;  // decoded, if possible; of the first 64 KiB received
  std::chrono::microseconds elapsed;
};

}  // namespace fiber::http
