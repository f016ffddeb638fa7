#include <fiber/aiohttp/exceptions.hpp>

namespace fiber::aiohttp {

ClientError::~ClientError() = default;
ClientConnectionError::~ClientConnectionError() = default;
ServerConnectionError::~ServerConnectionError() = default;
ClientConnectionResetError::~ClientConnectionResetError() = default;
ClientOSError::ClientOSError(std::string message, int error_number)
    : OSError(error_number, {}), text_(std::make_shared<const std::string>(std::move(message))) {}
ClientOSError::~ClientOSError() = default;
ClientConnectorError::~ClientConnectorError() = default;
ClientProxyConnectionError::~ClientProxyConnectionError() = default;
ClientSSLError::~ClientSSLError() = default;
ServerDisconnectedError::~ServerDisconnectedError() = default;
ServerTimeoutError::~ServerTimeoutError() = default;
ClientPayloadError::~ClientPayloadError() = default;
InvalidURL::~InvalidURL() = default;
ClientResponseError::ClientResponseError(int status, std::string message, std::string url,
                                         http::Headers headers)
    : Exception(std::to_string(status) + ", message='" + message + "', url='" + url + "'"),
      details_(std::make_shared<const Details>(
          Details{status, std::move(message), std::move(url), std::move(headers)})) {}
ClientResponseError::~ClientResponseError() = default;
ContentTypeError::~ContentTypeError() = default;
WSServerHandshakeError::~WSServerHandshakeError() = default;
TooManyRedirects::~TooManyRedirects() = default;

}  // namespace fiber::aiohttp
