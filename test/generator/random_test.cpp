// Random programs over generators: next, send, throw, close, drop, yield from new, shared, running
// and ended generators, exceptions in all of them. Each is run by Generator and by a small model
// that follows the text of PEP 380, and the two lists of events are compared. What differs is shrunk
// and shown as Python.
//
// FIBER_RANDOM_PROGRAMS: how many programs instead of the fixed set. FIBER_RANDOM_SEED: the first
// one's seed. FIBER_RANDOM_PYTHON=1: compare with python3 too.
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using fiber::GeneratorExit;
using fiber::StopIteration;
using fiber::ValueError;
using Number = std::optional<int>;

namespace {

// --- programs -----------------------------------------------------------------------------------

enum class Op {
  yield,
  from_variable,  // yield from variables[a]
  from_new,       // yield from make(a)
  from_range,     // yield from range(a)
  raise,          // exceptions[a]
  reraise,        // in a handler
  give,           // return a
  next,           // of variables[a]
  send,           // b to variables[a]
  throw_,         // exceptions[b] into variables[a]
  close,          // variables[a]
  make,           // variables[a] = make(b)
  drop,           // variables[a] = None
  state,          // of variables[a]
  try_,           // block, except filters[a]: handler
};

struct Statement {
  Op op;
  int a = 0;
  int b = 0;
  std::vector<Statement> block = {};
  std::vector<Statement> handler = {};
};
using Block = std::vector<Statement>;

struct Program {
  std::vector<Block> bodies;
  Block driver;
};

constexpr int kVariables = 4;
constexpr int kBodies = 5;
constexpr int kExceptions = 4;
constexpr int kFilters = 4;
constexpr const char* kExceptionNames[] = {"ValueError('a')", "LookupError('b')",
                                           "GeneratorExit()", "StopIteration()"};
constexpr const char* kFilterNames[] = {"ValueError", "Exception", "GeneratorExit",
                                        "BaseException"};

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  Program make() {
    Program program;
    for (int i = 0; i < kBodies; ++i) program.bodies.push_back(block(i, 1 + pick(5), 0, false));
    for (int v = 0; v < kVariables; ++v) program.driver.push_back({Op::make, v, pick(kBodies)});
    const int steps = 8 + pick(16);
    for (int i = 0; i < steps; ++i) program.driver.push_back(step());
    return program;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }

  Statement step() {
    const int v = pick(kVariables);
    switch (pick(12)) {
      case 0: return {Op::send, v, pick(100)};
      case 1: return {Op::throw_, v, pick(kExceptions)};
      case 2: return {Op::close, v};
      case 3: return {Op::make, v, pick(kBodies)};
      case 4: return {Op::drop, v};
      case 5: return {Op::state, v};
      case 6: return {Op::send, v, pick(100)};
      default: return {Op::next, v};
    }
  }

  Block block(int body, int length, int depth, bool handler) {
    Block made;
    for (int i = 0; i < length; ++i) made.push_back(statement(body, depth, handler));
    return made;
  }

  Statement statement(int body, int depth, bool handler) {
    switch (pick(16)) {
      case 0:
      case 1:
      case 2:
      case 3: return {Op::yield, pick(100)};
      case 4:
      case 5: return {Op::from_variable, pick(kVariables)};
      case 6:
      case 7:
        // Only later bodies, so that programs end.
        if (body + 1 < kBodies) return {Op::from_new, body + 1 + pick(kBodies - body - 1)};
        return {Op::from_range, 1 + pick(3)};
      case 8: return {Op::from_range, pick(3)};
      case 9:
        if (handler && pick(2) == 0) return {Op::reraise};
        return {Op::raise, pick(kExceptions)};
      case 10:
        if (pick(3) == 0) return {Op::give, pick(100)};
        return {Op::yield, pick(100)};
      case 11: return step();
      default:
        if (depth > 2) return {Op::yield, pick(100)};
        return {Op::try_, pick(kFilters), 0, block(body, 1 + pick(3), depth + 1, handler),
                block(body, 1 + pick(2), depth + 1, true)};
    }
  }

  std::minstd_rand random_;
};

// --- both worlds --------------------------------------------------------------------------------

using Trace = std::vector<std::string>;

