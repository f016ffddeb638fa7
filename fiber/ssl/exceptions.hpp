// The errors of TLS. Python: ssl.SSLError and its children.
#pragma once

#include <fiber/exceptions.hpp>

#include <memory>
#include <string>

namespace fiber::ssl {

/// An error of OpenSSL, or a refusal of the peer: "[SSL: CERTIFICATE_VERIFY_FAILED] certificate
/// verify failed: ...". Copies share all members; copying never throws.
class FIBER_API SSLError : public OSError {
 public:
  explicit SSLError(const std::string& message);
  SSLError(const std::string& message, std::string library, std::string reason);
  ~SSLError() override;
  /// The part of OpenSSL, such as "SSL", "X509" or "PEM", and its reason, such as
  /// "WRONG_VERSION_NUMBER"; "" if there is none.
  const std::string& library() const noexcept { return details_->library; }
  const std::string& reason() const noexcept { return details_->reason; }  ///< "" if there is none

 private:
  struct Details {
    std::string library;
    std::string reason;
  };
  std::shared_ptr<const Details> details_;
};

/// The peer has ended the TLS connection with a close_notify.
class FIBER_API SSLZeroReturnError : public SSLError {
 public:
  using SSLError::SSLError;
  ~SSLZeroReturnError() override;
};

/// More bytes of the peer are needed. Thrown only by SSLObject: streams wait.
class FIBER_API SSLWantReadError : public SSLError {
 public:
  using SSLError::SSLError;
  ~SSLWantReadError() override;
};

/// The outgoing bytes must be sent first. Thrown only by SSLObject.
class FIBER_API SSLWantWriteError : public SSLError {
 public:
  using SSLError::SSLError;
  ~SSLWantWriteError() override;
};

/// An error below OpenSSL.
class FIBER_API SSLSyscallError : public SSLError {
 public:
  using SSLError::SSLError;
  ~SSLSyscallError() override;
};

/// The connection has ended without the peer's close_notify: the received data may be cut short.
class FIBER_API SSLEOFError : public SSLError {
 public:
  using SSLError::SSLError;
  ~SSLEOFError() override;
};

/// The peer's certificate is not accepted. In Python, also a ValueError.
class FIBER_API SSLCertVerificationError : public SSLError {
 public:
  SSLCertVerificationError(const std::string& message, std::string library, std::string reason,
                           int verify_code, std::string verify_message);
  ~SSLCertVerificationError() override;
  /// OpenSSL's X509_V_ERR_ number, and its text.
  int verify_code() const noexcept { return verify_code_; }
  /// "certificate has expired", for example.
  const std::string& verify_message() const noexcept { return *verify_message_; }

 private:
  int verify_code_;
  std::shared_ptr<const std::string> verify_message_;
};
using CertificateError = SSLCertVerificationError;

}  // namespace fiber::ssl
