// A protocol that notes its calls, as the programs whose lists of events CPython printed.
#pragma once

#include <fiber/asyncio.hpp>

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "support/events.hpp"

namespace support {

using fiber::asyncio::Transport;

inline std::string shown(const std::exception_ptr& error) {
  return error == nullptr ? "None" : fiber::type_name(error);
}

// Notes each call, and then calls the test's function for it.
struct Recorder : fiber::asyncio::Protocol {
  explicit Recorder(Events& say) : say(say) {}
  void connection_made(const Transport& its) override {
    say("made");
    transport = its;
    if (on_made) on_made(transport);
  }
  void data_received(std::string_view data) override {
    say("data(" + std::string(data) + ")");
    if (on_data) on_data(transport);
  }
  bool eof_received() override {
    say("eof");
    if (on_eof) on_eof(transport);
    return keep_open;
  }
  void connection_lost(const std::exception_ptr& error) override {
    say("lost(" + shown(error) + ")");
    if (on_lost) on_lost(transport);
  }
  void pause_writing() override {
    say("pause");
    if (on_pause) on_pause(transport);
  }
  void resume_writing() override {
    say("resume");
    if (on_pause) on_pause(transport);
  }

  using Action = std::function<void(const Transport&)>;
  Events& say;
  Transport transport;
  Action on_made, on_data, on_eof, on_lost, on_pause;
  bool keep_open = false;
};

}  // namespace support