std::exception_ptr exception(int which) {
  switch (which) {
    case 0: return std::make_exception_ptr(ValueError("a"));
    case 1: return std::make_exception_ptr(fiber::LookupError("b"));
    case 2: return std::make_exception_ptr(GeneratorExit());
    default: return std::make_exception_ptr(StopIteration());
  }
}

template <class E>
bool is(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
}

bool matches(int filter, const std::exception_ptr& error) {
  switch (filter) {
    case 0: return is<ValueError>(error);
    case 1: return is<std::exception>(error);
    case 2: return is<GeneratorExit>(error);
    default: return true;
  }
}

std::string shown(Number number) { return number ? std::to_string(*number) : "None"; }

std::string shown(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const fiber::AttributeError&) {
    return "AttributeError";
  } catch (const StopIteration& stop) {
    Number value;
    if (auto* held = stop.value().get_if<Number>()) value = *held;
    return "StopIteration:" + shown(value);
  } catch (...) {
    return fiber::type_name(error) + ":" + fiber::str(error);
  }
}

// What runs a program; a World says what a generator is.
template <class World>
class Machine {
 public:
  using Handle = typename World::Handle;
  using Self = typename World::Self;

  explicit Machine(const Program& program) : program_(program), world_(trace_) {}

  Trace run() {
    for (const Statement& statement : program_.driver) {
      try {
        operate("", statement);
      } catch (...) {
        trace_.push_back("main:" + shown(std::current_exception()));
      }
    }
    for (Handle& variable : variables_) variable = nullptr;
    Trace seen = trace_;
    world_.clear();
    return seen;
  }

 private:
  Handle make(int body) {
    const std::string id = "g" + std::to_string(made_++);
    return world_.make([this, body, id](Self& self) -> Number {
      trace_.push_back(id + ":start");
      const std::optional<Number> returned =
          block(self, id, program_.bodies[static_cast<std::size_t>(body)], nullptr);
      trace_.push_back(id + ":end");
      return returned.value_or(std::nullopt);
    });
  }

  // What a return statement gave, if one was met.
  std::optional<Number> block(Self& self, const std::string& id, const Block& statements,
                              const std::exception_ptr& handled) {
    for (const Statement& s : statements) {
      switch (s.op) {
        case Op::yield: trace_.push_back(id + ":got " + shown(self.yield(s.a))); break;
        case Op::from_variable: {
          Handle inner = variable(s.a);
          if (inner == nullptr) {
            trace_.push_back(id + ":none");
            break;
          }
          const Number returned = self.yield_from(std::move(inner));
          trace_.push_back(id + ":from " + shown(returned));
          break;
        }
        case Op::from_new: {
          const Number returned = self.yield_from(make(s.a));
          trace_.push_back(id + ":from " + shown(returned));
          break;
        }
        case Op::from_range: {
          std::vector<int> range;
          for (int i = 0; i < s.a; ++i) range.push_back(i);
          self.yield_from(range);
          break;
        }
        case Op::raise: std::rethrow_exception(exception(s.a));
        case Op::reraise: std::rethrow_exception(handled);
        case Op::give: return std::optional<Number>(Number(s.a));
        case Op::try_: {
          std::exception_ptr caught;
          try {
            if (auto returned = block(self, id, s.block, handled)) return returned;
          } catch (...) {
            caught = std::current_exception();
            if (!matches(s.a, caught)) throw;
          }
          if (caught == nullptr) break;
          trace_.push_back(id + ":caught " + shown(caught));
          if (auto returned = block(self, id, s.handler, caught)) return returned;
          break;
        }
        default: operate(id + ":", s);
      }
    }
    return std::nullopt;
  }

