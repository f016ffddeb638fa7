// An nginx for tests, with one page of 20 kB: /page at once, /slow/page in a second, /stuck/page in
// many.
#pragma once

#include <string>

#include "unmodified_libraries/servers.hpp"

namespace legacy_test {

class Nginx : public Server {
 public:
  static constexpr std::size_t kPageSize = 20'000;

  // Starts nginx; with TLS if a certificate and its key are given, as PEM.
  explicit Nginx(const std::string& certificate = "", const std::string& key = "")
      : is_secure_(!certificate.empty()) {
    const std::string program = need_program("nginx", "nginx-light");
    ::mkdir((directory_ / "www").c_str(), 0755);
    directory_.write("www/page", std::string(kPageSize, 'p'));
    directory_.write("certificate", certificate);
    directory_.write("key", key);
    std::string paths;
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      paths += std::string(kind) + "_temp_path " + directory_.path() + "/" + kind + ";\n";
    // The bytes beyond 10 kB are sent a second later.
    directory_.write("conf",
                     "daemon off; master_process off; pid " + (directory_ / "pid") +
                         "; error_log stderr;\nevents {}\nhttp { access_log off; " + paths +
                         "server { listen 127.0.0.1:" + std::to_string(port_) +
                         (is_secure_ ? " ssl; ssl_certificate " + (directory_ / "certificate") +
                                           "; ssl_certificate_key " + (directory_ / "key")
                                     : "") +
                         "; root " + (directory_ / "www") + ";\nlocation /slow/ { alias " +
                         (directory_ / "www/") + "; limit_rate 10k; }\nlocation /stuck/ { alias " +
                         (directory_ / "www/") + "; limit_rate 1k; } } }\n");
    command_ = {program, "-p", directory_.path(), "-c", directory_ / "conf", "-e", "stderr"};
    start();
  }
  std::string url(const std::string& path) const {
    return (is_secure_ ? "https" : "http") + ("://127.0.0.1:" + std::to_string(port())) + path;
  }

 private:
  bool is_secure_;
};

}  // namespace legacy_test
