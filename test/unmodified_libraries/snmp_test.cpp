// net-snmp, unmodified, against its agent.
#include <net-snmp/net-snmp-config.h>

#include <net-snmp/net-snmp-includes.h>

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "unmodified_libraries/relays.hpp"
#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

class Snmpd : public Server {
 public:
  Snmpd() {
    directory_.write("conf", "rocommunity public 127.0.0.1\nsysLocation hello\n");
    command_ = {need_program("snmpd", "snmpd"),
                "-f",
                "-Lo",
                "-C",
                "-c",
                directory_ / "conf",
                "--persistentDir=" + directory_.path(),
                "-I",
                "system_mib",
                "-x",
                "none",
                "udp:127.0.0.1:" + std::to_string(port_)};
    start();
  }

 protected:
  // It opens its port after it has read all of its settings.
  bool ready() override {
    return text_of(directory_ / "log").find("NET-SNMP version") != std::string::npos;
  }
};

// sysLocation.0
std::string get(int port) {
  snmp_session wanted;
  snmp_sess_init(&wanted);
  std::string peer = "udp:127.0.0.1:" + std::to_string(port);
  char community[] = "public";
  wanted.peername = peer.data();
  wanted.version = SNMP_VERSION_2c;
  wanted.community = reinterpret_cast<u_char*>(community);
  wanted.community_len = std::strlen(community);
  wanted.retries = 0;
  wanted.timeout = 5'000'000;  // microseconds
  const std::unique_ptr<void, int (*)(void*)> session(snmp_sess_open(&wanted), snmp_sess_close);
  if (session == nullptr) throw Failure("no session");
  const oid name[] = {1, 3, 6, 1, 2, 1, 1, 6, 0};
  snmp_pdu* request = snmp_pdu_create(SNMP_MSG_GET);
  snmp_add_null_var(request, name, std::size(name));
  snmp_pdu* response = nullptr;
  const int status = snmp_sess_synch_response(session.get(), request, &response);
  const std::unique_ptr<snmp_pdu, void (*)(snmp_pdu*)> memory(response, [](snmp_pdu* it) {
    if (it != nullptr) snmp_free_pdu(it);
  });
  if (status != STAT_SUCCESS || response == nullptr) {
    char* text = nullptr;
    snmp_sess_error(session.get(), nullptr, nullptr, &text);
    const std::unique_ptr<char, void (*)(void*)> its(text, std::free);
    throw Failure(text != nullptr && *text != 0 ? text : "status " + std::to_string(status));
  }
  const variable_list* value = response->variables;
  return std::string(reinterpret_cast<const char*>(value->val.string), value->val_len);
}

}  // namespace

TEST_CASE("net-snmp: questions to an agent") {
  const Snmpd snmpd;
  ::setenv("MIBS", "", 1);
  const TemporaryDirectory kept;
  ::setenv("SNMP_PERSISTENT_DIR", kept.path().c_str(), 1);
  init_snmp("fiber");
  try_out({.library = "net-snmp",
           .version = netsnmp_get_version(),
           .function = "snmp_sess_open",
           .server = "snmpd",
           .port = snmpd.port(),
           .call = get,
           .answer = "hello",
           .datagrams = true});
}