  void operate(const std::string& id, const Statement& s) {
    if (s.op == Op::make) {
      variable(s.a) = make(s.b);
      return;
    }
    if (s.op == Op::drop) {
      variable(s.a) = nullptr;
      return;
    }
    if (variable(s.a) == nullptr) {
      trace_.push_back(id + "none");
      return;
    }
    // A plain loop variable would keep the generator: as in Python, only the call does.
    switch (s.op) {
      case Op::next: {
        const int item = variable(s.a).next();
        trace_.push_back(id + "next " + std::to_string(item));
        break;
      }
      case Op::send: {
        const int item = variable(s.a).send(s.b);
        trace_.push_back(id + "send " + std::to_string(item));
        break;
      }
      case Op::throw_: {
        const int item = variable(s.a).throw_(exception(s.b));
        trace_.push_back(id + "throw " + std::to_string(item));
        break;
      }
      case Op::close:
        variable(s.a).close();
        trace_.push_back(id + "close");
        break;
      default: {
        std::ostringstream text;
        text << variable(s.a).state();
        std::string target = "none";
        const auto inner = variable(s.a).yield_from_target();
        if (inner != nullptr) target = "other";
        for (int v = kVariables - 1; v >= 0; --v)
          if (inner != nullptr && variable(v) == inner) target = std::to_string(v);
        trace_.push_back(id + text.str() + " " + target);
      }
    }
  }

  Handle& variable(int v) { return variables_[static_cast<std::size_t>(v)]; }

  const Program& program_;
  Trace trace_;
  World world_;
  std::vector<Handle> variables_{kVariables, nullptr};
  int made_ = 0;
};

// --- the library --------------------------------------------------------------------------------

class Real {
 public:
  using Handle = fiber::Generator<int, Number, Number>;
  using Self = Handle::Self;

  explicit Real(Trace& trace)
      : previous_(fiber::set_unraisablehook([&trace](const fiber::UnraisableHookArgs& args) {
          trace.push_back("unraisable " + shown(args.exception));
        })) {}
  ~Real() { fiber::set_unraisablehook(previous_); }
  Handle make(std::function<Number(Self&)> body) { return Handle(std::move(body)); }
  // Ends what outlived its last handle.
  void clear() {
    for (;;) {
      const auto left = fiber::all_generators();
      if (left.empty()) return;
      try {
        left.back().object()->close();
      } catch (...) {
      }
    }
  }

 private:
  fiber::unraisable_hook previous_;
};

// --- the model ----------------------------------------------------------------------------------

// A generator is a greenlet that is switched to and back; delegation is PEP 380's expansion.
class Model {
 public:
  struct Object;
  class Self;

  class Handle {
   public:
    Handle(std::nullptr_t) {}
    explicit Handle(std::shared_ptr<Object> object) : object_(std::move(object)) {}
    Handle(const Handle&) = default;
    Handle(Handle&&) = default;
    Handle& operator=(Handle other) {
      std::swap(object_, other.object_);
      return *this;
    }
    ~Handle();
    int next() const { return give({}, nullptr); }
    int send(Number number) const { return give(number, nullptr); }
    int throw_(std::exception_ptr error) const { return give({}, std::move(error)); }
    void close() const;
    fiber::GeneratorState state() const;
    Handle yield_from_target() const;
    // False at the end.
    bool advance(Number sent, std::exception_ptr error) const;
    Object* operator->() const { return object_.get(); }
    friend bool operator==(const Handle&, const Handle&) = default;

   private:
    int give(Number sent, std::exception_ptr error) const;
    std::shared_ptr<Object> object_;
  };

  struct Object {
    Model* world;
    std::function<Number(Self&)> body;
    fiber::GeneratorState state = fiber::GEN_CREATED;
    fiber::greenlet frame;
    fiber::greenlet caller = nullptr;
    bool has_item = false;
    int item = 0;
    Number sent;
    Number returned;
    std::exception_ptr error;
    Object* target = nullptr;
  };

  class Self {
   public:
    explicit Self(Object* object) : object_(object) {}
    Number yield(int item) {
      object_->has_item = true;
      object_->item = item;
      const fiber::greenlet caller = std::exchange(object_->caller, nullptr);
      caller.switch_();
      if (object_->error) std::rethrow_exception(std::exchange(object_->error, nullptr));
      return object_->sent;
    }
    Number yield_from(Handle inner);
    void yield_from(const std::vector<int>& range) {
      for (const int i : range)
        if (yield(i)) throw fiber::AttributeError("send");
    }

   private:
    Object* object_;
  };

