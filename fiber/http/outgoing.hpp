// A request that is ready to be sent, and the head of what comes back.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/ssl/context.hpp>

#include <chrono>
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
  std::optional<ssl::SSLContext> context = {};  // in place of verify, certificate and key
  bool follow_redirects = true;
  long max_redirects = 30;
  std::optional<Seconds> connect_timeout = {};
  // Of requests: "http", "https://host", "all" and the URL of a proxy. They go before those of the
  // environment; one that is "" is none.
  Params proxies = {};
  std::optional<BasicAuth> proxy_auth = {};
  std::string certificate = {};  // of the client: paths of it and of its key, in PEM
  std::string key = {};          // "" if it stands with the certificate
  bool url_credentials = true;   // those in the URL are sent
  bool keep_history = false;     // the bodies of redirects are wanted
  bool upgrade = false;          // an answer 101 gives the connection to another protocol
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

// An answer that was not the last one.
struct Hop {
  ResponseHead head;
  std::string method;  // of the request that it answered, and its fields
  Headers request_headers;
  std::string body;  // decoded, if it could be; at most 64 KiB as they were sent
  std::chrono::microseconds elapsed;
};

}  // namespace fiber::http
