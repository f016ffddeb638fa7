// Greenlets for plain C. A handle is the object itself, with its own count.
#include <fiber/c/status.hpp>
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

// A pointer as C sends it; a C++ greenlet may send anything. The GreenletExit that ended a child is
// no error of its parent's.
void* pointer_in(value received) {
  if (received.empty() || received.exited()) return nullptr;
  return std::move(received).as<void*>();
}

bool is_ancestor(const greenlet& of_current) {
  for (const GreenletObject* at = fiber::getcurrent().object(); at != nullptr; at = at->parent)
    if (at == of_current.object()) return true;
  return false;
}

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
  if (made == nullptr || body == nullptr) return invalid("a greenlet needs a body, and a place");
  *made = nullptr;
  if (options != nullptr &&
      options->size < offsetof(fiber_greenlet_options, stack_size) + sizeof options->stack_size)
    return invalid("the options have no size: it is to be sizeof(fiber_greenlet_options)");
  return guarded([&] {
    fiber::greenlet_options its;
    if (options != nullptr) {
      fiber_greenlet_options given{};
      std::memcpy(&given, options, std::min(options->size, sizeof given));
      its.stack_size = given.stack_size;
      if (given.name != nullptr) its.name = given.name;
      if (given.parent != nullptr) its.parent = greenlet_of(given.parent);
    }
    const greenlet fresh(
        [body, argument](value sent) {
          void* result = pointer_in(std::move(sent));
          fiber::c::raise(body(argument, &result));
          return value(result);
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
    // NULL is nothing, as bodies in C++ that take no arguments want it.
    return sent != nullptr ? greenlet_of(target).switch_(sent) : greenlet_of(target).switch_();
  });
}

int fiber_greenlet_throw(fiber_greenlet* target, int status, void** received) {
  if (status == FIBER_OK) return invalid("FIBER_OK cannot be thrown");
  return switching(received,
                   [&] { return greenlet_of(target).throw_(fiber::c::exception_of(status)); });
}

int fiber_greenlet_kill(fiber_greenlet* target) {
  return guarded([&] {
    const greenlet killed = greenlet_of(target);
    if (killed.dead()) return;
    if (killed == fiber::getcurrent())
      throw fiber::RuntimeError("a greenlet ends itself by returning FIBER_EXIT");
    const auto* owner = object_of(target)->owner.load(std::memory_order_relaxed);
    if (killed && owner != &fiber::detail::greenlet_thread()) {
      static_cast<void>(killed.throw_());  // which says that it is another thread's
      return;
    }
    // Wherever it would go at its end, now it comes back here; it does anyway if it is an ancestor.
    const greenlet parent = killed.parent();
    const bool ancestor = is_ancestor(killed);
    if (!ancestor) killed.parent(fiber::getcurrent());
    static_cast<void>(killed.throw_());
    if (!ancestor) killed.parent(parent);
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
  return greenlet != nullptr ? handle_of(object_of(greenlet)->parent) : nullptr;
}

int fiber_greenlet_set_parent(fiber_greenlet* greenlet, fiber_greenlet* parent) {
  return guarded([&] { greenlet_of(greenlet).parent(greenlet_of(parent)); });
}

int fiber_greenlet_active(const fiber_greenlet* greenlet) {
  return greenlet != nullptr && static_cast<bool>(object_of(greenlet)->borrowed()) ? 1 : 0;
}

int fiber_greenlet_dead(const fiber_greenlet* greenlet) {
  return greenlet != nullptr && object_of(greenlet)->borrowed().dead() ? 1 : 0;
}

void* fiber_greenlet_data(const fiber_greenlet* greenlet) {
  return greenlet != nullptr ? object_of(greenlet)->user_data : nullptr;
}

int fiber_greenlet_set_data(fiber_greenlet* greenlet, void* data) {
  if (greenlet == nullptr) return invalid("the greenlet is NULL");
  object_of(greenlet)->user_data = data;
  return FIBER_OK;
}

size_t fiber_greenlet_name(const fiber_greenlet* greenlet, char* buffer, size_t size) {
  std::string name;
  guarded([&] { name = greenlet_of(greenlet).name(); });
  if (size != 0) {
    const std::size_t length = std::min(name.size(), size - 1);
    std::memcpy(buffer, name.data(), length);
    buffer[length] = '\0';
  }
  return name.size();
}

int fiber_greenlet_set_name(fiber_greenlet* greenlet, const char* name) {
  return guarded([&] { greenlet_of(greenlet).name(name != nullptr ? name : ""); });
}

size_t fiber_greenlet_stack_size(const fiber_greenlet* greenlet) {
  if (greenlet == nullptr || object_of(greenlet)->is_main) return 0;
  const GreenletObject& object = *object_of(greenlet);
  return object.stack != nullptr ? object.stack->size : object.stack_shape.size();
}

size_t fiber_greenlet_stack_used(const fiber_greenlet* greenlet) {
  return greenlet != nullptr ? object_of(greenlet)->borrowed().stack_used() : 0;
}

int fiber_stacks_set_default_size(size_t bytes) {
  return guarded([&] { fiber::stacks::default_size(bytes); });
}

int fiber_stacks_trim() {
  return guarded([] { fiber::stacks::trim(); });
}