  explicit Model(Trace& trace) : trace_(trace) {}
  Handle make(std::function<Number(Self&)> body) {
    auto object = std::make_shared<Object>();
    object->world = this;
    object->body = std::move(body);
    return Handle(std::move(object));
  }
  void clear() {
    while (!outlived_.empty()) {
      const Handle handle(outlived_.back());
      outlived_.pop_back();
      while (handle.state() != fiber::GEN_CLOSED) {
        try {
          handle.close();
        } catch (...) {
        }
      }
    }
  }

 private:
  Trace& trace_;
  std::vector<std::shared_ptr<Object>> outlived_;
};

bool Model::Handle::advance(Number sent, std::exception_ptr error) const {
  Object* object = object_.get();
  switch (object->state) {
    case fiber::GEN_RUNNING: throw ValueError("generator already executing");
    case fiber::GEN_CREATED:
      if (error == nullptr && sent)
        throw fiber::TypeError("can't send non-None value to a just-started generator");
      if (error == nullptr) {
        object->frame = fiber::greenlet([self = object] {
          Self view(self);
          try {
            self->returned = self->body(view);
          } catch (const fiber::GreenletExit&) {
            throw;
          } catch (const StopIteration&) {
            self->error =
                std::make_exception_ptr(fiber::RuntimeError("generator raised StopIteration"));
          } catch (...) {
            self->error = std::current_exception();
          }
        });
        break;
      }
      object->state = fiber::GEN_CLOSED;
      [[fallthrough]];
    case fiber::GEN_CLOSED:
      object->has_item = false;
      if (error) std::rethrow_exception(error);
      return false;
    case fiber::GEN_SUSPENDED: break;
  }
  object->state = fiber::GEN_RUNNING;
  object->has_item = false;
  object->sent = sent;
  object->error = std::move(error);
  object->caller = fiber::getcurrent();
  object->frame.parent(object->caller);
  object->frame.switch_();
  if (object->has_item) {
    object->state = fiber::GEN_SUSPENDED;
    return true;
  }
  object->state = fiber::GEN_CLOSED;
  object->caller = nullptr;
  if (object->error) std::rethrow_exception(std::exchange(object->error, nullptr));
  return false;
}

int Model::Handle::give(Number sent, std::exception_ptr error) const {
  const Handle keep = *this;
  if (!keep.advance(sent, std::move(error)))
    throw StopIteration(fiber::value(std::exchange(keep->returned, std::nullopt)));
  return keep->item;
}

void Model::Handle::close() const {
  const Handle keep = *this;
  if (keep->state == fiber::GEN_CLOSED) return;
  try {
    if (!keep.advance({}, std::make_exception_ptr(GeneratorExit()))) return;
  } catch (const GeneratorExit&) {
    return;
  }
  throw fiber::RuntimeError("generator ignored GeneratorExit");
}

fiber::GeneratorState Model::Handle::state() const { return object_->state; }

Model::Handle Model::Handle::yield_from_target() const {
  Object* target = object_->target;
  if (target == nullptr || object_->state != fiber::GEN_SUSPENDED) return nullptr;
  return Handle(std::shared_ptr<Object>(std::shared_ptr<Object>(), target));
}

Model::Handle::~Handle() {
  if (object_ == nullptr || object_.use_count() != 1 || object_->state != fiber::GEN_SUSPENDED)
    return;
  Model* world = object_->world;
  const std::shared_ptr<Object> object = object_;
  try {
    close();
  } catch (...) {
    world->trace_.push_back("unraisable " + shown(std::current_exception()));
  }
  if (object->state == fiber::GEN_SUSPENDED) world->outlived_.push_back(object);
}

Number Model::Self::yield_from(Handle inner) {
  bool more = inner.advance({}, nullptr);
  const auto end = [](Object* object) { object->target = nullptr; };
  const std::unique_ptr<Object, decltype(end)> target(object_, end);
  object_->target = inner.operator->();
  while (more) {
    std::exception_ptr thrown;
    Number sent;
    try {
      sent = yield(inner->item);
    } catch (const fiber::GreenletExit&) {
      throw;
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown != nullptr && is<GeneratorExit>(thrown)) {
      inner.close();
      std::rethrow_exception(thrown);
    }
    more = inner.advance(sent, thrown);
  }
  return std::exchange(inner->returned, std::nullopt);
}

// --- Python -------------------------------------------------------------------------------------

void write_block(std::ostringstream& out, const Block& block, int indent, const std::string& id);

