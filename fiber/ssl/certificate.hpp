// The contents of a certificate. Python: the result of SSLSocket.getpeercert().
#pragma once

#include <fiber/config.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct x509_st;

namespace fiber::ssl {

/// Names and values in their order, grouped as they are in the certificate:
/// {{{"countryName", "DE"}}, {{"commonName", "example.org"}}}.
using DistinguishedName = std::vector<std::vector<std::pair<std::string, std::string>>>;

/// The contents of a certificate. The members are named after the keys of Python's dictionary.
struct FIBER_API Certificate {
  DistinguishedName subject;                                        ///< the names of its owner
  DistinguishedName issuer;                                         ///< the names of its signer
  int version = 0;                                                  ///< 3, as a rule
  std::string serialNumber;                                         ///< hexadecimal
  std::string notBefore;                                            ///< "Jan  5 09:34:43 2018 GMT"
  std::string notAfter;                                             ///< as notBefore
  std::vector<std::pair<std::string, std::string>> subjectAltName;  ///< {{"DNS", "example.org"}}
  std::vector<std::string> OCSP;                                    ///< URLs
  std::vector<std::string> caIssuers;                               ///< URLs
  std::vector<std::string> crlDistributionPoints;                   ///< URLs

  /// Returns the common name of the subject, "" if there is none. Not in Python.
  std::string commonName() const;  // NOLINT(readability-identifier-naming)
};

/// Returns a certificate as PEM. Python: ssl.DER_cert_to_PEM_cert.
// NOLINTBEGIN(readability-identifier-naming)
FIBER_API std::string DER_cert_to_PEM_cert(std::string_view der);
/// Returns a certificate as DER. Throws ValueError for a text that does not begin and end as PEM.
/// Python: ssl.PEM_cert_to_DER_cert.
FIBER_API std::string PEM_cert_to_DER_cert(std::string_view pem);
// NOLINTEND(readability-identifier-naming)
/// Returns seconds since 1970 for a time such as notAfter. Throws ValueError.
/// Python: ssl.cert_time_to_seconds.
FIBER_API std::int64_t cert_time_to_seconds(const std::string& cert_time);

namespace detail {

Certificate decode(const x509_st* certificate);
std::string to_der(const x509_st* certificate);

}  // namespace detail
}  // namespace fiber::ssl
