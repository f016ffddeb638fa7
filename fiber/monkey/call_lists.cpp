#include <fiber/asyncio/log.hpp>
#include <fiber/core/symbols.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/monkey/call_lists.hpp>
#include <fiber/monkey/image.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <link.h>

namespace fiber::monkey::detail {

// The layout of call_stack<Key, Value>::context, in Boost.Asio and in Asio alone.
struct TakenCalls::Node {
  void* key;
  void* value;
  Node* next;
};

namespace {

// The head of a list: a variable of an object, which each thread has for itself.
struct Head {
  std::uintptr_t object;  // where the object is loaded
  std::size_t offset;     // in the object's block of thread-local storage
};

// All heads that have been found so far. Later ones take the place of earlier ones, which other
// threads may be reading, and which are kept therefore.
struct Heads {
  std::vector<Head> all;
  const Heads* before;
};
std::atomic<const Heads*> known{nullptr};

// The addresses of the heads in this thread.
struct OfThread {
  const Heads* of = nullptr;  // null if some have no address yet
  std::array<void*, kMostCallLists> address{};
  std::size_t count = 0;
};
constinit thread_local OfThread of_thread;

// A block that the thread has not used is not made for it: it has no calls in that object.
void look_up(const Heads& heads, OfThread& found) noexcept {
  struct Search {
    const Heads& heads;
    OfThread& found;
    bool complete = true;
  } search{heads, found};
  found.count = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& wanted = *static_cast<Search*>(argument);
        for (const Head& head : wanted.heads.all) {
          // Objects that were linked for fixed addresses all have the base 0.
          if (head.object != info->dlpi_addr || wanted.found.count == kMostCallLists) continue;
          if (info->dlpi_tls_data == nullptr)
            wanted.complete = false;
          else
            wanted.found.address[wanted.found.count++] =
                static_cast<char*>(info->dlpi_tls_data) + head.offset;
        }
        return 0;
      },
      &search);
  found.of = search.complete ? &heads : nullptr;
}

// Calls visit(head) for each list of this thread.
template <class Visit>
void for_each_list(Visit visit) noexcept {
  const Heads* heads = known.load(std::memory_order_acquire);
  if (heads == nullptr) return;
  if (of_thread.of != heads) look_up(*heads, of_thread);
  for (std::size_t i = 0; i < of_thread.count; ++i)
    visit(static_cast<void**>(of_thread.address[i]));
}

// "boost::asio::detail::keyword_tss_ptr<boost::asio::detail::call_stack<...>::context>::value_",
// and also without "boost".
bool is_head(const char* name) {
  const char* pointer = std::strstr(name, "4asio6detail15keyword_tss_ptrINS");
  return pointer != nullptr && std::strstr(pointer, "10call_stackI") != nullptr &&
         std::strstr(pointer, "7contextEE6value_E") != nullptr;
}

// Objects with thread_locals that have been loaded so far.
struct Object {
  std::uintptr_t base;
  std::string path;
  bool is_program;
  friend bool operator==(const Object&, const Object&) = default;
};
std::vector<Object> loaded_objects() {
  std::vector<Object> objects;
  for_each_image([&](const Image& image) {
    if (image.has_thread_locals())
      objects.push_back({image.base(), std::string(image.path()), image.is_program()});
  });
  return objects;
}

// Returns false if the object is gone in the meantime.
bool keep_loaded(const Object& object) noexcept {
  return object.is_program ||
         ::dlopen(object.path.c_str(), RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
}

bool is_on(const core::Stack* stack, const void* node) noexcept {
  const std::less<const void*> before;
  return node != nullptr && !before(node, stack->base) && before(node, stack);
}

}  // namespace

TakenCalls::TakenCalls() noexcept {
  const core::Stack* stack = core::tls_thread_state->stack;
  for_each_list([&](void** at) {
    auto** head = reinterpret_cast<Node**>(at);
    if (!is_on(stack, *head)) return;
    Part& part = parts_[count_++] = {head, *head, *head};
    while (is_on(stack, part.last->next)) part.last = part.last->next;
    *head = std::exchange(part.last->next, nullptr);
  });
}

TakenCalls::~TakenCalls() {
  for (std::size_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    part.last->next = std::exchange(*part.head, part.first);
  }
}

const void* newest_call_on(const core::Stack* stack) noexcept {
  const void* newest = nullptr;
  for_each_list([&](void** head) {
    if (newest == nullptr && is_on(stack, *head)) newest = *head;
  });
  return newest;
}

void find_call_lists() {
  static std::vector<Object> searched;
  std::vector<Object> objects = loaded_objects();
  const Heads* old = known.load(std::memory_order_relaxed);
  std::vector<Head> heads = old != nullptr ? old->all : std::vector<Head>();
  for (const Object& object : objects) {
    if (std::find(searched.begin(), searched.end(), object) != searched.end()) continue;
    const auto offsets = core::find_thread_locals(object.path.c_str(), is_head);
    if (offsets.empty() || !keep_loaded(object)) continue;
    for (const std::size_t offset : offsets) heads.push_back({object.base, offset});
  }
  searched = std::move(objects);
  if (heads.size() > kMostCallLists) {
    asyncio::detail::log(asyncio::LogLevel::warning,
                         "More objects than this library looks after contain Boost.Asio: run the "
                         "io_context of the last ones in tasks with own_thread_state");
    heads.resize(kMostCallLists);
  }
  if (heads.size() != (old != nullptr ? old->all.size() : 0))
    known.store(new Heads{std::move(heads), old}, std::memory_order_release);
}

}  // namespace fiber::monkey::detail
