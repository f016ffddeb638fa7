// Greenlets for plain C. A handle is the object itself, with its own count.
#include <fiber/c/options.hpp>
#include <fiber/c/status.hpp>
#include <fiber/core/stack.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>
#include <fiber/stacks.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace {

using fiber::greenlet;
using fiber::value;
using fiber::c::guarded;
using fiber::c::invalid;
using fiber::detail::GreenletObject;

GreenletObject* object_of(const fiber_greenlet* handle) {
  return reinterpret_cast<GreenletObject*>(const_cast<fiber_greenlet*>(handle));
}
fiber_greenlet* handle_of(GreenletObject* object) {
  return reinterpret_cast<fiber_greenlet*>(object);
}
const greenlet& greenlet_of(const fiber_greenlet* handle) {
  if (handle == nullptr) throw fiber::ValueError("the greenlet is NULL");
  return object_of(handle)->borrowed();
}

bool is_own(const fiber_greenlet* handle) noexcept {
  const auto* thread = fiber::detail::greenlet_thread_of(fiber::core::tls_thread_state);
  return thread != nullptr && object_of(handle)->owner.load(std::memory_order_relaxed) == thread;
}
// Returns the greenlet of a handle that belongs to the calling thread; throws otherwise.
const greenlet& own_greenlet(const fiber_greenlet* handle) {
  const greenlet& its = greenlet_of(handle);
  if (!is_own(handle)) fiber::c::refuse_thread("the greenlet belongs to another thread");
  return its;
}
// For functions that return no status: returns false after noting the failure.
bool usable(const fiber_greenlet* handle) noexcept {
  return guarded([&] { static_cast<void>(own_greenlet(handle)); }) == FIBER_OK;
}

// Returns the pointer that C code sent; a C++ greenlet may send a value of any type, which throws.
// The GreenletExit that ended a child is no error of its parent's.
void* pointer_in(value received) {
  if (received.empty() || received.exited()) return nullptr;
  return std::move(received).as<void*>();
}

bool is_ancestor(const greenlet& of_current) {
  for (const GreenletObject* at = fiber::getcurrent().object(); at != nullptr; at = at->parent)
    if (at == of_current.object()) return true;
  return false;
}

// Makes the current greenlet the parent of `of`, so that control comes back here when `of` ends.
// The destructor gives `of` its former parent again, also if `of` has not ended. An ancestor of the
// current greenlet keeps its parent: control comes back here anyway.
class ParentMeanwhile {
 public:
  explicit ParentMeanwhile(const greenlet& of)
      : of_(is_ancestor(of) ? nullptr : of), parent_(of.parent()), now_(fiber::getcurrent()) {
    if (of_ != nullptr) of_.parent(now_);
  }
  ParentMeanwhile(const ParentMeanwhile&) = delete;
  ParentMeanwhile& operator=(const ParentMeanwhile&) = delete;
  ~ParentMeanwhile() {
    try {
      // The body of `of_` may have given it another parent.
      if (of_ != nullptr && of_.parent() == now_) of_.parent(parent_);
    } catch (...) {
      // The body of `of_` has made it an ancestor of its former parent.
    }
  }

 private:
  const greenlet of_;
  const greenlet parent_;
  const greenlet now_;
};

template <class F>
int switching(void** received, F&& function) {
  if (received != nullptr) *received = nullptr;
  return guarded([&] {
    void* pointer = pointer_in(function());
    if (received != nullptr) *received = pointer;
  });
}

}  // namespace

int fiber_greenlet_new(fiber_greenlet** made, fiber_body* body, void* argument,
                       const fiber_greenlet_options* options) {
  if (made != nullptr) *made = nullptr;
  if (made == nullptr || body == nullptr)
    return invalid("the body, or the place for the greenlet, is NULL");
  using Options = fiber_greenlet_options;
  Options given{};
  if (const char* why = fiber::c::read_options(options, given, &Options::stack_size, &Options::name,
                                               &Options::parent))
    return invalid(why);
  if (given.stack_size > fiber::core::kMaxStackSize)
    return invalid("the options ask for a stack of more than 1 TiB");
  return guarded([&] {
    fiber::GreenletOptions its;
    its.stack_size = given.stack_size;
    if (given.name != nullptr) its.name = given.name;
    if (given.parent != nullptr) its.parent = own_greenlet(given.parent);
    const greenlet fresh(
        [body, argument](value sent) {
          return value(fiber::c::call_body(body, argument, pointer_in(std::move(sent))));
        },
        its);
    fiber::detail::retain(fresh.object());
    *made = handle_of(fresh.object());
  });
}

