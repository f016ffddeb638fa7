// The exceptions of requests (requests.exceptions), under their Python names.
//
// All derive from fiber::OSError, as Python's from IOError. requests::ConnectionError is not
// fiber::ConnectionError, just as requests.ConnectionError is not the built-in one. Unlike in
// Python, InvalidURL and similar classes are no ValueErrors: with two paths to std::exception no
// handler for std::exception would catch them.
#pragma once

#include <fiber/exceptions.hpp>
#include <fiber/http/json.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace fiber::requests {

class Response;

/// The root of all exceptions about requests. Copying never throws.
class FIBER_API RequestException : public OSError {
 public:
  explicit RequestException(std::string message, std::shared_ptr<const Response> response = {})
      : OSError(std::move(message)), response_(std::move(response)) {}
  ~RequestException() override;

  /// The response that caused the exception (HTTPError and TooManyRedirects have one), else null.
  const std::shared_ptr<const Response>& response() const noexcept { return response_; }

 protected:
  /// For the classes between: the thrown class constructs RequestException, its virtual base.
  RequestException() : OSError(std::string()) {}

 private:
  std::shared_ptr<const Response> response_;
};

/// raise_for_status() on a status of 400 or above.
class FIBER_API HTTPError : public virtual RequestException {
 public:
  HTTPError(std::string message, std::shared_ptr<const Response> response)
      : RequestException(std::move(message), std::move(response)) {}
  ~HTTPError() override;
};

/// There was no connection, or it ended before the response's head was complete.
class FIBER_API ConnectionError : public virtual RequestException {
 public:
  explicit ConnectionError(std::string message) : RequestException(std::move(message)) {}
  ~ConnectionError() override;

 protected:
  ConnectionError() = default;
};

/// No connection to the proxy, or none through it.
class FIBER_API ProxyError : public ConnectionError {
 public:
  explicit ProxyError(std::string message) : RequestException(std::move(message)) {}
  ~ProxyError() override;
};

/// The TLS handshake failed, or the server's certificate was not accepted.
class FIBER_API SSLError : public ConnectionError {
 public:
  explicit SSLError(std::string message) : RequestException(std::move(message)) {}
  ~SSLError() override;
};

/// Either timeout.
class FIBER_API Timeout : public virtual RequestException {
 public:
  explicit Timeout(std::string message) : RequestException(std::move(message)) {}
  ~Timeout() override;

 protected:
  Timeout() = default;
};

/// No connection within the connect timeout; safe to try again.
class FIBER_API ConnectTimeout : public ConnectionError, public Timeout {
 public:
  explicit ConnectTimeout(std::string message) : RequestException(std::move(message)) {}
  ~ConnectTimeout() override;
};

/// The server sent nothing for as long as the read timeout.
class FIBER_API ReadTimeout : public Timeout {
 public:
  explicit ReadTimeout(std::string message) : RequestException(std::move(message)) {}
  ~ReadTimeout() override;
};

/// More redirects than Session::max_redirects.
class FIBER_API TooManyRedirects : public virtual RequestException {
 public:
  explicit TooManyRedirects(std::string message, std::shared_ptr<const Response> response = {})
      : RequestException(std::move(message), std::move(response)) {}
  ~TooManyRedirects() override;
};

/// A URL without a scheme: "example.com/x".
class FIBER_API MissingSchema : public virtual RequestException {
 public:
  explicit MissingSchema(std::string message) : RequestException(std::move(message)) {}
  ~MissingSchema() override;
};

/// A scheme other than http and https, given or redirected to.
class FIBER_API InvalidSchema : public virtual RequestException {
 public:
  explicit InvalidSchema(std::string message) : RequestException(std::move(message)) {}
  ~InvalidSchema() override;
};

/// A URL without a host, or one that cannot be parsed.
class FIBER_API InvalidURL : public virtual RequestException {
 public:
  explicit InvalidURL(std::string message) : RequestException(std::move(message)) {}
  ~InvalidURL() override;

 protected:
  InvalidURL() = default;
};

/// The URL of a proxy without a host.
class FIBER_API InvalidProxyURL : public InvalidURL {
 public:
  explicit InvalidProxyURL(std::string message) : RequestException(std::move(message)) {}
  ~InvalidProxyURL() override;
};

/// A header (or method, or cookie) with an end of line in it, or an answer with two lengths.
class FIBER_API InvalidHeader : public virtual RequestException {
 public:
  explicit InvalidHeader(std::string message) : RequestException(std::move(message)) {}
  ~InvalidHeader() override;
};

/// A value for `json` that is no JSON: NaN, an infinity, a string that is not UTF-8.
class FIBER_API InvalidJSONError : public virtual RequestException {
 public:
  explicit InvalidJSONError(std::string message) : RequestException(std::move(message)) {}
  ~InvalidJSONError() override;

 protected:
  InvalidJSONError() = default;
};

/// Response::json() of a body that is not JSON: "Expecting value: line 1 column 1 (char 0)".
class FIBER_API JSONDecodeError : public InvalidJSONError, public http::JsonFaultMembers {
 public:
  explicit JSONDecodeError(http::JsonFault fault)
      : RequestException(fault.text()), JsonFaultMembers(std::move(fault)) {}
  ~JSONDecodeError() override;
};

/// The connection ended in the middle of the body, or the body was malformed.
class FIBER_API ChunkedEncodingError : public virtual RequestException {
 public:
  explicit ChunkedEncodingError(std::string message) : RequestException(std::move(message)) {}
  ~ChunkedEncodingError() override;
};

/// The body could not be decompressed, or has more bytes than max_body_size.
class FIBER_API ContentDecodingError : public virtual RequestException {
 public:
  explicit ContentDecodingError(std::string message) : RequestException(std::move(message)) {}
  ~ContentDecodingError() override;
};

/// A Retry has no more tries, and the last answer had a status of its status_forcelist.
class FIBER_API RetryError : public virtual RequestException {
 public:
  explicit RetryError(std::string message) : RequestException(std::move(message)) {}
  ~RetryError() override;
};

/// A body that is read while it is sent had to be sent again, and cannot be read again.
class FIBER_API UnrewindableBodyError : public virtual RequestException {
 public:
  explicit UnrewindableBodyError(std::string message) : RequestException(std::move(message)) {}
  ~UnrewindableBodyError() override;
};

}  // namespace fiber::requests
