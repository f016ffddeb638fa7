// Greenlets, generators, values, contexts, groups of exceptions, tracebacks.
#include "harness.hpp"

#include <fiber/contextvars.hpp>
#include <fiber/exceptiongroup.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/traceback.hpp>

#include <memory>
#include <string>
#include <system_error>
#include <thread>

using faults::require;

FAULTS_SCENARIO(greenlets) {
  fiber::greenlet inner([](std::string text) {
    std::string got = text;
    for (;;) got += fiber::getcurrent().parent().switch_(got).as<std::string>();
  });
  std::string last;
  for (const char* part : {"a", "b", "a text that is too long for a small string"})
    last = inner.switch_(std::string(part)).as<std::string>();
  require(last.starts_with("aba text"), "the values of a greenlet");
  fiber::greenlet failing([] { throw fiber::ValueError("from within"); });
  try {
    failing.switch_();
    require(false, "a greenlet's exception is lost");
  } catch (const fiber::ValueError&) {
  }
  inner.throw_(std::make_exception_ptr(fiber::GreenletExit()));
  require(inner.dead(), "a greenlet that was thrown into");
}

FAULTS_SCENARIO(greenlets_dropped) {
  int unwound = 0;
  struct Note {
    int& count;
    ~Note() { ++count; }
  };
  {
    const auto body = [&unwound] {
      const Note note{unwound};
      fiber::getcurrent().parent().switch_();
    };
    fiber::greenlet first(body);
    fiber::greenlet second(body);
    first.switch_();
    second.switch_();
    require(unwound == 0, "suspended greenlets");
  }
  require(unwound == 2, "dropped greenlets are unwound");
}

FAULTS_SCENARIO(generators) {
  auto leaves = [](int from) -> fiber::Generator<int> {
    return [from](auto& self) {
      for (int i = from; i < from + 3; ++i) self.yield(i);
    };
  };
  fiber::Generator<int> tree = [&](auto& self) {
    self.yield_from(leaves(0));
    self.yield_from(leaves(3));
  };
  int sum = 0;
  for (const int item : tree) sum += item;
  require(sum == 15, "the items of a generator");
  fiber::Generator<std::string, std::string, int> echo = [](auto& self) {
    std::string got = self.yield("first");
    while (got != "end") got = self.yield(got + got);
    return 7;
  };
  require(echo.next() == "first", "the first item");
  require(echo.send("a text of some length, ") == "a text of some length, a text of some length, ",
          "an echo");
  fiber::Generator<int> unfinished = [](auto& self) {
    for (int i = 0;; ++i) self.yield(i);
  };
  require(unfinished.next() == 0, "an item");
  unfinished.close();
}

FAULTS_SCENARIO(generator_delegates) {
  using fiber::Generator;
  // Each level delegates to the next; values, results and exceptions pass through all of them.
  struct Levels {
    static Generator<std::string, std::string, int> down(int depth) {
      return [depth](auto& self) {
        if (depth > 0) {
          const int inner = self.yield_from(down(depth - 1));
          return inner + depth;
        }
        std::string got = self.yield("the first item, of some length");
        for (;;) {
          try {
            if (got == "end") return 1;
            got = self.yield(got + " comes back, and is a long text");
          } catch (const fiber::ValueError& error) {
            got = self.yield(error.what());
          }
        }
      };
    }
  };
  auto outer = Levels::down(6);
  require(outer.next().starts_with("the first"), "an item of an inner generator");
  require(outer.send("what is sent").starts_with("what is sent comes"), "what is sent");
  require(outer.throw_(std::make_exception_ptr(fiber::ValueError("thrown"))) == "thrown",
          "an exception thrown into the innermost");
  try {
    static_cast<void>(outer.send("end"));
    require(false, "a generator does not end");
  } catch (const fiber::StopIteration& stop) {
    require(stop.value().as<int>() == 22, "the results of all levels");
  }
  int closed = 0;
  struct Note {
    int& count;
    ~Note() { ++count; }
  };
  {
    Generator<int> innermost = [&](auto& self) {
      const Note note{closed};
      for (int i = 0;; ++i) self.yield(i);
    };
    Generator<int> middle = [&](auto& self) {
      const Note note{closed};
      self.yield_from(innermost);
    };
    Generator<int> first = [&](auto& self) {
      const Note note{closed};
      self.yield_from(middle);
    };
    for (const int item : first)
      if (item == 3) break;
    first.close();
  }
  require(closed == 3, "closing the outermost closes all");
}

FAULTS_SCENARIO(contexts) {
  static fiber::contextvars::ContextVar<std::string> name("name", std::string("nobody"));
  fiber::contextvars::Context copy = fiber::contextvars::copy_context();
  copy.run([] {
    const auto token = name.set("somebody with a long name, for the sake of memory");
    require(name.get().starts_with("somebody"), "a variable");
    name.reset(token);
    name.set("another one");
  });
  require(name.get() == "nobody", "the outer context");
  require(copy.run([] { return name.get(); }) == "another one", "the inner context");
}

FAULTS_SCENARIO(exception_groups) {
  using namespace fiber;
  std::vector<std::exception_ptr> errors;
  for (int i = 0; i < 3; ++i) {
    errors.push_back(std::make_exception_ptr(ValueError("one of several, " + std::to_string(i))));
    errors.push_back(std::make_exception_ptr(TypeError("another")));
  }
  int values = 0;
  try {
    try {
      std::rethrow_exception(make_exception_group("several", errors));
    } catch (const AnyExceptionGroup&) {
      except_star([&](const ValueError&) { ++values; });
    }
    require(false, "what is not handled goes on");
  } catch (const ExceptionGroup& rest) {
    require(rest.exceptions().size() == 3 && values == 3, "the parts of a group");
    require(!repr(std::current_exception()).empty(), "its text");
  }
}

FAULTS_SCENARIO(tracebacks) {
  fiber::greenlet suspended([] { fiber::getcurrent().parent().switch_(); });
  suspended.switch_();
  const auto frames = fiber::traceback::extract_stack(suspended);
  require(!fiber::traceback::format_list(frames).empty(), "a traceback");
}

FAULTS_SCENARIO(first_use_on_a_thread) {
  std::exception_ptr error;
  std::thread thread;
  const auto body = [&] {
    try {
      fiber::greenlet inner([] { fiber::getcurrent().parent().switch_(); });
      inner.switch_();
    } catch (...) {
      error = std::current_exception();
    }
  };
  try {
    thread = std::thread(body);
  } catch (const std::system_error& failed) {
    fiber::raise_os_error(failed.code().value(), "std::thread");
  }
  thread.join();
  if (error) std::rethrow_exception(error);
}
