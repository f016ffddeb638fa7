// The exceptions of aiohttp's client (aiohttp.client_exceptions), under their Python names.
//
// ClientError, ClientConnectionError and ServerConnectionError are interfaces. The classes that are
// thrown derive from one of them and from exactly one built-in exception. So
// `catch (const aiohttp::ClientError&)`, `catch (const fiber::TimeoutError&)` and
// `catch (const std::exception&)` all work as in Python.
#pragma once

#include <fiber/exceptions.hpp>
#include <fiber/http/headers.hpp>

#include <memory>
#include <string>
#include <utility>

namespace fiber::aiohttp {

/// The root of the client's exceptions about requests. The total timeout is not one of them: it is
/// a plain fiber::TimeoutError.
class FIBER_API ClientError {
 public:
  virtual ~ClientError();
  virtual const char* what() const noexcept = 0;  ///< the text of the exception
};

/// The connection could not be made, or was lost.
class FIBER_API ClientConnectionError : public virtual ClientError {
 public:
  ~ClientConnectionError() override;
};

/// The server failed.
class FIBER_API ServerConnectionError : public ClientConnectionError {
 public:
  ~ServerConnectionError() override;
};

/// The response was used after it or its session had been closed: "Connection closed".
class FIBER_API ClientConnectionResetError : public ClientConnectionError,
                                             public ConnectionResetError {
 public:
  explicit ClientConnectionResetError(std::string message)
      : ConnectionResetError(std::move(message)) {}
  ~ClientConnectionResetError() override;
  /// The message.
  const char* what() const noexcept override { return ConnectionResetError::what(); }
};

/// A system call failed; error_number() is its errno.
class FIBER_API ClientOSError : public ClientConnectionError, public OSError {
 public:
  explicit ClientOSError(std::string message, int error_number = 0);
  ~ClientOSError() override;
  /// "[Errno 111] Connect call failed" or the message.
  const char* what() const noexcept override { return text_->c_str(); }

 private:
  std::shared_ptr<const std::string> text_;
};

/// No connection: "Cannot connect to host 127.0.0.1:80 [Connection refused]".
class FIBER_API ClientConnectorError : public ClientOSError {
 public:
  using ClientOSError::ClientOSError;
  ~ClientConnectorError() override;
};

/// No connection to the proxy.
class FIBER_API ClientProxyConnectionError : public ClientConnectorError {
 public:
  using ClientConnectorError::ClientConnectorError;
  ~ClientProxyConnectionError() override;
};

/// The TLS handshake failed, or the server's certificate was not accepted.
class FIBER_API ClientSSLError : public ClientConnectorError {
 public:
  using ClientConnectorError::ClientConnectorError;
  ~ClientSSLError() override;
};

/// The server closed the connection before the response's head was complete.
class FIBER_API ServerDisconnectedError : public ServerConnectionError, public Exception {
 public:
  explicit ServerDisconnectedError(std::string message = "Server disconnected")
      : Exception(std::move(message)) {}
  ~ServerDisconnectedError() override;
  const char* what() const noexcept override { return Exception::what(); }  ///< the message
};

/// One of the timeouts `connect`, `sock_connect` and `sock_read`.
class FIBER_API ServerTimeoutError : public ServerConnectionError, public TimeoutError {
 public:
  explicit ServerTimeoutError(std::string message) : TimeoutError(std::move(message)) {}
  ~ServerTimeoutError() override;
  const char* what() const noexcept override { return TimeoutError::what(); }  ///< the message
};

/// The body ended too early or could not be decoded.
class FIBER_API ClientPayloadError : public ClientError, public Exception {
 public:
  explicit ClientPayloadError(std::string message) : Exception(std::move(message)) {}
  ~ClientPayloadError() override;
  const char* what() const noexcept override { return Exception::what(); }  ///< the message
};

/// The URL is not one of http or https.
class FIBER_API InvalidURL : public ClientError, public ValueError {
 public:
  explicit InvalidURL(std::string message) : ValueError(std::move(message)) {}
  ~InvalidURL() override;
  const char* what() const noexcept override { return ValueError::what(); }  ///< the message
};

/// raise_for_status() on a status of 400 or above, or an answer that is not HTTP:
/// "404, message='Not Found', url='http://...'". Copying never throws.
class FIBER_API ClientResponseError : public ClientError, public Exception {
 public:
  ClientResponseError(int status, std::string message, std::string url, http::Headers headers = {});
  ~ClientResponseError() override;
  /// "404, message='Not Found', url='http://...'".
  const char* what() const noexcept override { return Exception::what(); }

  int status() const noexcept { return details_->status; }                   ///< 404, for example
  const std::string& message() const noexcept { return details_->message; }  ///< "Not Found"
  const std::string& url() const noexcept { return details_->url; }  ///< with its parameters
  const http::Headers& headers() const noexcept { return details_->headers; }  ///< of the response

 private:
  struct Details {
    int status;
    std::string message;
    std::string url;
    http::Headers headers;
  };
  std::shared_ptr<const Details> details_;
};

/// ClientResponse::json() of another content type: "200, message='Attempt to decode JSON with
/// unexpected mimetype: text/html', url='http://...'".
class FIBER_API ContentTypeError : public ClientResponseError {
 public:
  using ClientResponseError::ClientResponseError;
  ~ContentTypeError() override;
};

/// The handshake of a WebSocket has failed: "404, message='Invalid response status',
/// url='http://...'". A status of 0: the server has not answered in HTTP.
class FIBER_API WSServerHandshakeError : public ClientResponseError {
 public:
  using ClientResponseError::ClientResponseError;
  ~WSServerHandshakeError() override;
};

/// More redirects than max_redirects.
class FIBER_API TooManyRedirects : public ClientResponseError {
 public:
  using ClientResponseError::ClientResponseError;
  ~TooManyRedirects() override;
};

}  // namespace fiber::aiohttp
