#include <fiber/requests/exceptions.hpp>

#include <fiber/requests.hpp>

namespace fiber::requests {

RequestException::~RequestException() = default;
HTTPError::~HTTPError() = default;
ConnectionError::~ConnectionError() = default;
ProxyError::~ProxyError() = default;
SSLError::~SSLError() = default;
Timeout::~Timeout() = default;
ConnectTimeout::~ConnectTimeout() = default;
ReadTimeout::~ReadTimeout() = default;
TooManyRedirects::~TooManyRedirects() = default;
MissingSchema::~MissingSchema() = default;
InvalidSchema::~InvalidSchema() = default;
InvalidURL::~InvalidURL() = default;
InvalidHeader::~InvalidHeader() = default;
InvalidJSONError::~InvalidJSONError() = default;
JSONDecodeError::~JSONDecodeError() = default;
ChunkedEncodingError::~ChunkedEncodingError() = default;
ContentDecodingError::~ContentDecodingError() = default;
InvalidProxyURL::~InvalidProxyURL() = default;
RetryError::~RetryError() = default;
UnrewindableBodyError::~UnrewindableBodyError() = default;

}  // namespace fiber::requests
