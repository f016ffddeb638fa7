// Parts that tests of greenlets share: a list of events, in order, and writers to it.
#pragma once

#include <fiber/greenlet.hpp>

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace support {

// A list of events, compared as one text, so that a failure shows the whole list.
class Events {
 public:
  template <class T>
  void operator()(const T& event) {
    if constexpr (requires { std::to_string(event); })
      list_.push_back(std::to_string(event));
    else
      list_.emplace_back(event);
  }
  // Returns the events since the last call.
  std::string take() {
    std::string text;
    for (const std::string& event : std::exchange(list_, {}))
      text += (text.empty() ? "" : " ") + event;
    return text;
  }

 private:
  std::vector<std::string> list_;
};

// Calls a function when its scope is left.
template <class F>
class AtEnd {
 public:
  explicit AtEnd(F function) : function_(std::move(function)) {}
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() { function_(); }

 private:
  F function_;
};

// Switches to the parent; returns what comes back.
inline fiber::value to_parent() { return fiber::getcurrent().parent().switch_(); }

inline fiber::GreenletOptions named(std::string name) { return {.name = std::move(name)}; }

inline std::string label(const fiber::greenlet& g) {
  if (!g.name().empty()) return g.name();
  return g.parent() == nullptr ? "main" : "?";
}

// Writes every switch of the thread as "switch(origin,target)" while it lives.
class Tracing {
 public:
  explicit Tracing(Events& events)
      : previous_(fiber::settrace([&events](const char* event, const fiber::greenlet& origin,
                                            const fiber::greenlet& target) {
          events(std::string(event) + "(" + label(origin) + "," + label(target) + ")");
        })) {}
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;
  ~Tracing() { fiber::settrace(std::move(previous_)); }

 private:
  fiber::trace_function previous_;
};

// Writes unraisable errors as "name: message Type(text)" while it lives.
class UnraisableEvents {
 public:
  explicit UnraisableEvents(Events& events)
      : previous_(fiber::set_unraisablehook([&events](const fiber::UnraisableHookArgs& args) {
          events(label(args.object) + ": " + args.message +
                 (args.exception ? " " + fiber::repr(args.exception) : ""));
        })) {}
  UnraisableEvents(const UnraisableEvents&) = delete;
  UnraisableEvents& operator=(const UnraisableEvents&) = delete;
  ~UnraisableEvents() { fiber::set_unraisablehook(std::move(previous_)); }

 private:
  fiber::unraisable_hook previous_;
};

// Writes unraisable errors without a greenlet: the message alone.
class MessageEvents {
 public:
  explicit MessageEvents(Events& events)
      : previous_(fiber::set_unraisablehook(
            [&events](const fiber::UnraisableHookArgs& args) { events(args.message); })) {}
  MessageEvents(const MessageEvents&) = delete;
  MessageEvents& operator=(const MessageEvents&) = delete;
  ~MessageEvents() { fiber::set_unraisablehook(std::move(previous_)); }

 private:
  fiber::unraisable_hook previous_;
};

// Returns "Type('text')" of the exception of `function`, "" if it returns.
template <class F>
std::string thrown_by(F&& function) {
  try {
    std::forward<F>(function)();
    return "";
  } catch (...) {
    return fiber::repr(std::current_exception());
  }
}

}  // namespace support
