#include <fiber/demangle.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <cxxabi.h>

namespace fiber::core {
namespace {

// A usual name may take 64 KiB of the stack, and some levels of recursion.
constexpr std::size_t kUsual = std::size_t{160} * 1024;

constinit std::atomic<RoomGiver> room_giver{nullptr};

}  // namespace

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

void demangle_with_room(RoomGiver giver) noexcept {
  room_giver.store(giver, std::memory_order_relaxed);
}

std::string demangle(const char* mangled) {
  // The runtime's demangler keeps its tables on the stack, 80 bytes for each byte of a name.
  const std::size_t room = std::max(kUsual, 16 * 1024 + 80 * std::strlen(mangled));
  struct Call {
    const char* mangled;
    int status = 0;
    std::unique_ptr<char, void (*)(void*)> readable{nullptr, std::free};
    static void run(void* argument) {
      auto* self = static_cast<Call*>(argument);
      self->readable.reset(abi::__cxa_demangle(self->mangled, nullptr, nullptr, &self->status));
    }
  } call{.mangled = mangled};
  if (const RoomGiver give = room_giver.load(std::memory_order_relaxed))
    give(&Call::run, &call, room);
  else
    Call::run(&call);
  if (call.status != 0 || !call.readable) return mangled;
  std::string name = call.readable.get();
  // Names that users write differently from the demangled form: of GNU's library, and of LLVM's,
  // whose demangler leaves no blank between two brackets.
  replace_all(name, "std::__cxx11::", "std::");
  replace_all(name, "std::__1::", "std::");
  for (const std::string_view end : {" >", ">"}) {
    replace_all(
        name,
        "std::basic_string<char, std::char_traits<char>, std::allocator<char>" + std::string(end),
        "std::string");
    replace_all(name, "std::basic_string_view<char, std::char_traits<char>" + std::string(end),
                "std::string_view");
  }
  // GNU's library leaves a blank between the bracket of the long name and the next one.
  replace_all(name, "std::string >", "std::string>");
  replace_all(name, "std::string_view >", "std::string_view>");
  return name;
}

}  // namespace fiber::core
