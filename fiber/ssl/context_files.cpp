// The part of SSLContext that loads certificates and keys from files.
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/errors.hpp>
#include <fiber/ssl/objects.hpp>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <new>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::ssl {
namespace {

using detail::CleanErrors;
using detail::FreeSsl;
using detail::throw_error;

// Refuses a NUL byte, which would cut the name short.
void check_name(const std::string& name, const char* what) {
  if (name.find('\0') != std::string::npos)
    throw ValueError(std::string(what) + ": the name of the file has a null character in it");
}

// Throws OSError for an unreadable file: OpenSSL's own error says less.
void check_readable(const std::string& name) {
  if (::access(name.c_str(), R_OK) != 0) raise_os_error(errno, "'" + name + "'");
  struct stat found {};
  if (::stat(name.c_str(), &found) == 0 && S_ISDIR(found.st_mode))
    raise_os_error(EISDIR, "'" + name + "'");
}

struct Password {
  const std::function<std::string()>* ask = nullptr;
  bool asked = false;
  std::exception_ptr error{};
};

// Without a password, fails: OpenSSL's default would ask at the terminal.
int give_password(char* to, int size, int, void* argument) noexcept {
  auto* password = static_cast<Password*>(argument);
  password->asked = true;
  if (!*password->ask) return -1;
  try {
    const std::string text = (*password->ask)();
    if (text.size() > static_cast<std::size_t>(size))
      throw ValueError("password cannot be longer than " + std::to_string(size) + " bytes");
    text.copy(to, text.size());
    return static_cast<int>(text.size());
  } catch (...) {
    password->error = std::current_exception();
    return -1;
  }
}

// Sets the password callback of a context while keys are loaded.
class PasswordOf {
 public:
  PasswordOf(SSL_CTX* ctx, Password& password) : ctx_(ctx) {
    ::SSL_CTX_set_default_passwd_cb(ctx, give_password);
    ::SSL_CTX_set_default_passwd_cb_userdata(ctx, &password);
  }
  PasswordOf(const PasswordOf&) = delete;
  PasswordOf& operator=(const PasswordOf&) = delete;
  ~PasswordOf() {
    ::SSL_CTX_set_default_passwd_cb(ctx_, nullptr);
    ::SSL_CTX_set_default_passwd_cb_userdata(ctx_, nullptr);
  }

 private:
  SSL_CTX* ctx_;
};

[[noreturn]] void refuse_key(const Password& password, const std::string& name) {
  if (password.error) std::rethrow_exception(password.error);
  if (password.asked && !*password.ask)
    throw SSLError("[PEM: BAD_PASSWORD_READ] bad password read: '" + name +
                       "' is encrypted, and there is no password for it",
                   "PEM", "BAD_PASSWORD_READ");
  throw_error("'" + name + "'");
}

int add_certificate(X509_STORE* store, X509* certificate) {
  if (::X509_STORE_add_cert(store, certificate) == 1) return 1;
  const unsigned long code = ::ERR_peek_last_error();
  const bool known = ERR_GET_LIB(code) == ERR_LIB_X509 &&
                     ERR_GET_REASON(code) == X509_R_CERT_ALREADY_IN_HASH_TABLE;
  if (!known) throw_error("cadata");
  ::ERR_clear_error();
  return 1;
}

void load_data(X509_STORE* store, const std::string& data) {
  const bool pem = data.find("-----BEGIN ") != std::string::npos;
  const std::unique_ptr<BIO, FreeSsl> bio(
      ::BIO_new_mem_buf(data.data(), static_cast<int>(data.size())));
  if (bio == nullptr) throw std::bad_alloc();
  int loaded = 0;
  // DER ends with the bytes, PEM at a text that begins no certificate.
  while (pem || BIO_eof(bio.get()) == 0) {
    const std::unique_ptr<X509, FreeSsl> certificate(
        pem ? ::PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)
            : ::d2i_X509_bio(bio.get(), nullptr));
    if (certificate == nullptr) break;
    loaded += add_certificate(store, certificate.get());
  }
  if (loaded == 0)
    throw SSLError(pem ? "no start line: cadata does not contain a certificate"
                       : "not enough data: cadata does not contain a certificate");
  const unsigned long code = ::ERR_peek_last_error();
  const bool no_more =
      ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (code != 0 && !(pem && no_more)) throw_error("cadata");
}

}  // namespace

void SSLContext::load_cert_chain(const std::string& certfile, const std::string& keyfile,
                                 const password_argument& password) const {
  const CleanErrors clean;
  const std::string& key = keyfile.empty() ? certfile : keyfile;
  for (const std::string* name : {&certfile, &key}) {
    check_name(*name, "load_cert_chain");
    check_readable(*name);
  }
  SSL_CTX* ctx = native_handle();
  Password its_password{.ask = &password.ask()};
  const PasswordOf given(ctx, its_password);
  if (::SSL_CTX_use_certificate_chain_file(ctx, certfile.c_str()) != 1)
    refuse_key(its_password, certfile);
  ::ERR_clear_error();
  if (::SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1)
    refuse_key(its_password, key);
  if (::SSL_CTX_check_private_key(ctx) != 1) throw_error("'" + key + "'");
}