void write(std::ostringstream& out, const Statement& s, int indent, const std::string& id) {
  const std::string pad(static_cast<std::size_t>(indent) * 2, ' ');
  const auto line = [&](const std::string& text) { out << pad << text << "\n"; };
  const std::string v = "V[" + std::to_string(s.a) + "]";
  const auto guarded = [&](const std::string& text) {
    line("if " + v + " is None: T(" + id + ", 'none')");
    line("else: " + text);
  };
  switch (s.op) {
    case Op::yield: line("r = yield " + std::to_string(s.a)); line("T(" + id + ", 'got', r)"); break;
    case Op::from_variable:
      line("if " + v + " is None: T(" + id + ", 'none')");
      line("else:");
      line("  r = yield from " + v);
      line("  T(" + id + ", 'from', r)");
      break;
    case Op::from_new:
      line("r = yield from make(" + std::to_string(s.a) + ")");
      line("T(" + id + ", 'from', r)");
      break;
    case Op::from_range: line("yield from range(" + std::to_string(s.a) + ")"); break;
    case Op::raise: line(std::string("raise ") + kExceptionNames[s.a]); break;
    case Op::reraise: line("raise"); break;
    case Op::give:
      line("T(" + id + ", 'end')");
      line("return " + std::to_string(s.a));
      break;
    case Op::next: guarded("T(" + id + ", 'next', next(" + v + "))"); break;
    case Op::send:
      guarded("T(" + id + ", 'send', " + v + ".send(" + std::to_string(s.b) + "))");
      break;
    case Op::throw_:
      guarded("T(" + id + ", 'throw', " + v + ".throw(" + kExceptionNames[s.b] + "))");
      break;
    case Op::close: guarded(v + ".close(); T(" + id + ", 'close')"); break;
    case Op::make: line(v + " = make(" + std::to_string(s.b) + ")"); break;
    case Op::drop: line(v + " = None"); break;
    case Op::state: guarded("S(" + id + ", " + v + ")"); break;
    case Op::try_:
      line("try:");
      write_block(out, s.block, indent + 1, id);
      line(std::string("except ") + kFilterNames[s.a] + " as e:");
      line("  T(" + id + ", 'caught', name(e))");
      write_block(out, s.handler, indent + 1, id);
      break;
  }
}

void write_block(std::ostringstream& out, const Block& block, int indent, const std::string& id) {
  for (const Statement& statement : block) write(out, statement, indent, id);
}

std::string python(const Program& program) {
  std::ostringstream out;
  out << "import inspect, sys\n"
         "V = [None] * "
      << kVariables
      << "\n"
         "made = 0\n"
         "def T(id, *words): print((id + ':' if id else '') + ' '.join(map(str, words)))\n"
         "def name(e):\n"
         "  if isinstance(e, AttributeError): return 'AttributeError'\n"
         "  if isinstance(e, StopIteration): return f'StopIteration:{e.value}'\n"
         "  return f'{type(e).__name__}:{e}'\n"
         "def S(id, g):\n"
         "  t = g.gi_yieldfrom\n"
         "  if not inspect.isgenerator(t): t = 'none'\n"
         "  else: t = next((str(i) for i, v in enumerate(V) if v is t), 'other')\n"
         "  T(id, inspect.getgeneratorstate(g), t)\n"
         "def hook(args): print('unraisable ' + name(args.exc_value))\n"
         "sys.unraisablehook = hook\n"
         "def make(body):\n"
         "  global made\n"
         "  made += 1\n"
         "  return bodies[body](f'g{made - 1}')\n";
  for (std::size_t i = 0; i < program.bodies.size(); ++i) {
    out << "def body" << i << "(id):\n  T(id, 'start')\n";
    write_block(out, program.bodies[i], 1, "id");
    out << "  T(id, 'end')\n  return\n  yield\n";
  }
  out << "bodies = [";
  for (std::size_t i = 0; i < program.bodies.size(); ++i) out << "body" << i << ", ";
  out << "]\n";
  for (const Statement& statement : program.driver) {
    out << "try:\n";
    write(out, statement, 1, "''");
    out << "except BaseException as e: T('main', name(e))\n";
  }
  out << "for i in range(len(V)): V[i] = None\n";
  return out.str();
}

