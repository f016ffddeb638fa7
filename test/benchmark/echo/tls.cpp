// The echo server on the library's streams over TLS. It prints its port.
//
//   echo_tls CERTIFICATE KEY
#include "streams.hpp"

#include <fiber/ssl.hpp>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto context = fiber::ssl::create_default_context(fiber::ssl::Purpose::CLIENT_AUTH);
  context.load_cert_chain(argv[1], argv[2]);
  streams::serve(streams::echo, {.ssl = context});
}
