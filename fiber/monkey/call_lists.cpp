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
#include <new>
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

// The first object found with an Asio whose heads have no names, as the file was stripped.
struct Nameless {
  std::uintptr_t object = 0;
  std::size_t words = 0;  // in the object's block of thread-local storage; 0 if there is none
  std::string path;
};

// All that has been found so far. Later ones take the place of earlier ones, which other threads
// may be reading, and which are kept therefore.
struct Found {
  std::vector<Head> heads;
  Nameless nameless;
  const Found* before = nullptr;
};
std::atomic<const Found*> known{nullptr};

// The places of a thread.
struct OfThread {
  const Found* of = nullptr;  // null if some have no address yet
  std::array<void*, kMostCallLists> heads{};
  std::size_t count = 0;
  void* const* nameless = nullptr;  // the block of that object
};
constinit thread_local OfThread of_thread;

// A block that the thread has not used is not made for it: it has no calls in that object.
void look_up(const Found& lists, OfThread& found) noexcept {
  struct Search {
    const Found& lists;
    OfThread& found;
    bool complete = true;
  } search{lists, found};
  found.count = 0;
  found.nameless = nullptr;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& wanted = *static_cast<Search*>(argument);
        if (const Nameless& object = wanted.lists.nameless;
            object.words != 0 && object.object == info->dlpi_addr) {
          wanted.found.nameless = static_cast<void* const*>(info->dlpi_tls_data);
          if (info->dlpi_tls_data == nullptr) wanted.complete = false;
        }
        for (const Head& head : wanted.lists.heads) {
          // Objects that were linked for fixed addresses all have the base 0.
          if (head.object != info->dlpi_addr || wanted.found.count == kMostCallLists) continue;
          if (info->dlpi_tls_data == nullptr)
            wanted.complete = false;
          else
            wanted.found.heads[wanted.found.count++] =
                static_cast<char*>(info->dlpi_tls_data) + head.offset;
        }
        return 0;
      },
      &search);
  found.of = search.complete ? &lists : nullptr;
}

// Returns what is known of the running thread's lists; null if there is nothing.
const OfThread* lists_of_thread() noexcept {
  const Found* lists = known.load(std::memory_order_acquire);
  if (lists == nullptr) return nullptr;
  if (of_thread.of != lists) look_up(*lists, of_thread);
  return &of_thread;
}

// Calls visit(head) for each list of this thread.
template <class Visit>
void for_each_list(Visit visit) noexcept {
  if (lists_of_thread() == nullptr) return;
  for (std::size_t i = 0; i < of_thread.count; ++i) visit(static_cast<void**>(of_thread.heads[i]));
}

// "boost::asio::detail::keyword_tss_ptr<boost::asio::detail::call_stack<...>::context>::value_",
// and also without "boost".
bool is_head(const char* name) {
  const char* pointer = std::strstr(name, "4asio6detail15keyword_tss_ptrINS");
  return pointer != nullptr && std::strstr(pointer, "10call_stackI") != nullptr &&
         std::strstr(pointer, "7contextEE6value_E") != nullptr;
}

// Returns the name that the type of an io_context's scheduler has at run time, which stripped files
// have, too. In two parts, as the file of this library must not contain it.
std::string mark_of_asio() { return std::string("4asio6detail") + "9schedulerE"; }

// Objects with thread_locals that have been loaded so far.
struct Object {
  std::uintptr_t base;
  std::string path;
  bool is_program;
  std::size_t words;
  friend bool operator==(const Object&, const Object&) = default;
};
std::vector<Object> loaded_objects() {
  std::vector<Object> objects;
  for_each_image([&](const Image& image) {
    if (const std::size_t bytes = image.thread_local_bytes(); bytes >= sizeof(void*))
      objects.push_back(
          {image.base(), std::string(image.path()), image.is_program(), bytes / sizeof(void*)});
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

// Returns whether a thread_local may be the head of a list that has its newest call in a frame of
// this stack, above `running`. The value of a call is a variable beside its node, or the node.
// Sanitizers would object to words between variables.
[[gnu::noinline]] __attribute__((no_sanitize("address", "thread", "undefined"))) bool may_be_head(
    void* const* at, const core::Stack* stack, const void* running) noexcept {
  constexpr std::size_t kNear = 4096;
  const auto address = reinterpret_cast<std::uintptr_t>(*at);
  const auto lowest = reinterpret_cast<std::uintptr_t>(running);
  if (!is_on(stack, *at) || address < lowest || address % alignof(void*) != 0) return false;
  const auto* words = static_cast<const std::uintptr_t*>(*at);
  const std::uintptr_t key = words[0];
  const std::uintptr_t value = words[1];
  const std::uintptr_t next = words[2];
  return key != 0 && value - address + kNear < 2 * kNear && next % alignof(void*) == 0;
}

// Logs, once, that a task waits in a call of Asio that stays in the thread's list.
void tell_of_nameless(const core::Stack* stack) noexcept {
  static std::atomic<bool> told{false};
  if (told.load(std::memory_order_relaxed)) return;
  const OfThread* thread = lists_of_thread();
  if (thread == nullptr || thread->nameless == nullptr) return;
  const Nameless& object = known.load(std::memory_order_acquire)->nameless;
  void* const* const end = thread->nameless + object.words;
  const void* running = __builtin_frame_address(0);
  const auto is_head = [&](void* const& at) { return may_be_head(&at, stack, running); };
  if (!std::any_of(thread->nameless, end, is_head) || told.exchange(true)) return;
  try {
    asyncio::detail::log(asyncio::LogLevel::warning,
                         "A task waits in a call of Asio's, and " + object.path +
                             " was stripped of the names by which such calls are found: tasks that "
                             "run an io_context beside it take the call for their own, and may "
                             "crash. Give such tasks own_thread_state, or link with -rdynamic");
  } catch (const std::bad_alloc&) {
    told = false;
  }
}

}  // namespace

TakenCalls::TakenCalls() noexcept {
  const core::Stack* stack = core::tls_thread_state->stack;
  tell_of_nameless(stack);
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
  const Found* old = known.load(std::memory_order_relaxed);
  Found found = old != nullptr ? *old : Found();
  const std::size_t before = found.heads.size();
  const bool had_nameless = found.nameless.words != 0;
  for (const Object& object : objects) {
    if (std::find(searched.begin(), searched.end(), object) != searched.end()) continue;
    const auto offsets = core::find_thread_locals(object.path.c_str(), is_head);
    const bool nameless = offsets.empty() && found.nameless.words == 0 &&
                          core::has_text_without_names(object.path.c_str(), mark_of_asio());
    if ((offsets.empty() && !nameless) || !keep_loaded(object)) continue;
    if (nameless) found.nameless = {object.base, object.words, object.path};
    for (const std::size_t offset : offsets) found.heads.push_back({object.base, offset});
  }
  searched = std::move(objects);
  if (found.heads.size() > kMostCallLists) {
    asyncio::detail::log(asyncio::LogLevel::warning,
                         "More objects than this library looks after contain Boost.Asio: run the "
                         "io_context of the last ones in tasks with own_thread_state");
    found.heads.resize(kMostCallLists);
  }
  if (found.heads.size() == before && (found.nameless.words != 0) == had_nameless) return;
  found.before = old;
  known.store(new Found(std::move(found)), std::memory_order_release);
}

}  // namespace fiber::monkey::detail