// Null when there is no Python that could say.
std::optional<Trace> run_python(const Program& program) {
  char path[] = "/tmp/fiber-random-XXXXXX";
  const int descriptor = mkstemp(path);
  if (descriptor < 0) return std::nullopt;
  std::FILE* file = fdopen(descriptor, "w");
  std::fputs(python(program).c_str(), file);
  std::fclose(file);
  std::FILE* pipe = popen((std::string("python3 ") + path).c_str(), "r");
  Trace trace;
  char line[256];
  while (pipe != nullptr && std::fgets(line, sizeof line, pipe) != nullptr) {
    trace.emplace_back(line);
    trace.back().pop_back();
  }
  const int status = pipe != nullptr ? pclose(pipe) : -1;
  std::remove(path);
  if (status != 0) return std::nullopt;
  return trace;
}

// --- comparing ----------------------------------------------------------------------------------

Trace run_real(const Program& program) { return Machine<Real>(program).run(); }
Trace run_model(const Program& program) { return Machine<Model>(program).run(); }

// All programs with one statement less.
template <class Keep>
bool shrink(Block& block, const Keep& still_fails) {
  for (std::size_t i = 0; i < block.size(); ++i) {
    const Statement removed = block[i];
    block.erase(block.begin() + static_cast<std::ptrdiff_t>(i));
    if (still_fails()) return true;
    block.insert(block.begin() + static_cast<std::ptrdiff_t>(i), removed);
    if (shrink(block[i].block, still_fails) || shrink(block[i].handler, still_fails)) return true;
  }
  return false;
}

std::string joined(const Trace& trace) {
  std::string text;
  for (const std::string& event : trace) text += event + "\n";
  return text;
}

template <class Fails>
void shrunk(Program& program, const Fails& fails) {
  // Blocks must not be empty in Python: what would empty one is not tried.
  const auto legal = [](const auto& self, const Block& block) -> bool {
    for (const Statement& s : block)
      if (s.op == Op::try_ && (s.block.empty() || s.handler.empty() || !self(self, s.block) ||
                               !self(self, s.handler)))
        return false;
    return true;
  };
  const auto still_fails = [&] {
    for (const Block& body : program.bodies)
      if (!legal(legal, body)) return false;
    return fails(program);
  };
  for (bool again = true; again;) {
    again = shrink(program.driver, still_fails);
    for (Block& body : program.bodies) again = again || shrink(body, still_fails);
  }
}

long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : otherwise;
}

}  // namespace

TEST_CASE("random programs do with Generator what PEP 380 says") {
  const long seed = setting("FIBER_RANDOM_SEED", 1);
  const long count = setting("FIBER_RANDOM_PROGRAMS", 1500);
  long events = 0;
  for (long i = 0; i < count; ++i) {
    Program program = Maker(static_cast<unsigned>(seed + i)).make();
    const Trace real = run_real(program);
    events += static_cast<long>(real.size());
    if (real == run_model(program)) continue;
    shrunk(program, [](const Program& p) { return run_real(p) != run_model(p); });
    INFO("seed ", seed + i, ":\n", python(program));
    REQUIRE(joined(run_real(program)) == joined(run_model(program)));
  }
  CHECK(events > 10 * count);
}

TEST_CASE("random programs do with Generator what CPython does") {
  if (setting("FIBER_RANDOM_PYTHON", 0) == 0) return;
  const long seed = setting("FIBER_RANDOM_SEED", 1);
  const long count = setting("FIBER_RANDOM_PROGRAMS", 100);
  const auto differ = [](const Program& program) {
    const Trace real = run_real(program);
    // CPython throws the frame of a generator away that ignored its last GeneratorExit; we keep it.
    for (const std::string& event : real)
      if (event.starts_with("unraisable RuntimeError:generator ignored")) return false;
    const auto other = run_python(program);
    return other && real != *other;
  };
  for (long i = 0; i < count; ++i) {
    Program program = Maker(static_cast<unsigned>(seed + i)).make();
    if (!differ(program)) continue;
    shrunk(program, differ);
    INFO("seed ", seed + i, ":\n", python(program));
    REQUIRE(joined(run_real(program)) == joined(run_python(program).value()));
  }
}
