// libmodbus, unmodified, at both ends.
#include <modbus.h>

#include <doctest/doctest.h>

#include <cerrno>
#include <memory>

#include "unmodified_libraries/relays.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

using Modbus = std::unique_ptr<modbus_t, void (*)(modbus_t*)>;

// In a child process for each connection.
void serve(int listener) {
  for (;;) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    in_child([=] {
      const Modbus modbus(modbus_new_tcp("127.0.0.1", 0), modbus_free);
      modbus_set_socket(modbus.get(), client);
      modbus_mapping_t* registers = modbus_mapping_new(0, 0, 10, 0);
      registers->tab_registers[3] = 12345;
      std::uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
      int size = 0;
      while ((size = modbus_receive(modbus.get(), query)) >= 0)
        modbus_reply(modbus.get(), query, size, registers);
    });
    ::close(client);
  }
}

std::string read_register(int port) {
  const Modbus modbus(modbus_new_tcp("127.0.0.1", port), [](modbus_t* it) {
    modbus_close(it);
    modbus_free(it);
  });
  modbus_set_response_timeout(modbus.get(), 60, 0);  // half a second else
  const auto must = [](int status) {
    if (status < 0) throw Failure(modbus_strerror(errno));
  };
  must(modbus_connect(modbus.get()));
  std::uint16_t value = 0;
  must(modbus_read_registers(modbus.get(), 3, 1, &value));
  return std::to_string(value);
}

}  // namespace

TEST_CASE("libmodbus: registers") {
  const Relay server(SOCK_STREAM, serve);
  try_out({.library = "libmodbus",
           .version = LIBMODBUS_VERSION_STRING,
           .function = "modbus_new_tcp",
           .server = "libmodbus",
           .port = server.port(),
           .call = read_register,
           .answer = "12345"});
}
