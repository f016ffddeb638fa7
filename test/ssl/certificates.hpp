// Certificates that the tests make: an authority, certificates that it has issued, and some with
// one defect each. Keys are on elliptic curves, which are fast to make.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/folder.hpp"

namespace support {

struct FreeOpenssl {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  void operator()(X509_CRL* list) const noexcept { X509_CRL_free(list); }
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeOpenssl>;
using X509Pointer = std::unique_ptr<X509, FreeOpenssl>;

inline void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(what);
}

struct CertificateOptions {
  std::string name = "localhost";                           // common name
  std::string alternatives = "DNS:localhost,IP:127.0.0.1";  // "" for none
  long from = -86400;                                       // seconds from now
  long to = 86400;
  bool authority = false;
};

struct Identity {
  Key key;
  X509Pointer certificate;
};

inline void add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  require(extension != nullptr, "extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Issues a certificate; without an issuer it is self-signed.
inline Identity issue(const CertificateOptions& options, const Identity* issuer = nullptr) {
  static long serial = 1000;
  Identity made{Key(EVP_EC_gen("P-256")), X509Pointer(X509_new())};
  require(made.key != nullptr && made.certificate != nullptr, "key");
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), options.from);
  X509_gmtime_adj(X509_getm_notAfter(certificate), options.to);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto add = [&](const char* field, const std::string& value) {
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, 0);
  };
  add("O", "Fiber Tests");
  add("CN", options.name);
  X509* signer = issuer != nullptr ? issuer->certificate.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  add_extension(certificate, signer, NID_basic_constraints,
                options.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(certificate, signer, NID_key_usage,
                options.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  add_extension(certificate, signer, NID_subject_key_identifier, "hash");
  add_extension(certificate, signer, NID_authority_key_identifier, "keyid:always");
  if (!options.alternatives.empty() && !options.authority)
    add_extension(certificate, signer, NID_subject_alt_name, options.alternatives);
  EVP_PKEY* with = issuer != nullptr ? issuer->key.get() : made.key.get();
  require(X509_sign(certificate, with, EVP_sha256()) != 0, "X509_sign");
  return made;
}

inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

inline std::string pem(X509* certificate) {
  const std::unique_ptr<BIO, FreeOpenssl> bio(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_X509(bio.get(), certificate) == 1, "PEM");
  return text_of(bio.get());
}

// Returns a key as PEM, encrypted if there is a password.
inline std::string pem(EVP_PKEY* key, const char* password = nullptr) {
  const std::unique_ptr<BIO, FreeOpenssl> bio(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key,
                                        password != nullptr ? EVP_aes_128_cbc() : nullptr, nullptr,
                                        0, nullptr, const_cast<char*>(password)) == 1,
          "PEM");
  return text_of(bio.get());
}

// Returns the authority's list of revoked certificates.
inline std::string revocations(const Identity& authority, X509* revoked) {
  const std::unique_ptr<X509_CRL, FreeOpenssl> list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(authority.certificate.get()));
  ASN1_TIME* time = X509_gmtime_adj(nullptr, -3600);
  X509_CRL_set1_lastUpdate(list.get(), time);
  X509_gmtime_adj(time, 86400);
  X509_CRL_set1_nextUpdate(list.get(), time);
  if (revoked != nullptr) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
    X509_gmtime_adj(time, -1800);
    X509_REVOKED_set_revocationDate(entry, time);
    X509_CRL_add0_revoked(list.get(), entry);
  }
  ASN1_TIME_free(time);
  // X509_STRICT requires the authority's key identifier.
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, authority.certificate.get(), nullptr, nullptr, list.get(), 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always");
  X509_CRL_add_ext(list.get(), extension, -1);
  X509_EXTENSION_free(extension);
  ASN1_INTEGER* number = ASN1_INTEGER_new();
  ASN1_INTEGER_set(number, 1);
  X509_CRL_add1_ext_i2d(list.get(), NID_crl_number, number, 0, 0);
  ASN1_INTEGER_free(number);
  require(X509_CRL_sign(list.get(), authority.key.get(), EVP_sha256()) != 0, "X509_CRL_sign");
  const std::unique_ptr<BIO, FreeOpenssl> bio(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_X509_CRL(bio.get(), list.get()) == 1, "PEM");
  return text_of(bio.get());
}

// A folder with all certificates, which exists until the program ends. Each NAME.pem has a
// certificate and its key.
class Certificates {
 public:
  static Certificates& instance() {
    static Certificates all;
    return all;
  }
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  // Returns the path of a file: authority.pem, server.pem, client.pem, other.pem, expired.pem,
  // early.pem, selfsigned.pem, stranger.pem, revoked.pem, crl.pem, locked.pem, ...
  std::string operator()(const std::string& name) const { return folder_ / name; }
  std::string read(const std::string& name) const { return folder_.content(name); }
  void write(const std::string& name, const std::string& text) const { folder_.make(name, text); }

 private:
  Certificates() {
    const Identity authority = issue({.name = "Fiber Test Authority", .authority = true});
    const Identity stranger = issue({.name = "Fiber Test Stranger", .authority = true});
    write("authority.pem", pem(authority.certificate.get()));
    write("strange_authority.pem", pem(stranger.certificate.get()));
    const auto save = [this](const std::string& file, const Identity& identity) {
      write(file, pem(identity.certificate.get()) + pem(identity.key.get()));
    };
    const Identity server = issue({}, &authority);
    save("server.pem", server);
    write("server_certificate.pem", pem(server.certificate.get()));
    write("server_key.pem", pem(server.key.get()));
    write("locked.pem", pem(server.certificate.get()) + pem(server.key.get(), "sesame"));
    save("client.pem",
         issue({.name = "client", .alternatives = "email:client@example.org"}, &authority));
    save("other.pem",
         issue({.name = "other.example", .alternatives = "DNS:other.example"}, &authority));
    save("wildcard.pem",
         issue({.name = "wildcard", .alternatives = "DNS:*.wild.example"}, &authority));
    save("idna.pem",
         issue({.name = "idna", .alternatives = "DNS:xn--bcher-kva.example"}, &authority));
    save("expired.pem", issue({.from = -172800, .to = -86400}, &authority));
    save("early.pem", issue({.from = 86400, .to = 172800}, &authority));
    save("selfsigned.pem", issue({}));
    save("stranger.pem", issue({}, &stranger));
    const Identity revoked = issue({}, &authority);
    save("revoked.pem", revoked);
    write("crl.pem", revocations(authority, revoked.certificate.get()));
  }
  Folder folder_;
};

inline Certificates& certificates() { return Certificates::instance(); }

}  // namespace support
