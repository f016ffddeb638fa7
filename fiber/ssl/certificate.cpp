#include <fiber/ssl/certificate.hpp>

#include <fiber/asyncio/sock.hpp>
#include <fiber/ssl/errors.hpp>

#include <ctime>
#include <memory>

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace fiber::ssl {
namespace detail {
namespace {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, FreeWith<Free>>;

std::string text_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ::ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) throw_error("a name in the certificate");
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

// Returns the bytes, without a conversion to UTF-8.
std::string bytes_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(::ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(::ASN1_STRING_length(string))};
}

std::string name_of(const ASN1_OBJECT* object) {
  const int number = ::OBJ_obj2nid(object);
  if (number != NID_undef) return ::OBJ_nid2ln(number);
  char text[256];
  const int size = ::OBJ_obj2txt(text, sizeof text, object, 1);
  return size > 0 ? std::string(text) : std::string();
}

DistinguishedName decode_name(const X509_NAME* name) {
  DistinguishedName result;
  int group = -1;
  for (int at = 0; at < ::X509_NAME_entry_count(name); ++at) {
    const X509_NAME_ENTRY* entry = ::X509_NAME_get_entry(name, at);
    if (result.empty() || ::X509_NAME_ENTRY_set(entry) != group) result.emplace_back();
    group = ::X509_NAME_ENTRY_set(entry);
    result.back().emplace_back(name_of(::X509_NAME_ENTRY_get_object(entry)),
                               text_of(::X509_NAME_ENTRY_get_data(entry)));
  }
  return result;
}

std::string memory_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string time_text(const ASN1_TIME* time) {
  const Owned<BIO, ::BIO_free> bio(::BIO_new(::BIO_s_mem()));
  if (bio == nullptr) throw std::bad_alloc();
  ::ASN1_TIME_print(bio.get(), time);
  return memory_text(bio.get());
}

std::string number_text(const ASN1_INTEGER* number) {
  const Owned<BIO, ::BIO_free> bio(::BIO_new(::BIO_s_mem()));
  if (bio == nullptr) throw std::bad_alloc();
  ::i2a_ASN1_INTEGER(bio.get(), number);
  return memory_text(bio.get());
}

std::string address_text(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = "<invalid>";
  const int size = ::ASN1_STRING_length(address);
  const unsigned char* data = ::ASN1_STRING_get0_data(address);
  if (size == 4) ::inet_ntop(AF_INET, data, text, sizeof text);
  if (size == 16) ::inet_ntop(AF_INET6, data, text, sizeof text);
  return text;
}

std::pair<std::string, std::string> decode_general(const GENERAL_NAME* name) {
  switch (name->type) {
    case GEN_DIRNAME: {
      std::string text;
      for (const auto& group : decode_name(name->d.directoryName))
        for (const auto& [key, value] : group) text += "/" + key + "=" + value;
      return {"DirName", text};
    }
    case GEN_EMAIL: return {"email", bytes_of(name->d.rfc822Name)};
    case GEN_DNS: return {"DNS", bytes_of(name->d.dNSName)};
    case GEN_URI: return {"URI", bytes_of(name->d.uniformResourceIdentifier)};
    case GEN_RID: return {"Registered ID", name_of(name->d.registeredID)};
    case GEN_IPADD: return {"IP Address", address_text(name->d.iPAddress)};
    default: return {"othername", "<unsupported>"};
  }
}

void decode_alternatives(const X509* certificate, Certificate& result) {
  const Owned<GENERAL_NAMES, ::GENERAL_NAMES_free> names(static_cast<GENERAL_NAMES*>(
      ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr) return;
  for (int at = 0; at < sk_GENERAL_NAME_num(names.get()); ++at)
    result.subjectAltName.push_back(decode_general(sk_GENERAL_NAME_value(names.get(), at)));
}

void decode_access(const X509* certificate, Certificate& result) {
  const Owned<AUTHORITY_INFO_ACCESS, ::AUTHORITY_INFO_ACCESS_free> all(
      static_cast<AUTHORITY_INFO_ACCESS*>(
          ::X509_get_ext_d2i(certificate, NID_info_access, nullptr, nullptr)));
  if (all == nullptr) return;
  for (int at = 0; at < sk_ACCESS_DESCRIPTION_num(all.get()); ++at) {
    const ACCESS_DESCRIPTION* access = sk_ACCESS_DESCRIPTION_value(all.get(), at);
    if (access->location->type != GEN_URI) continue;
    std::string uri = bytes_of(access->location->d.uniformResourceIdentifier);
    const int method = ::OBJ_obj2nid(access->method);
    if (method == NID_ad_OCSP)
      result.OCSP.push_back(std::move(uri));
    else if (method == NID_ad_ca_issuers)
      result.caIssuers.push_back(std::move(uri));
  }
}

void decode_crl_points(const X509* certificate, Certificate& result) {
  const Owned<CRL_DIST_POINTS, ::CRL_DIST_POINTS_free> all(static_cast<CRL_DIST_POINTS*>(
      ::X509_get_ext_d2i(certificate, NID_crl_distribution_points, nullptr, nullptr)));
  if (all == nullptr) return;
  for (int at = 0; at < sk_DIST_POINT_num(all.get()); ++at) {
    const DIST_POINT* point = sk_DIST_POINT_value(all.get(), at);
    if (point->distpoint == nullptr || point->distpoint->type != 0) continue;
    const GENERAL_NAMES* names = point->distpoint->name.fullname;
    for (int n = 0; n < sk_GENERAL_NAME_num(names); ++n) {
      const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, n);
      if (name->type == GEN_URI)
        result.crlDistributionPoints.push_back(bytes_of(name->d.uniformResourceIdentifier));
    }
  }
}

}  // namespace

