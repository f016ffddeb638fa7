// libssh2, unmodified, against OpenSSH.
#include <libssh2.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/relays.hpp"
#include "unmodified_libraries/sshd.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

struct Session {
  explicit Session(int port) : fd(connected_to(port, SOCK_STREAM)) {
    libssh2_session_set_blocking(session, 1);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    libssh2_session_free(session);
    if (fd >= 0) ::close(fd);
  }
  void must(bool succeeded) const {
    if (succeeded) return;
    char* text = nullptr;
    libssh2_session_last_error(session, &text, nullptr, 0);
    throw Failure(text);
  }
  int fd;
  LIBSSH2_SESSION* session = libssh2_session_init();
};

// Logs in and connects from there to the server itself, which sends its version. (A command would
// run in the user's shell, and read its settings.)
std::string connect_there(const Sshd& sshd, int port) {
  const Session its(port);
  if (its.fd < 0) throw Failure("no connection");
  its.must(libssh2_session_handshake(its.session, its.fd) == 0);
  its.must(libssh2_userauth_publickey_fromfile(its.session, Sshd::user().c_str(),
                                               (sshd.key() + ".pub").c_str(), sshd.key().c_str(),
                                               nullptr) == 0);
  const std::unique_ptr<LIBSSH2_CHANNEL, int (*)(LIBSSH2_CHANNEL*)> channel(
      libssh2_channel_direct_tcpip(its.session, "127.0.0.1", sshd.port()), libssh2_channel_free);
  its.must(channel != nullptr);
  std::string text(8, ' ');
  for (std::size_t got = 0; got < text.size();) {
    const ssize_t size = libssh2_channel_read(channel.get(), text.data() + got, text.size() - got);
    its.must(size > 0);
    got += static_cast<std::size_t>(size);
  }
  return text;
}

}  // namespace

TEST_CASE("libssh2: forwarded connections") {
  const Sshd sshd;
  libssh2_init(0);
  try_out({.library = "libssh2",
           .version = LIBSSH2_VERSION,
           .function = "libssh2_init",
           .server = "OpenSSH",
           .port = sshd.port(),
           .call = [&](int port) { return connect_there(sshd, port); },
           .answer = "SSH-2.0-",
           .at_once = 20});
}
