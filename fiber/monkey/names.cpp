// Name lookups. libc makes them in internal functions that cannot be patched, so a thread of the
// loop's executor makes the whole call, with copies of all arguments: the call goes on when the
// task is cancelled.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace fiber::monkey::detail {
namespace {

std::optional<std::string> copied(const char* text) {
  return text != nullptr ? std::optional<std::string>(text) : std::nullopt;
}
const char* c_string(const std::optional<std::string>& text) {
  return text ? text->c_str() : nullptr;
}

bool is_address(const char* name) noexcept {
  in6_addr unused;
  return ::inet_pton(AF_INET, name, &unused) == 1 || ::inet_pton(AF_INET6, name, &unused) == 1;
}

// --- getaddrinfo, getnameinfo -------------------------------------------------------------------

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

struct Addresses {
  int result = EAI_SYSTEM;
  int error = 0;
  std::unique_ptr<addrinfo, FreeAddresses> list;
};

int getaddrinfo_(const char* name, const char* service, const addrinfo* hints,
                 addrinfo** list) noexcept {
  const Call call;
  // A call that needs no network needs no thread.
  if (!call || name == nullptr || is_address(name) ||
      (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0))
    return real().getaddrinfo(name, service, hints, list);
  try {
    Addresses found;
    const bool answered = call.on_thread(
        [name = copied(name), service = copied(service),
         hints = hints != nullptr ? std::optional<addrinfo>(*hints) : std::nullopt] {
          Addresses answer;
          addrinfo* raw = nullptr;
          answer.result = real().getaddrinfo(c_string(name), c_string(service),
                                             hints ? &*hints : nullptr, &raw);
          answer.error = errno;
          if (answer.result == 0) answer.list.reset(raw);
          return answer;
        },
        found);
    if (!answered) {
      if (errno == ENOSYS) return real().getaddrinfo(name, service, hints, list);
      return errno == ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
    }
    if (found.result == EAI_SYSTEM) errno = found.error;
    if (found.result == 0) *list = found.list.release();
    return found.result;
  } catch (const std::bad_alloc&) {
    return EAI_MEMORY;
  }
}

struct Name {
  int result = EAI_SYSTEM;
  int error = 0;
  std::vector<char> host;
  std::vector<char> service;
};

// The part of the user's memory that a name can need.
socklen_t enough_of(socklen_t room) noexcept {
  constexpr socklen_t kMost = 1U << 16U;
  return std::min(room, kMost);
}

// Writes the text and its zero byte only, as libc does: the caller may have less memory than it
// says, or other data behind the text.
void put_text(const std::vector<char>& text, char* to) noexcept {
  if (!text.empty()) std::memcpy(to, text.data(), std::strlen(text.data()) + 1);
}

int getnameinfo_(const sockaddr* address, socklen_t length, char* host, socklen_t host_room,
                 char* service, socklen_t service_room, int flags) noexcept {
  const Call call;
  const bool looks_host_up = host != nullptr && host_room > 0 && (flags & NI_NUMERICHOST) == 0;
  if (!call || !looks_host_up || address == nullptr || length > sizeof(sockaddr_storage))
    return real().getnameinfo(address, length, host, host_room, service, service_room, flags);
  try {
    sockaddr_storage storage{};
    std::memcpy(&storage, address, length);
    Name found;
    const bool answered = call.on_thread(
        [storage, length, host_room = enough_of(host_room),
         service_room = service != nullptr ? enough_of(service_room) : 0, flags] {
          Name answer;
          answer.host.resize(host_room);
          answer.service.resize(service_room);
          answer.result = real().getnameinfo(
              reinterpret_cast<const sockaddr*>(&storage), length, answer.host.data(), host_room,
              service_room > 0 ? answer.service.data() : nullptr, service_room, flags);
          answer.error = errno;
          return answer;
        },
        found);
    if (!answered) {
      if (errno == ENOSYS)
        return real().getnameinfo(address, length, host, host_room, service, service_room, flags);
      return errno == ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
    }
    if (found.result == EAI_SYSTEM) errno = found.error;
    if (found.result == 0) {
      put_text(found.host, host);
      put_text(found.service, service);
    }
    return found.result;
  } catch (const std::bad_alloc&) {
    return EAI_MEMORY;
  }
}

// --- gethostbyname and its relatives ------------------------------------------------------------

// An answer, and the memory that its pointers point into.
struct Host {
  int result = 0;
  int host_error = 0;
  int error = 0;  // the errno, the reason if `host_error` is NETDB_INTERNAL
  bool found = false;
  hostent entry{};
  std::vector<char> memory;

