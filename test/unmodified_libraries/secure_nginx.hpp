// An nginx that speaks TLS, with a certificate that nobody trusts.
#pragma once

#include <string>

#include "unmodified_libraries/nginx.hpp"

namespace legacy_test {

struct Identity {
  Identity() {
    run_program({need_program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048",
                 "-nodes", "-days", "1", "-subj", "/CN=fiber", "-keyout", directory / "key", "-out",
                 directory / "certificate"},
                directory / "log");
  }
  TemporaryDirectory directory;
};

class SecureNginx : public Nginx {
 public:
  explicit SecureNginx(const Identity& identity = {})
      : Nginx(text_of(identity.directory / "certificate"), text_of(identity.directory / "key")) {}
};

}  // namespace legacy_test
