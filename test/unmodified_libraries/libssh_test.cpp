// libssh, unmodified, against OpenSSH.
#include <libssh/libssh.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/sshd.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

struct Session {
  Session() {
    ssh_options_set(session, SSH_OPTIONS_HOST, "127.0.0.1");
    const int no = 0;
    ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
    const long seconds = 60;
    ssh_options_set(session, SSH_OPTIONS_TIMEOUT, &seconds);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (ssh_is_connected(session)) ssh_disconnect(session);
    ssh_free(session);
  }
  void must(bool succeeded) const {
    if (!succeeded) throw Failure(ssh_get_error(session));
  }
  ssh_session session = ssh_new();
};

// Logs in and connects from there to the server itself, which sends its version. (A command would
// run in the user's shell, and read its settings.)
std::string connect_there(const Sshd& sshd, int port) {
  const Session its;
  ssh_options_set(its.session, SSH_OPTIONS_PORT, &port);
  ssh_options_set(its.session, SSH_OPTIONS_USER, Sshd::user().c_str());
  its.must(ssh_connect(its.session) == SSH_OK);
  ssh_key raw = nullptr;
  its.must(ssh_pki_import_privkey_file(sshd.key().c_str(), nullptr, nullptr, nullptr, &raw) ==
           SSH_OK);
  const std::unique_ptr<ssh_key_struct, void (*)(ssh_key)> key(raw, ssh_key_free);
  its.must(ssh_userauth_publickey(its.session, nullptr, key.get()) == SSH_AUTH_SUCCESS);
  const std::unique_ptr<ssh_channel_struct, void (*)(ssh_channel)> channel(
      ssh_channel_new(its.session), ssh_channel_free);
  its.must(ssh_channel_open_forward(channel.get(), "127.0.0.1", sshd.port(), "127.0.0.1", 0) ==
           SSH_OK);
  std::string text(8, ' ');
  for (std::size_t got = 0; got < text.size();) {
    const int size = ssh_channel_read(channel.get(), text.data() + got,
                                      static_cast<std::uint32_t>(text.size() - got), 0);
    its.must(size > 0);
    got += static_cast<std::size_t>(size);
  }
  return text;
}

}  // namespace

TEST_CASE("libssh: forwarded connections") {
  const Sshd sshd;
  ssh_init();
  try_out({.library = "libssh",
           .version = SSH_STRINGIFY(LIBSSH_VERSION),
           .function = "ssh_connect",
           .server = "OpenSSH",
           .port = sshd.port(),
           .call = [&](int port) { return connect_there(sshd, port); },
           .answer = "SSH-2.0-",
           .at_once = 20});
}
