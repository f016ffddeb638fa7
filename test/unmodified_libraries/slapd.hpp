// An OpenLDAP server for tests, with people n0, n1 ... below dc=x.
#pragma once

#include <sys/stat.h>

#include <string>

#include "unmodified_libraries/servers.hpp"

namespace legacy_test {

class Slapd : public Server {
 public:
  explicit Slapd(int people = 300) {
    const std::string add = need_program("slapadd", "slapd");
    const std::string program = need_program("slapd", "slapd");
    ::mkdir((directory_ / "data").c_str(), 0755);
    TemporaryDirectory::give(directory_ / "data");
    directory_.write("conf",
                     "include /etc/ldap/schema/core.schema\ninclude "
                     "/etc/ldap/schema/cosine.schema\nmodulepath "
                     "/usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\nsuffix dc=x\n"
                     "rootdn cn=admin,dc=x\nrootpw secret\nmaxsize 10485760\ndirectory " +
                         (directory_ / "data") + "\n");
    std::string entries = "dn: dc=x\nobjectClass: domain\ndc: x\n\n";
    for (int i = 0; i < people; ++i) {
      const std::string name = "n" + std::to_string(i);
      entries += "dn: cn=" + name + ",dc=x\nobjectClass: person\ncn: " + name +
                 "\nsn: s\ndescription: " + std::string(500, 'd') + "\n\n";
    }
    directory_.write("entries", entries);
    run_program({add, "-f", directory_ / "conf", "-l", directory_ / "entries"}, directory_ / "log");
    command_ = {program, "-d", "0", "-f", directory_ / "conf", "-h", url()};
    start();
  }
  std::string url() const { return "ldap://127.0.0.1:" + std::to_string(port()); }
};

}  // namespace legacy_test
