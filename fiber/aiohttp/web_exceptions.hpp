// Exceptions that become responses. Python: aiohttp.web_exceptions.
//
//   throw web::HTTPNotFound();
//   throw web::HTTPFound("/login");
//   throw web::HTTPBadRequest({.text = "no such color"});
#pragma once

#include <fiber/aiohttp/web_response.hpp>
#include <fiber/exceptions.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::aiohttp::web {

/// Keyword arguments of the exceptions. The default of `text` is "404: Not Found".
struct HTTPExceptionOptions {
  CIMultiDict headers = {};              ///< added to those of the exception
  std::string reason = {};               ///< "" for the default of the status
  std::optional<std::string> text = {};  ///< the body
  std::string content_type = {};         ///< of `text`; "" for text/plain
};

/// The root of all HTTP exceptions. what() is the reason. Copying never throws.
class FIBER_API HTTPException : public Exception {
 public:
  ~HTTPException() override;
  int status() const noexcept { return details_->status; }                 ///< 404, for example
  const std::string& reason() const noexcept { return details_->reason; }  ///< "Not Found"
  const std::string& text() const noexcept { return details_->text; }      ///< the body
  /// Sent with the response.
  const CIMultiDict& headers() const noexcept { return details_->headers; }
  /// Returns a new response that represents the exception.
  Response response() const;

 protected:
  HTTPException(int status, HTTPExceptionOptions options);
  struct Details {
    int status;
    std::string reason;
    std::string text;
    std::string content_type;
    CIMultiDict headers;
  };
  static HTTPExceptionOptions with_header(HTTPExceptionOptions options, std::string_view name,
                                          std::string_view value);

 private:
  std::shared_ptr<const Details> details_;
};

/// The root of the statuses 400 to 599.
class FIBER_API HTTPError : public HTTPException {
 public:
  ~HTTPError() override;

 protected:
  using HTTPException::HTTPException;
};
/// The root of the statuses 300 to 399.
class FIBER_API HTTPRedirection : public HTTPException {
 public:
  ~HTTPRedirection() override;

 protected:
  using HTTPException::HTTPException;
};
/// The root of the statuses 200 to 299.
class FIBER_API HTTPSuccessful : public HTTPException {
 public:
  ~HTTPSuccessful() override;

 protected:
  using HTTPException::HTTPException;
};
/// The root of the statuses 400 to 499.
class FIBER_API HTTPClientError : public HTTPError {
 public:
  ~HTTPClientError() override;

 protected:
  using HTTPError::HTTPError;
};
/// The root of the statuses 500 to 599.
class FIBER_API HTTPServerError : public HTTPError {
 public:
  ~HTTPServerError() override;

 protected:
  using HTTPError::HTTPError;
};

#define FIBER_HTTP_EXCEPTION(Name, Base, code)                                                  \
  /** An answer with code as its status. */                                                     \
  class FIBER_API Name : public Base {                                                          \
   public:                                                                                      \
    static constexpr int status_code = code; /**< the status */                                 \
    /** Makes an answer; its text names the status by default. */                               \
    explicit Name(HTTPExceptionOptions options = {}) : Base(status_code, std::move(options)) {} \
    ~Name() override;                                                                           \
  };
#define FIBER_HTTP_MOVE(Name, code)                                                       \
  /** A redirect with code as its status. */                                              \
  class FIBER_API Name : public HTTPRedirection {                                         \
   public:                                                                                \
    static constexpr int status_code = code; /**< the status */                           \
    /** Makes a redirect to the location. Throws ValueError for an empty one. */          \
    explicit Name(std::string_view location, HTTPExceptionOptions options = {})           \
        : HTTPRedirection(status_code, detail::moved_to(location, std::move(options))) {} \
    ~Name() override;                                                                     \
  };

namespace detail {
FIBER_API HTTPExceptionOptions moved_to(std::string_view location, HTTPExceptionOptions options);
}

FIBER_HTTP_EXCEPTION(HTTPOk, HTTPSuccessful, 200)
FIBER_HTTP_EXCEPTION(HTTPCreated, HTTPSuccessful, 201)
FIBER_HTTP_EXCEPTION(HTTPAccepted, HTTPSuccessful, 202)
FIBER_HTTP_EXCEPTION(HTTPNonAuthoritativeInformation, HTTPSuccessful, 203)
FIBER_HTTP_EXCEPTION(HTTPNoContent, HTTPSuccessful, 204)
FIBER_HTTP_EXCEPTION(HTTPResetContent, HTTPSuccessful, 205)
FIBER_HTTP_EXCEPTION(HTTPPartialContent, HTTPSuccessful, 206)

FIBER_HTTP_MOVE(HTTPMultipleChoices, 300)
FIBER_HTTP_MOVE(HTTPMovedPermanently, 301)
FIBER_HTTP_MOVE(HTTPFound, 302)
FIBER_HTTP_MOVE(HTTPSeeOther, 303)
FIBER_HTTP_EXCEPTION(HTTPNotModified, HTTPRedirection, 304)
FIBER_HTTP_MOVE(HTTPUseProxy, 305)
FIBER_HTTP_MOVE(HTTPTemporaryRedirect, 307)
FIBER_HTTP_MOVE(HTTPPermanentRedirect, 308)

