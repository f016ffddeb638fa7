#include <fiber/aiohttp/web_exceptions.hpp>

#include <fiber/http/quoting.hpp>

#include <utility>

namespace fiber::aiohttp::web {
namespace {

bool has_body(int status) noexcept { return status != 204 && status != 205 && status != 304; }

}  // namespace

HTTPException::HTTPException(int status, HTTPExceptionOptions options)
    : Exception(options.reason.empty() ? std::string(http::reason_phrase(status))
                                       : options.reason) {
  if (!http::is_field_value(options.reason)) throw ValueError("Reason cannot contain \\r or \\n");
  auto details = std::make_shared<Details>();
  details->status = status;
  details->reason = what();
  details->headers = std::move(options.headers);
  details->content_type = std::move(options.content_type);
  if (options.text)
    details->text = std::move(*options.text);
  else if (has_body(status))
    details->text = std::to_string(status) + ": " + details->reason;
  details_ = std::move(details);
}

Response HTTPException::response() const {
  ResponseOptions options{.status = status(), .reason = reason(), .headers = headers()};
  if (has_body(status())) options.text = text();
  if (!options.headers.contains("Content-Type")) options.content_type = details_->content_type;
  return Response(std::move(options));
}

HTTPExceptionOptions HTTPException::with_header(HTTPExceptionOptions options, std::string_view name,
                                                std::string_view value) {
  options.headers.set(name, value);
  return options;
}

namespace detail {

HTTPExceptionOptions moved_to(std::string_view location, HTTPExceptionOptions options) {
  if (location.empty()) throw ValueError("HTTP redirects need a location to redirect to.");
  // Quotes the characters that cannot be sent.
  options.headers.set("Location", http::quote(location, "/?#[]@!$&'()*+,;=:%"));
  return options;
}

namespace {

std::string joined(const std::vector<std::string>& methods) {
  std::string text;
  for (const std::string& method : methods) text += (text.empty() ? "" : ",") + method;
  return text;
}

}  // namespace
}  // namespace detail

HTTPMethodNotAllowed::HTTPMethodNotAllowed(std::string_view,
                                           const std::vector<std::string>& allowed_methods,
                                           HTTPExceptionOptions options)
    : HTTPClientError(status_code,
                      with_header(std::move(options), "Allow", detail::joined(allowed_methods))) {}

namespace {

HTTPExceptionOptions too_large(std::uint64_t most, std::uint64_t actual,
                               HTTPExceptionOptions options) {
  if (!options.text)
    options.text = "Maximum request body size " + std::to_string(most) +
                   " exceeded, actual body size " + std::to_string(actual);
  return options;
}

}  // namespace

HTTPRequestEntityTooLarge::HTTPRequestEntityTooLarge(std::uint64_t max_size,
                                                     std::uint64_t actual_size,
                                                     HTTPExceptionOptions options)
    : HTTPClientError(status_code, too_large(max_size, actual_size, std::move(options))) {}

HTTPUnavailableForLegalReasons::HTTPUnavailableForLegalReasons(std::string_view link,
                                                               HTTPExceptionOptions options)
    : HTTPClientError(status_code, with_header(std::move(options), "Link",
                                               "<" + std::string(link) + ">; rel=\"blocked-by\"")) {
}

HTTPException::~HTTPException() = default;
HTTPError::~HTTPError() = default;
HTTPRedirection::~HTTPRedirection() = default;
HTTPSuccessful::~HTTPSuccessful() = default;
HTTPClientError::~HTTPClientError() = default;
HTTPServerError::~HTTPServerError() = default;
HTTPOk::~HTTPOk() = default;
HTTPCreated::~HTTPCreated() = default;
HTTPAccepted::~HTTPAccepted() = default;
HTTPNonAuthoritativeInformation::~HTTPNonAuthoritativeInformation() = default;
HTTPNoContent::~HTTPNoContent() = default;
HTTPResetContent::~HTTPResetContent() = default;
HTTPPartialContent::~HTTPPartialContent() = default;
HTTPMultipleChoices::~HTTPMultipleChoices() = default;
HTTPMovedPermanently::~HTTPMovedPermanently() = default;
HTTPFound::~HTTPFound() = default;
HTTPSeeOther::~HTTPSeeOther() = default;
HTTPNotModified::~HTTPNotModified() = default;
HTTPUseProxy::~HTTPUseProxy() = default;
HTTPTemporaryRedirect::~HTTPTemporaryRedirect() = default;
HTTPPermanentRedirect::~HTTPPermanentRedirect() = default;
HTTPBadRequest::~HTTPBadRequest() = default;
HTTPUnauthorized::~HTTPUnauthorized() = default;
HTTPPaymentRequired::~HTTPPaymentRequired() = default;
HTTPForbidden::~HTTPForbidden() = default;
HTTPNotFound::~HTTPNotFound() = default;
HTTPNotAcceptable::~HTTPNotAcceptable() = default;
HTTPProxyAuthenticationRequired::~HTTPProxyAuthenticationRequired() = default;
HTTPRequestTimeout::~HTTPRequestTimeout() = default;
HTTPConflict::~HTTPConflict() = default;
HTTPGone::~HTTPGone() = default;
HTTPLengthRequired::~HTTPLengthRequired() = default;
HTTPPreconditionFailed::~HTTPPreconditionFailed() = default;
HTTPRequestURITooLong::~HTTPRequestURITooLong() = default;
HTTPUnsupportedMediaType::~HTTPUnsupportedMediaType() = default;
HTTPRequestRangeNotSatisfiable::~HTTPRequestRangeNotSatisfiable() = default;
HTTPExpectationFailed::~HTTPExpectationFailed() = default;
HTTPMisdirectedRequest::~HTTPMisdirectedRequest() = default;
HTTPUnprocessableEntity::~HTTPUnprocessableEntity() = default;
HTTPFailedDependency::~HTTPFailedDependency() = default;
HTTPUpgradeRequired::~HTTPUpgradeRequired() = default;
HTTPPreconditionRequired::~HTTPPreconditionRequired() = default;
HTTPTooManyRequests::~HTTPTooManyRequests() = default;
HTTPRequestHeaderFieldsTooLarge::~HTTPRequestHeaderFieldsTooLarge() = default;
HTTPInternalServerError::~HTTPInternalServerError() = default;
HTTPNotImplemented::~HTTPNotImplemented() = default;
HTTPBadGateway::~HTTPBadGateway() = default;
HTTPServiceUnavailable::~HTTPServiceUnavailable() = default;
HTTPGatewayTimeout::~HTTPGatewayTimeout() = default;
HTTPVersionNotSupported::~HTTPVersionNotSupported() = default;
HTTPVariantAlsoNegotiates::~HTTPVariantAlsoNegotiates() = default;
HTTPInsufficientStorage::~HTTPInsufficientStorage() = default;
HTTPNotExtended::~HTTPNotExtended() = default;
HTTPNetworkAuthenticationRequired::~HTTPNetworkAuthenticationRequired() = default;
HTTPMethodNotAllowed::~HTTPMethodNotAllowed() = default;
HTTPRequestEntityTooLarge::~HTTPRequestEntityTooLarge() = default;
HTTPUnavailableForLegalReasons::~HTTPUnavailableForLegalReasons() = default;

}  // namespace fiber::aiohttp::web
