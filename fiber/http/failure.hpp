// The reason why an exchange failed. requests and aiohttp turn a Failure into their own exceptions.
#pragma once

#include <string>

namespace fiber::http {

// Thrown (by value, never past the public functions) if a request cannot be started, and returned
// by Transfer::failure() if a started one failed.
struct Failure {
  enum class Kind {
    missing_schema,
    invalid_schema,
    invalid_url,
    invalid_header,
    invalid_argument,  // arguments that contradict each other
    resolve,           // the host or the proxy has no address
    connect,           // refused, unreachable
    connect_timeout,   // no connection in time
    invalid_proxy,     // the URL of the proxy is invalid
    proxy,
    tls,           // handshake or certificate
    disconnected,  // the connection ended before the head of the response was complete
    bad_response,  // the received bytes are not HTTP
    bad_header,    // the received head has an invalid field
    payload,       // the body was cut off or is malformed
    encoding,      // the body is not in the coding that Content-Encoding names
    too_large,     // more than max_body_size
    too_many_redirects,
    unrewindable,  // the body cannot be sent a second time
    memory,
  };

  Kind kind;
  std::string text;
  int error_number = 0;  // errno where there is one
  std::string url = {};  // "" when `text` names it
};

}  // namespace fiber::http