FIBER_HTTP_EXCEPTION(HTTPBadRequest, HTTPClientError, 400)
FIBER_HTTP_EXCEPTION(HTTPUnauthorized, HTTPClientError, 401)
FIBER_HTTP_EXCEPTION(HTTPPaymentRequired, HTTPClientError, 402)
FIBER_HTTP_EXCEPTION(HTTPForbidden, HTTPClientError, 403)
FIBER_HTTP_EXCEPTION(HTTPNotFound, HTTPClientError, 404)
FIBER_HTTP_EXCEPTION(HTTPNotAcceptable, HTTPClientError, 406)
FIBER_HTTP_EXCEPTION(HTTPProxyAuthenticationRequired, HTTPClientError, 407)
FIBER_HTTP_EXCEPTION(HTTPRequestTimeout, HTTPClientError, 408)
FIBER_HTTP_EXCEPTION(HTTPConflict, HTTPClientError, 409)
FIBER_HTTP_EXCEPTION(HTTPGone, HTTPClientError, 410)
FIBER_HTTP_EXCEPTION(HTTPLengthRequired, HTTPClientError, 411)
FIBER_HTTP_EXCEPTION(HTTPPreconditionFailed, HTTPClientError, 412)
FIBER_HTTP_EXCEPTION(HTTPRequestURITooLong, HTTPClientError, 414)
FIBER_HTTP_EXCEPTION(HTTPUnsupportedMediaType, HTTPClientError, 415)
FIBER_HTTP_EXCEPTION(HTTPRequestRangeNotSatisfiable, HTTPClientError, 416)
FIBER_HTTP_EXCEPTION(HTTPExpectationFailed, HTTPClientError, 417)
FIBER_HTTP_EXCEPTION(HTTPMisdirectedRequest, HTTPClientError, 421)
FIBER_HTTP_EXCEPTION(HTTPUnprocessableEntity, HTTPClientError, 422)
FIBER_HTTP_EXCEPTION(HTTPFailedDependency, HTTPClientError, 424)
FIBER_HTTP_EXCEPTION(HTTPUpgradeRequired, HTTPClientError, 426)
FIBER_HTTP_EXCEPTION(HTTPPreconditionRequired, HTTPClientError, 428)
FIBER_HTTP_EXCEPTION(HTTPTooManyRequests, HTTPClientError, 429)
FIBER_HTTP_EXCEPTION(HTTPRequestHeaderFieldsTooLarge, HTTPClientError, 431)

FIBER_HTTP_EXCEPTION(HTTPInternalServerError, HTTPServerError, 500)
FIBER_HTTP_EXCEPTION(HTTPNotImplemented, HTTPServerError, 501)
FIBER_HTTP_EXCEPTION(HTTPBadGateway, HTTPServerError, 502)
FIBER_HTTP_EXCEPTION(HTTPServiceUnavailable, HTTPServerError, 503)
FIBER_HTTP_EXCEPTION(HTTPGatewayTimeout, HTTPServerError, 504)
FIBER_HTTP_EXCEPTION(HTTPVersionNotSupported, HTTPServerError, 505)
FIBER_HTTP_EXCEPTION(HTTPVariantAlsoNegotiates, HTTPServerError, 506)
FIBER_HTTP_EXCEPTION(HTTPInsufficientStorage, HTTPServerError, 507)
FIBER_HTTP_EXCEPTION(HTTPNotExtended, HTTPServerError, 510)
FIBER_HTTP_EXCEPTION(HTTPNetworkAuthenticationRequired, HTTPServerError, 511)

#undef FIBER_HTTP_MOVE
#undef FIBER_HTTP_EXCEPTION

/// Has the field Allow.
class FIBER_API HTTPMethodNotAllowed : public HTTPClientError {
 public:
  static constexpr int status_code = 405;  ///< the status
  HTTPMethodNotAllowed(std::string_view method, const std::vector<std::string>& allowed_methods,
                       HTTPExceptionOptions options = {});
  ~HTTPMethodNotAllowed() override;
};
/// "Maximum request body size 1048576 exceeded, actual body size 1048577".
class FIBER_API HTTPRequestEntityTooLarge : public HTTPClientError {
 public:
  static constexpr int status_code = 413;  ///< the status
  HTTPRequestEntityTooLarge(std::uint64_t max_size, std::uint64_t actual_size,
                            HTTPExceptionOptions options = {});
  ~HTTPRequestEntityTooLarge() override;
};
/// Has the field `Link: <link>; rel="blocked-by"`.
class FIBER_API HTTPUnavailableForLegalReasons : public HTTPClientError {
 public:
  static constexpr int status_code = 451;  ///< the status
  explicit HTTPUnavailableForLegalReasons(std::string_view link, HTTPExceptionOptions options = {});
  ~HTTPUnavailableForLegalReasons() override;
};

}  // namespace fiber::aiohttp::web
