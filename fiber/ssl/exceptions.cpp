#include <fiber/ssl/exceptions.hpp>

#include <utility>

namespace fiber::ssl {

SSLError::SSLError(const std::string& message) : SSLError(message, "", "") {}
SSLError::SSLError(const std::string& message, std::string library, std::string reason)
    : OSError(message),
      details_(std::make_shared<const Details>(Details{std::move(library), std::move(reason)})) {}
SSLCertVerificationError::SSLCertVerificationError(const std::string& message, std::string library,
                                                   std::string reason, int verify_code,
                                                   std::string verify_message)
    : SSLError(message, std::move(library), std::move(reason)),
      verify_code_(verify_code),
      verify_message_(std::make_shared<const std::string>(std::move(verify_message))) {}

SSLError::~SSLError() = default;
SSLZeroReturnError::~SSLZeroReturnError() = default;
SSLWantReadError::~SSLWantReadError() = default;
SSLWantWriteError::~SSLWantWriteError() = default;
SSLSyscallError::~SSLSyscallError() = default;
SSLEOFError::~SSLEOFError() = default;
SSLCertVerificationError::~SSLCertVerificationError() = default;

}  // namespace fiber::ssl
