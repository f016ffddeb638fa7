// Why an exchange could not be made: what requests and aiohttp turn into their own exceptions.
#pragma once

#include <string>

namespace fiber::http {

// Thrown (by value, never past the public functions) for a request that cannot even be started, and
// returned by Transfer::failure() for one that ended badly.
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
    invalid_proxy,     // its URL
    proxy,
    tls,           // handshake or certificate
    disconnected,  // the connection ended before the head of the response was complete
    bad_response,  // what came is not HTTP
    bad_header,    // what came is HTTP with a field that makes no sense
    payload,       // it ended, or made no sense, within the body
    encoding,      // Content-Encoding promised something else
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
