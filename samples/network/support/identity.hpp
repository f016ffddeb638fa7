// A certificate that a program makes for itself, by OpenSSL's API.
#pragma once

#include <fiber/ssl.hpp>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>

#include <stdlib.h>
#include <unistd.h>

namespace identity {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <class T, auto Free>
std::unique_ptr<T, FreeWith<Free>> owned(T* object) {
  if (object == nullptr) throw fiber::RuntimeError("OpenSSL has no memory");
  return std::unique_ptr<T, FreeWith<Free>>(object);
}

inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

struct Identity {
  std::string certificate;  // PEM
  std::string key;
};

// A certificate for this machine, good for a day, signed by itself.
inline Identity make_identity(const char* common_name) {
  const auto key = owned<EVP_PKEY, EVP_PKEY_free>(EVP_EC_gen("P-256"));
  const auto certificate = owned<X509, X509_free>(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24 * 60 * 60);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate.get(), certificate.get(), nullptr, nullptr, 0);
  const auto extend = [&](int kind, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    X509_add_ext(certificate.get(), extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, "critical,CA:TRUE");
  extend(NID_key_usage, "critical,digitalSignature,keyCertSign");
  extend(NID_subject_key_identifier, "hash");
  extend(NID_authority_key_identifier, "keyid:always");
  extend(NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const auto bio = owned<BIO, BIO_free>(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  const std::string pem = text_of(bio.get());
  const auto secret = owned<BIO, BIO_free>(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {pem, text_of(secret.get())};
}

// A context reads keys from files: this one is gone at once.
inline fiber::ssl::SSLContext server_context(const Identity& identity) {
  const auto context = fiber::ssl::create_default_context(fiber::ssl::Purpose::CLIENT_AUTH);
  std::string path = "/tmp/identity-XXXXXX";
  const int fd = ::mkstemp(path.data());
  if (fd < 0) fiber::raise_os_error(errno, path);
  ::close(fd);
  std::ofstream(path) << identity.certificate << identity.key;
  try {
    context.load_cert_chain(path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  ::unlink(path.c_str());
  return context;
}

}  // namespace identity
