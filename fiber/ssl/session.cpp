#include <fiber/ssl/session.hpp>

#include <fiber/ssl/objects.hpp>

#include <openssl/ssl.h>

namespace fiber::ssl {

std::string SSLSession::id() const {
  unsigned int size = 0;
  const unsigned char* id = ::SSL_SESSION_get_id(object_->session.get(), &size);
  return {reinterpret_cast<const char*>(id), size};
}
std::int64_t SSLSession::time() const { return ::SSL_SESSION_get_time(object_->session.get()); }
std::int64_t SSLSession::timeout() const {
  return ::SSL_SESSION_get_timeout(object_->session.get());
}
bool SSLSession::has_ticket() const {
  return ::SSL_SESSION_has_ticket(object_->session.get()) != 0;
}
unsigned long SSLSession::ticket_lifetime_hint() const {
  return ::SSL_SESSION_get_ticket_lifetime_hint(object_->session.get());
}

}  // namespace fiber::ssl
