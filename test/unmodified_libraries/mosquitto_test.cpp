// libmosquitto, unmodified, against Mosquitto.
#include <mosquitto.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

class Mosquitto : public Server {
 public:
  Mosquitto() {
    directory_.write("conf", "listener " + std::to_string(port_) +
                                 " 127.0.0.1\nallow_anonymous true\npersistence false\n");
    command_ = {need_program("mosquitto", "mosquitto"), "-c", directory_ / "conf"};
    start();
  }
};

struct Exchange {
  std::string topic, received;
  bool failed = false;
};

// Subscribes, publishes to itself, and waits for the message.
std::string exchange(int port) {
  static int count = 0;
  Exchange its{.topic = "topic/" + std::to_string(++count), .received = {}};
  const std::unique_ptr<mosquitto, void (*)(mosquitto*)> client(mosquitto_new(nullptr, true, &its),
                                                                mosquitto_destroy);
  const auto must = [](int status) {
    if (status != MOSQ_ERR_SUCCESS) throw Failure(mosquitto_strerror(status));
  };
  mosquitto_connect_callback_set(client.get(), [](mosquitto* self, void* of, int status) {
    auto& exchange = *static_cast<Exchange*>(of);
    exchange.failed = status != 0 || mosquitto_subscribe(self, nullptr, exchange.topic.c_str(), 1);
  });
  mosquitto_subscribe_callback_set(
      client.get(), [](mosquitto* self, void* of, int, int, const int*) {
        mosquitto_publish(self, nullptr, static_cast<Exchange*>(of)->topic.c_str(), 5, "hello", 1,
                          false);
      });
  mosquitto_message_callback_set(
      client.get(), [](mosquitto*, void* of, const mosquitto_message* message) {
        static_cast<Exchange*>(of)->received.assign(static_cast<const char*>(message->payload),
                                                    static_cast<std::size_t>(message->payloadlen));
      });
  must(mosquitto_connect(client.get(), "127.0.0.1", port, 60));
  while (its.received.empty() && !its.failed) must(mosquitto_loop(client.get(), -1, 1));
  mosquitto_disconnect(client.get());
  return its.received;
}

std::string version() {
  int major = 0, minor = 0, revision = 0;
  mosquitto_lib_version(&major, &minor, &revision);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(revision);
}

}  // namespace

TEST_CASE("libmosquitto: messages that come back") {
  const Mosquitto broker;
  mosquitto_lib_init();
  try_out({.library = "libmosquitto",
           .version = version(),
           .function = "mosquitto_new",
           .server = "Mosquitto",
           .port = broker.port(),
           .call = exchange,
           .answer = "hello"});
  mosquitto_lib_cleanup();
}