fiber_greenlet* fiber_greenlet_ref(fiber_greenlet* greenlet) {
  if (greenlet != nullptr) fiber::detail::retain(object_of(greenlet));
  return greenlet;
}

void fiber_greenlet_unref(fiber_greenlet* greenlet) {
  if (greenlet != nullptr) fiber::detail::release(object_of(greenlet));
}

int fiber_greenlet_switch(fiber_greenlet* target, void* sent, void** received) {
  return switching(received, [&] {
    // NULL counts as no argument: bodies in C++ may take none.
    const greenlet& its = own_greenlet(target);
    return sent != nullptr ? its.switch_(sent) : its.switch_();
  });
}

int fiber_greenlet_throw(fiber_greenlet* target, int status, void** received) {
  return switching(received, [&] {
    if (status == FIBER_OK) throw fiber::ValueError("FIBER_OK cannot be thrown: it is no error");
    return own_greenlet(target).throw_(fiber::c::exception_of(status));
  });
}

int fiber_greenlet_kill(fiber_greenlet* target) {
  return guarded([&] {
    const greenlet killed = own_greenlet(target);
    if (killed.dead()) return;
    if (killed == fiber::getcurrent())
      throw fiber::RuntimeError(
          "a greenlet cannot kill itself: return FIBER_EXIT from its body instead");
    const ParentMeanwhile here(killed);
    static_cast<void>(killed.throw_());
    if (!killed.dead()) throw fiber::RuntimeError("the greenlet did not end when it was told to");
  });
}

fiber_greenlet* fiber_greenlet_current() {
  try {
    return handle_of(fiber::getcurrent().object());
  } catch (...) {
    fiber::c::caught(std::current_exception());
    return nullptr;
  }
}

fiber_greenlet* fiber_greenlet_parent(const fiber_greenlet* greenlet) {
  return usable(greenlet) ? handle_of(object_of(greenlet)->parent) : nullptr;
}

int fiber_greenlet_set_parent(fiber_greenlet* greenlet, fiber_greenlet* parent) {
  return guarded([&] { own_greenlet(greenlet).parent(own_greenlet(parent)); });
}

int fiber_greenlet_active(const fiber_greenlet* greenlet) {
  return usable(greenlet) && static_cast<bool>(object_of(greenlet)->borrowed()) ? 1 : 0;
}

int fiber_greenlet_dead(const fiber_greenlet* greenlet) {
  return usable(greenlet) && object_of(greenlet)->borrowed().dead() ? 1 : 0;
}

void* fiber_greenlet_data(const fiber_greenlet* greenlet) {
  return usable(greenlet) ? object_of(greenlet)->user_data : nullptr;
}

int fiber_greenlet_set_data(fiber_greenlet* greenlet, void* data) {
  return guarded([&] { own_greenlet(greenlet).object()->user_data = data; });
}

size_t fiber_greenlet_name(const fiber_greenlet* greenlet, char* buffer, size_t size) {
  std::string name;
  guarded([&] { name = own_greenlet(greenlet).name(); });
  if (buffer != nullptr && size != 0) {
    const std::size_t length = std::min(name.size(), size - 1);
    std::memcpy(buffer, name.data(), length);
    buffer[length] = '\0';
  }
  return name.size();
}

int fiber_greenlet_set_name(fiber_greenlet* greenlet, const char* name) {
  return guarded([&] { own_greenlet(greenlet).name(name != nullptr ? name : ""); });
}

size_t fiber_greenlet_stack_size(const fiber_greenlet* greenlet) {
  if (!usable(greenlet) || object_of(greenlet)->is_main) return 0;
  const GreenletObject& object = *object_of(greenlet);
  return object.stack != nullptr ? object.stack->size : object.stack_shape.size();
}

size_t fiber_greenlet_stack_used(const fiber_greenlet* greenlet) {
  return usable(greenlet) ? object_of(greenlet)->borrowed().stack_used() : 0;
}

int fiber_stacks_set_default_size(size_t bytes) {
  return guarded([&] { fiber::stacks::default_size(bytes); });
}

int fiber_stacks_trim() {
  return guarded([] { fiber::stacks::trim(); });
}