Certificate decode(const x509_st* certificate) {
  const CleanErrors clean;
  Certificate result;
  result.subject = decode_name(::X509_get_subject_name(certificate));
  result.issuer = decode_name(::X509_get_issuer_name(certificate));
  result.version = static_cast<int>(::X509_get_version(certificate)) + 1;
  result.serialNumber = number_text(::X509_get0_serialNumber(certificate));
  result.notBefore = time_text(::X509_get0_notBefore(certificate));
  result.notAfter = time_text(::X509_get0_notAfter(certificate));
  decode_alternatives(certificate, result);
  decode_access(certificate, result);
  decode_crl_points(certificate, result);
  return result;
}

std::string to_der(const x509_st* certificate) {
  const CleanErrors clean;
  unsigned char* data = nullptr;
  const int size = ::i2d_X509(certificate, &data);
  if (size < 0) throw_error("the certificate");
  std::string der(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return der;
}

}  // namespace detail

std::string Certificate::commonName() const {
  for (const auto& group : subject)
    for (const auto& [key, value] : group)
      if (key == "commonName") return value;
  return {};
}

namespace {

constexpr std::string_view kPemBegin = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kPemEnd = "-----END CERTIFICATE-----";

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

}  // namespace

std::string DER_cert_to_PEM_cert(std::string_view der) {
  std::string encoded(4 * (der.size() / 3 + 1) + 1, '\0');
  const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                     reinterpret_cast<const unsigned char*>(der.data()),
                                     static_cast<int>(der.size()));
  encoded.resize(static_cast<std::size_t>(size));
  constexpr std::size_t kLine = 64;
  std::string pem(kPemBegin);
  for (std::size_t at = 0; at < encoded.size(); at += kLine)
    pem += "\n" + encoded.substr(at, kLine);
  return pem + "\n" + std::string(kPemEnd) + "\n";
}

std::string PEM_cert_to_DER_cert(std::string_view pem) {
  if (!pem.starts_with(kPemBegin))
    throw ValueError("Invalid PEM encoding; must start with " + std::string(kPemBegin));
  std::string_view text = stripped(pem);
  if (!text.ends_with(kPemEnd))
    throw ValueError("Invalid PEM encoding; must end with " + std::string(kPemEnd));
  // In a text that is too short for both lines they share dashes, and nothing is between them.
  if (text.size() < kPemBegin.size() + kPemEnd.size()) return {};
  text.remove_prefix(kPemBegin.size());
  text.remove_suffix(kPemEnd.size());
  std::string packed;
  for (const char c : text)
    if (std::string_view(" \t\r\n").find(c) == std::string_view::npos) packed += c;
  std::string der(packed.size() / 4 * 3 + 3, '\0');
  const int size = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(der.data()),
                                     reinterpret_cast<const unsigned char*>(packed.data()),
                                     static_cast<int>(packed.size()));
  if (size < 0)
    throw ValueError("Invalid PEM encoding; not base64 between its first and last line");
  std::size_t padding = 0;
  while (padding < 2 && packed.size() > padding && packed[packed.size() - 1 - padding] == '=')
    ++padding;
  der.resize(static_cast<std::size_t>(size) - padding);
  return der;
}

std::int64_t cert_time_to_seconds(const std::string& cert_time) {
  // The names of strptime's %b are those of the locale.
  constexpr std::string_view kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
  std::string name = cert_time.substr(0, 3);
  for (char& c : name) c = static_cast<char>(c | 0x20);  // capitals become small
  const std::size_t month = kMonths.find(name);
  std::tm time{};
  const char* end = nullptr;
  if (cert_time.size() > 3 && month != kMonths.npos && month % 3 == 0) {
    time.tm_mon = static_cast<int>(month / 3);
    end = ::strptime(cert_time.c_str() + 3, " %d %H:%M:%S %Y GMT", &time);
  }
  if (end != cert_time.c_str() + cert_time.size())
    throw ValueError("time data '" + cert_time + "' does not match format '%b %d %H:%M:%S %Y GMT'");
  return ::timegm(&time);
}

}  // namespace fiber::ssl