void SSLContext::load_verify_locations(const verify_locations& locations) const {
  if (locations.cafile.empty() && locations.capath.empty() && locations.cadata.empty())
    throw TypeError("cafile, capath and cadata cannot be all omitted");
  const CleanErrors clean;
  check_name(locations.cafile, "cafile");
  check_name(locations.capath, "capath");
  if (!locations.cadata.empty())
    load_data(::SSL_CTX_get_cert_store(native_handle()), locations.cadata);
  if (!locations.cafile.empty()) {
    check_readable(locations.cafile);
    if (::SSL_CTX_load_verify_locations(native_handle(), locations.cafile.c_str(), nullptr) != 1)
      throw_error("'" + locations.cafile + "'");
  }
  if (!locations.capath.empty() &&
      ::SSL_CTX_load_verify_locations(native_handle(), nullptr, locations.capath.c_str()) != 1)
    throw_error("'" + locations.capath + "'");
}

void SSLContext::set_default_verify_paths() const {
  const CleanErrors clean;
  if (::SSL_CTX_set_default_verify_paths(native_handle()) != 1) throw_error("");
}

void SSLContext::load_default_certs(Purpose) const { set_default_verify_paths(); }

CertStoreStats SSLContext::cert_store_stats() const {
  CertStoreStats stats;
  const STACK_OF(X509_OBJECT)* all =
      ::X509_STORE_get0_objects(::SSL_CTX_get_cert_store(native_handle()));
  for (int at = 0; at < sk_X509_OBJECT_num(all); ++at) {
    const X509_OBJECT* object = sk_X509_OBJECT_value(all, at);
    if (::X509_OBJECT_get_type(object) == X509_LU_CRL) ++stats.crl;
    if (::X509_OBJECT_get_type(object) != X509_LU_X509) continue;
    ++stats.x509;
    if (::X509_check_ca(::X509_OBJECT_get0_X509(object)) != 0) ++stats.x509_ca;
  }
  return stats;
}

std::vector<Certificate> SSLContext::get_ca_certs() const {
  std::vector<Certificate> certificates;
  const STACK_OF(X509_OBJECT)* all =
      ::X509_STORE_get0_objects(::SSL_CTX_get_cert_store(native_handle()));
  for (int at = 0; at < sk_X509_OBJECT_num(all); ++at) {
    X509* certificate = ::X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, at));
    if (certificate != nullptr && ::X509_check_ca(certificate) != 0)
      certificates.push_back(detail::decode(certificate));
  }
  return certificates;
}

SSLContext create_default_context(Purpose purpose, const verify_locations& locations) {
  const SSLContext context(purpose == Purpose::SERVER_AUTH ? PROTOCOL_TLS_CLIENT
                                                           : PROTOCOL_TLS_SERVER);
  context.verify_flags(context.verify_flags() | VERIFY_X509_PARTIAL_CHAIN | VERIFY_X509_STRICT);
  if (!locations.cafile.empty() || !locations.capath.empty() || !locations.cadata.empty())
    context.load_verify_locations(locations);
  else if (context.verify_mode() != CERT_NONE)
    context.load_default_certs(purpose);
  if (const char* keylog = std::getenv("SSLKEYLOGFILE"); keylog != nullptr && *keylog != '\0')
    context.keylog_filename(keylog);
  return context;
}

DefaultVerifyPaths get_default_verify_paths() {
  DefaultVerifyPaths paths{.cafile = {},
                           .capath = {},
                           .openssl_cafile_env = ::X509_get_default_cert_file_env(),
                           .openssl_cafile = ::X509_get_default_cert_file(),
                           .openssl_capath_env = ::X509_get_default_cert_dir_env(),
                           .openssl_capath = ::X509_get_default_cert_dir()};
  const auto found = [](const std::string& variable, const std::string& usual, mode_t kind) {
    const char* other = std::getenv(variable.c_str());
    const std::string name = other != nullptr ? other : usual;
    struct stat status {};
    const bool is_it = ::stat(name.c_str(), &status) == 0 && (status.st_mode & S_IFMT) == kind;
    return is_it ? name : std::string();
  };
  paths.cafile = found(paths.openssl_cafile_env, paths.openssl_cafile, S_IFREG);
  paths.capath = found(paths.openssl_capath_env, paths.openssl_capath, S_IFDIR);
  return paths;
}

}  // namespace fiber::ssl
