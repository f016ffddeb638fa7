// OpenLDAP's client, unmodified, against its server.
#include <ldap.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/slapd.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

// The surname of a person.
std::string look_up(int port) {
  LDAP* raw = nullptr;
  ldap_initialize(&raw, ("ldap://127.0.0.1:" + std::to_string(port)).c_str());
  const std::unique_ptr<LDAP, void (*)(LDAP*)> ldap(
      raw, [](LDAP* it) { ldap_unbind_ext_s(it, nullptr, nullptr); });
  const int version = LDAP_VERSION3;
  ldap_set_option(raw, LDAP_OPT_PROTOCOL_VERSION, &version);
  LDAPMessage* found = nullptr;
  const int status = ldap_search_ext_s(raw, "dc=x", LDAP_SCOPE_SUBTREE, "(cn=n7)", nullptr, 0,
                                       nullptr, nullptr, nullptr, 0, &found);
  const std::unique_ptr<LDAPMessage, int (*)(LDAPMessage*)> answer(found, ldap_msgfree);
  if (status != LDAP_SUCCESS) throw Failure(ldap_err2string(status));
  LDAPMessage* entry = ldap_first_entry(raw, found);
  if (entry == nullptr) return "nothing";
  berval** values = ldap_get_values_len(raw, entry, "sn");
  std::string text(values[0]->bv_val, values[0]->bv_len);
  ldap_value_free_len(values);
  return text;
}

}  // namespace

TEST_CASE("OpenLDAP: searches") {
  const Slapd slapd(10);
  try_out({.library = "OpenLDAP",
           .version = std::to_string(LDAP_VENDOR_VERSION_MAJOR) + "." +
                      std::to_string(LDAP_VENDOR_VERSION_MINOR) + "." +
                      std::to_string(LDAP_VENDOR_VERSION_PATCH),
           .function = "ldap_initialize",
           .server = "slapd",
           .port = slapd.port(),
           .call = look_up,
           .answer = "s",
           .most_threads = 33});  // it looks names up, on threads of the executor
}