  // Moves the answer into the user's memory, which has the same size.
  void move_to(hostent& to, char* memory_of_user) noexcept {
    const char* base = memory.data();
    const auto moved = [&](auto* pointer) {
      using Pointer = decltype(pointer);
      const auto* bytes = reinterpret_cast<const char*>(pointer);
      // A null pointer, or a pointer to a constant of libc, stays.
      if (bytes < base || bytes >= base + memory.size()) return pointer;
      return reinterpret_cast<Pointer>(memory_of_user + (bytes - base));
    };
    for (char** list : {entry.h_aliases, entry.h_addr_list})
      for (; list != nullptr && *list != nullptr; ++list) *list = moved(*list);
    to = entry;
    to.h_name = moved(entry.h_name);
    to.h_aliases = moved(entry.h_aliases);
    to.h_addr_list = moved(entry.h_addr_list);
    std::copy(memory.begin(), memory.end(), memory_of_user);
  }
};

// `ask(entry, memory, size, &result, &host_error)` calls one of the functions whose names end in
// _r.
template <class F>
int look_up(const Call& call, F ask, hostent* entry, char* memory, std::size_t size,
            hostent** result, int* host_error) noexcept {
  *result = nullptr;
  try {
    Host host;
    const bool answered = call.on_thread(
        [ask, size, before = errno] {
          Host answer;
          answer.memory.resize(size);
          hostent* found = nullptr;
          errno = before;
          answer.result =
              ask(&answer.entry, answer.memory.data(), size, &found, &answer.host_error);
          answer.error = errno;
          answer.found = found != nullptr;
          return answer;
        },
        host);
    if (!answered) {
      if (errno == ENOSYS) return ask(entry, memory, size, result, host_error);
      *host_error = NETDB_INTERNAL;
      return errno;
    }
    *host_error = host.host_error;
    if (host.found) {
      host.move_to(*entry, memory);
      *result = entry;
    } else {
      errno = host.error;
    }
    return host.result;
  } catch (const std::bad_alloc&) {
    *host_error = NETDB_INTERNAL;
    return ENOMEM;
  }
}

int gethostbyname2_r_(const char* name, int family, hostent* entry, char* memory, std::size_t size,
                      hostent** result, int* host_error) noexcept {
  const Call call;
  if (!call || name == nullptr || is_address(name))
    return real().gethostbyname2_r(name, family, entry, memory, size, result, host_error);
  return look_up(
      call,
      [name = std::string(name), family](hostent* its_entry, char* its_memory, std::size_t its_size,
                                         hostent** its_result, int* its_error) {
        return real().gethostbyname2_r(name.c_str(), family, its_entry, its_memory, its_size,
                                       its_result, its_error);
      },
      entry, memory, size, result, host_error);
}

int gethostbyname_r_(const char* name, hostent* entry, char* memory, std::size_t size,
                     hostent** result, int* host_error) noexcept {
  const Call call;
  if (!call || name == nullptr || is_address(name))
    return real().gethostbyname_r(name, entry, memory, size, result, host_error);
  return look_up(
      call,
      [name = std::string(name)](hostent* its_entry, char* its_memory, std::size_t its_size,
                                 hostent** its_result, int* its_error) {
        return real().gethostbyname_r(name.c_str(), its_entry, its_memory, its_size, its_result,
                                      its_error);
      },
      entry, memory, size, result, host_error);
}

int gethostbyaddr_r_(const void* address, socklen_t length, int family, hostent* entry,
                     char* memory, std::size_t size, hostent** result, int* host_error) noexcept {
  const Call call;
  if (!call || address == nullptr)
    return real().gethostbyaddr_r(address, length, family, entry, memory, size, result, host_error);
  return look_up(
      call,
      [bytes = std::string(static_cast<const char*>(address), length), family](
          hostent* its_entry, char* its_memory, std::size_t its_size, hostent** its_result,
          int* its_error) {
        return real().gethostbyaddr_r(bytes.data(), static_cast<socklen_t>(bytes.size()), family,
                                      its_entry, its_memory, its_size, its_result, its_error);
      },
      entry, memory, size, result, host_error);
}

// The older functions return static memory, which the thread's next call overwrites. A program
// whose tasks call them in turn needs the newer functions, like a program with threads.
template <class F>
hostent* in_static_memory(F ask) noexcept {
  thread_local hostent entry;
  thread_local std::vector<char> memory;
  try {
    for (std::size_t size = 1024;; size *= 2) {
      std::vector<char> room(size);
      hostent answer{};
      hostent* found = nullptr;
      int host_error = 0;
      const int result = ask(&answer, room.data(), size, &found, &host_error);
      if (result == ERANGE && size < (1U << 20U)) continue;
      if (host_error != 0) h_errno = host_error;  // 0 for an address, which is not looked up
      if (found == nullptr) return nullptr;
      memory.swap(room);  // the pointers stay valid
      entry = answer;
      return &entry;
    }
  } catch (const std::bad_alloc&) {
    h_errno = NETDB_INTERNAL;
    errno = ENOMEM;
    return nullptr;
  }
}

hostent* gethostbyname_(const char* name) noexcept {
  return in_static_memory([=](auto... rest) { return gethostbyname_r_(name, rest...); });
}

hostent* gethostbyname2_(const char* name, int family) noexcept {
  return in_static_memory([=](auto... rest) { return gethostbyname2_r_(name, family, rest...); });
}

hostent* gethostbyaddr_(const void* address, socklen_t length, int family) noexcept {
  return in_static_memory(
      [=](auto... rest) { return gethostbyaddr_r_(address, length, family, rest...); });
}

}  // namespace

std::span<const Hook> name_hooks() noexcept {
  static const Hook hooks[] = {
      hook<getaddrinfo_>("getaddrinfo"),           hook<getnameinfo_>("getnameinfo"),
      hook<gethostbyname_>("gethostbyname"),       hook<gethostbyname2_>("gethostbyname2"),
      hook<gethostbyaddr_>("gethostbyaddr"),       hook<gethostbyname_r_>("gethostbyname_r"),
      hook<gethostbyname2_r_>("gethostbyname2_r"), hook<gethostbyaddr_r_>("gethostbyaddr_r"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
