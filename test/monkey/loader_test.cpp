// dlopen, patched: where it searches, its errors, and libraries that it keeps to their users.
#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "monkey/support.hpp"
#include "support/leak_check.hpp"

using namespace monkey_test;
namespace fs = std::filesystem;

namespace {

// Returns the directory with this name in which the linker searches for the object that calls.
fs::path directory_of_calls(const std::string& name) {
  Dl_info info;
  link_map* object = nullptr;
  REQUIRE(::dladdr1(reinterpret_cast<void*>(calls::dlopen), &info,
                    reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) != 0);
  Dl_serinfo size{};
  REQUIRE(::dlinfo(object, RTLD_DI_SERINFOSIZE, &size) == 0);
  const auto memory = std::make_unique<char[]>(size.dls_size);
  auto* all = new (memory.get()) Dl_serinfo(size);
  REQUIRE(::dlinfo(object, RTLD_DI_SERINFO, all) == 0);
  for (unsigned i = 0; i < all->dls_cnt; ++i)
    if (const fs::path path = all->dls_serpath[i].dls_name; path.filename() == name) return path;
  FAIL("no directory ", name);
  return {};
}

// Loads a library for its caller alone; null, with a message, where it is missing.
void* load_apart(const char* name) {
  void* library = calls::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) MESSAGE("not tested: ", ::dlerror());
  return library;
}

template <class Function>
Function* function(void* library, const char* name) {
  void* found = ::dlsym(library, name);
  REQUIRE(found != nullptr);
  return reinterpret_cast<Function*>(found);
}

// Runs work(1), work(2), work(3), which wait, and end in another order than they began.
template <class F>
void at_once(F work) {
  asyncio::run([&] {
    std::vector<asyncio::Task<void>> tasks;
    for (int number = 1; number <= 3; ++number)
      tasks.push_back(start([&work, number] { work(number); }));
    for (const auto& task : tasks) await(task);
  });
}

}  // namespace

TEST_CASE("after a dlopen that succeeds there is no error") {
  const Patch patch;
  CHECK(calls::dlopen("libnowhere.so", RTLD_NOW) == nullptr);
  const char* error = ::dlerror();
  REQUIRE(error != nullptr);
  CHECK(std::string(error).find("libnowhere.so") != std::string::npos);
  void* library = calls::dlopen("libm.so.6", RTLD_NOW);
  CHECK(::dlerror() == nullptr);
  REQUIRE(library != nullptr);
  ::dlclose(library);
  CHECK(calls::dlopen(nullptr, RTLD_NOW) != nullptr);
  CHECK(::dlerror() == nullptr);
}

TEST_CASE("dlopen searches the directories of its caller's object, $LIB expanded") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const fs::path built = fs::path(root != nullptr ? root : ".") / "test/libmonkey_bound_calls.so";
  const fs::path directory = directory_of_calls("monkey_late");
  fs::create_directories(directory);
  const support::AtEnd remove([&] { fs::remove_all(directory); });
  fs::copy_file(built, directory / "libmonkey_late.so", fs::copy_options::overwrite_existing);
  const Patch patch;
  void* library = calls::dlopen("libmonkey_late.so", RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, ::dlerror());
  ::dlclose(library);
}

TEST_CASE("errors of an OpenSSL that was loaded apart stay with their tasks") {
  const Patch patch;
  void* library = load_apart("libcrypto.so.3");
  if (library == nullptr) return;
  auto* begin = function<void()>(library, "ERR_new");
  auto* end = function<void(int, int, const char*, ...)>(library, "ERR_set_error");
  auto* get = function<unsigned long()>(library, "ERR_get_error");
  at_once([&](int number) {
    constexpr int kLibrary = 128;
    begin();
    end(kLibrary, number, nullptr);
    calls::usleep(1000U * (1U + static_cast<unsigned>(number) % 3U));
    CHECK((get() & 0x7fffffU) == static_cast<unsigned long>(number));
    CHECK(get() == 0);
  });
}

TEST_CASE("contexts of a GLib that was loaded apart stay with their tasks") {
  const Patch patch;
  void* library = load_apart("libglib-2.0.so.0");
  if (library == nullptr) return;
  support::leaks_on_purpose();  // GLib keeps its default context
  auto* make = function<void*()>(library, "g_main_context_new");
  auto* release = function<void(void*)>(library, "g_main_context_unref");
  auto* push = function<void(void*)>(library, "g_main_context_push_thread_default");
  auto* pop = function<void(void*)>(library, "g_main_context_pop_thread_default");
  auto* top = function<void*()>(library, "g_main_context_get_thread_default");
  at_once([&](int number) {
    void* own = make();
    push(own);
    calls::usleep(1000U * (1U + static_cast<unsigned>(number) % 3U));
    CHECK(top() == own);
    pop(own);
    release(own);
  });
}
