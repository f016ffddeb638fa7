// Random sequences of calls of the C interface, in bodies, callbacks and outside of loops. Whatever
// the sequence, nothing crashes or leaks, statuses are those that the header allows, and outputs
// are NULL or zero on failure. By hand, for longer, under AddressSanitizer:
//
//   FIBER_FUZZ_SECONDS=120 FIBER_FUZZ_SEED=1 build-asan/test/c-fuzz_test
//   FIBER_FUZZ_COUNT=1 FIBER_FUZZ_SEED=17 build-asan/test/c-fuzz_test      this sequence alone
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace {

constexpr std::size_t kSlots = 6;
constexpr int kDeepest = 20;  // bodies inside of bodies

int body(void* argument, void** value);
void callback(void* argument);

// The objects of a sequence. The slots hold references.
class Sequence {
 public:
  explicit Sequence(std::uint64_t seed) : random_(seed) {
    REQUIRE(::pipe2(pipe_.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;
  ~Sequence() {
    budget_ = 0;
    for (fiber_loop*& loop : loops_) {
      if (loop != nullptr) fiber_loop_close(loop);
      fiber_loop_unref(std::exchange(loop, nullptr));
    }
    for (fiber_future*& future : futures_) fiber_future_unref(std::exchange(future, nullptr));
    // Code that is being unwound may put other objects into the slots.
    for (int round = 0; round < 3; ++round)
      for (fiber_greenlet*& greenlet : greenlets_)
        fiber_greenlet_unref(std::exchange(greenlet, nullptr));
    for (const int end : pipe_) ::close(end);
    fiber_stacks_set_default_size(0);
  }

  void run(int calls) {
    budget_ = calls;
    while (budget_ > 0) {
      if (below(4) == 0)
        run_loop();
      else
        step();
    }
  }

  // Makes some calls; returns the status with which a body ends.
  int some_calls() {
    if (++depth_ > kDeepest) budget_ = 0;
    int status = FIBER_OK;
    for (std::size_t left = below(8); left > 0 && budget_ > 0; --left) {
      status = step();
      // The body must end: its own switches and waits say so.
      if (status == FIBER_EXIT || status == FIBER_CANCELLED || status == FIBER_INTERRUPTED) break;
      status = FIBER_OK;
    }
    --depth_;
    if (status == FIBER_OK && below(4) == 0) status = own_status();
    return status;
  }

  // Makes a call that does not wait, as callbacks may.
  void quick_call() {
    if (budget_ <= 0) return;
    --budget_;
    switch (below(4)) {
      case 0: spawn(); break;
      case 1: end_future(); break;
      case 2: post(); break;
      default: look(); break;
    }
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }
  void* pointer() { return below(3) == 0 ? nullptr : reinterpret_cast<void*>(below(100) * 16); }
  std::int64_t moment() { return static_cast<std::int64_t>(below(3) * 20'000); }
  int own_status() {
    constexpr std::array<int, 8> all{
        1, 42, FIBER_ERROR, FIBER_INVALID, FIBER_TIMEOUT, -1000, FIBER_BAD_STATE, FIBER_NO_MEMORY};
    return all[below(all.size())];
  }
  fiber_body* some_body() { return below(20) == 0 ? nullptr : body; }
  static bool in_loop() {
    fiber_loop* loop = fiber_loop_running();
    fiber_loop_unref(loop);
    return loop != nullptr;
  }

  void allow(const char* call, int status, std::initializer_list<int> allowed) {
    for (const int one : allowed)
      if (status == one) return;
    FAIL_CHECK(call << " returned " << status << ": " << fiber_last_error());
  }
  // Checks that a failure comes without an output, and with a text.
  void check_output(const char* call, int status, const void* output) {
    if (status != FIBER_OK && output != nullptr) FAIL_CHECK(call << " failed with an output");
    if (status != FIBER_OK && *fiber_last_error() == '\0') FAIL_CHECK(call << " failed silently");
  }

  int step() {
    --budget_;
    switch (below(16)) {
      case 0: new_greenlet(); return FIBER_OK;
      case 1:
      case 2: return switch_greenlet();
      case 3: drop(); return FIBER_OK;
      case 4: ask_greenlet(); return FIBER_OK;
      case 5:
      case 6: spawn(); return FIBER_OK;
      case 7: return wait();
      case 8:
      case 9: return await();
      case 10: new_future(); return FIBER_OK;
      case 11: end_future(); return FIBER_OK;
      case 12: look(); return FIBER_OK;
      case 13: post(); return FIBER_OK;
      case 14: drive(); return FIBER_OK;
      default: stacks(); return FIBER_OK;
    }
  }

  void run_loop() {
    --budget_;
    void* result = this;
    fiber_body* its = some_body();
    const bool running = in_loop();
    const int status = fiber_run(its, this, &result);
    check_output("fiber_run", status, result);
    if (its == nullptr)
      allow("fiber_run without a body", status, {FIBER_INVALID});
    else if (running)
      allow("fiber_run in a loop", status, {FIBER_BAD_STATE});
  }

  void new_greenlet() {
    struct Later {  // members that a later header may have
      fiber_greenlet_options options{};
      std::array<char, 24> more{};
    } later;
    fiber_greenlet_options& options = later.options;
    const std::size_t kind = below(8);
    options.size = kind == 0 ? below(sizeof options + 20) : sizeof options;
    options.stack_size = below(2) == 0 ? 0 : 64 * 1024;
    options.name = below(2) == 0 ? nullptr : "fuzz";
    fiber_greenlet* parent = greenlets_[below(kSlots)];
    options.parent = below(3) == 0 ? parent : nullptr;
    auto* made = reinterpret_cast<fiber_greenlet*>(this);
    const bool with_options = below(2) == 0;
    fiber_body* its = some_body();
    const int status = fiber_greenlet_new(&made, its, this, with_options ? &options : nullptr);
    check_output("fiber_greenlet_new", status, made);
    if (its != nullptr && (!with_options || kind != 0))
      allow("fiber_greenlet_new", status, {FIBER_OK});
    else
      allow("fiber_greenlet_new", status, {FIBER_OK, FIBER_INVALID});
    fiber_greenlet_unref(std::exchange(greenlets_[below(kSlots)], made));
  }

  // Switches to a greenlet. Any status may come back with which another greenlet ends. No reference
  // is held meanwhile: two suspended greenlets that hold each other would stay for ever.
  int switch_greenlet() {
    fiber_greenlet* target = greenlets_[below(kSlots)];
    void* received = this;
    int status = FIBER_OK;
    switch (below(5)) {
      case 0:
        status = fiber_greenlet_throw(target, below(4) == 0 ? FIBER_OK : own_status(), &received);
        break;
      case 1:
        received = nullptr;
        status = fiber_greenlet_kill(target);
        break;
      case 2:
        status = fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), nullptr,
                                       &received);
        break;
      default: status = fiber_greenlet_switch(target, pointer(), &received); break;
    }
    check_output("a switch", status, received);
    return status;
  }

  void drop() {
    if (below(2) == 0)
      fiber_greenlet_unref(std::exchange(greenlets_[below(kSlots)], nullptr));
    else
      fiber_future_unref(std::exchange(futures_[below(kSlots)], nullptr));
  }

  void ask_greenlet() {
    fiber_greenlet* greenlet = fiber_greenlet_ref(greenlets_[below(kSlots)]);
    char name[8] = "#######";
    const std::size_t size = below(sizeof name);
    const std::size_t length = fiber_greenlet_name(greenlet, name, size);
    if (size > 0 && std::string(name).size() != std::min(length, size - 1))
      FAIL_CHECK("fiber_greenlet_name cuts wrongly");
    const int active = fiber_greenlet_active(greenlet);
    const int dead = fiber_greenlet_dead(greenlet);
    if (active + dead > 1) FAIL_CHECK("active and dead at once");
    if (fiber_greenlet_stack_used(greenlet) > fiber_greenlet_stack_size(greenlet) &&
        fiber_greenlet_stack_size(greenlet) != 0)
      FAIL_CHECK("more of a stack is used than there is");
    const int named = fiber_greenlet_set_name(greenlet, below(2) == 0 ? nullptr : "renamed");
    allow("fiber_greenlet_set_name", named, {greenlet != nullptr ? FIBER_OK : FIBER_INVALID});
    const int set = fiber_greenlet_set_data(greenlet, this);
    allow("fiber_greenlet_set_data", set, {greenlet != nullptr ? FIBER_OK : FIBER_INVALID});
    if (fiber_greenlet_data(greenlet) != (greenlet != nullptr ? this : nullptr))
      FAIL_CHECK("fiber_greenlet_data differs");
    fiber_greenlet* parent = greenlets_[below(kSlots)];
    const int parted = fiber_greenlet_set_parent(greenlet, parent);
    allow("fiber_greenlet_set_parent", parted, {FIBER_OK, FIBER_INVALID});
    fiber_greenlet_unref(greenlet);
  }

  void spawn() {
    auto* made = reinterpret_cast<fiber_future*>(this);
    fiber_body* its = some_body();
    fiber_loop* loop = loops_[below(loops_.size())];
    int status = FIBER_OK;
    if (below(3) == 0) {
      status = fiber_loop_spawn(loop, &made, its, this, nullptr);
      allow("fiber_loop_spawn", status, {FIBER_OK, FIBER_INVALID, FIBER_BAD_STATE});
    } else {
      const bool running = in_loop();
      status = fiber_spawn(&made, its, this, below(2) == 0 ? nullptr : "named");
      if (!running)
        allow("fiber_spawn without a loop", status, {FIBER_BAD_STATE});
      else
        allow("fiber_spawn", status, {its != nullptr ? FIBER_OK : FIBER_INVALID});
    }
    check_output("fiber_spawn", status, made);
    fiber_future_unref(std::exchange(futures_[below(kSlots)], made));
  }

  int wait() {
    if (below(2) == 0) return fiber_sleep(moment());
    if (below(4) == 0) {
      void* result = this;
      const int status =
          fiber_to_thread([](void* argument) { return argument; }, pointer(), &result);
      check_output("fiber_to_thread", status, result);
      return status;
    }
    int ready = 7;
    const int fd = below(8) == 0 ? -1 : pipe_[below(2)];
    const int status = fiber_wait_fd(fd, static_cast<int>(below(5)), moment(), &ready);
    if (status != FIBER_OK && ready != 0)
      FAIL_CHECK("fiber_wait_fd failed, and something is ready");
    return status;
  }

  int await() {
    fiber_future* future = fiber_future_ref(futures_[below(kSlots)]);
    void* result = this;
    const bool cancelled = fiber_future_cancelled(future) != 0;
    const int status = fiber_await(future, moment(), &result);
    check_output("fiber_await", status, result);
    fiber_future_unref(future);
    // The cancellation of the awaited task is no reason for the caller to end.
    return cancelled ? static_cast<int>(FIBER_OK) : status;
  }

  void new_future() {
    auto* made = reinterpret_cast<fiber_future*>(this);
    const bool running = in_loop();
    const int status = fiber_future_new(&made);
    allow("fiber_future_new", status, {running ? FIBER_OK : FIBER_BAD_STATE});
    check_output("fiber_future_new", status, made);
    fiber_future_unref(std::exchange(futures_[below(kSlots)], made));
  }

  void end_future() {
    fiber_future* future = fiber_future_ref(futures_[below(kSlots)]);
    const bool done = fiber_future_done(future) != 0;
    int status = FIBER_OK;
    switch (below(3)) {
      case 0: status = fiber_future_set_result(future, pointer()); break;
      case 1: status = fiber_future_set_status(future, below(3) == 0 ? FIBER_CANCELLED : 5); break;
      default: status = fiber_future_cancel(future); break;
    }
    if (future == nullptr)
      allow("ending no future", status, {FIBER_INVALID});
    else if (done)
      allow("ending an ended future", status, {FIBER_BAD_STATE});
    else
      allow("ending a future", status, {FIBER_OK, FIBER_BAD_STATE});
    fiber_future_unref(future);
  }

  void look() {
    fiber_future* future = fiber_future_ref(futures_[below(kSlots)]);
    void* result = this;
    const bool done = fiber_future_done(future) != 0;
    const int status = fiber_future_result(future, &result);
    check_output("fiber_future_result", status, result);
    if (future != nullptr && !done) allow("fiber_future_result", status, {FIBER_BAD_STATE});
    const int told = fiber_future_on_done(future, below(8) == 0 ? nullptr : callback, this);
    allow("fiber_future_on_done", told, {FIBER_OK, FIBER_INVALID, FIBER_BAD_STATE});
    fiber_future_unref(future);
  }

  void post() {
    fiber_loop* running = fiber_loop_running();
    fiber_loop* loop = below(2) == 0 ? running : loops_[below(loops_.size())];
    const int status = fiber_loop_post(loop, callback, this);
    if (loop == nullptr)
      allow("fiber_loop_post", status, {FIBER_INVALID});
    else
      allow("fiber_loop_post", status, {FIBER_OK, FIBER_BAD_STATE});
    fiber_loop_unref(running);
  }

  void drive() {
    fiber_loop*& slot = loops_[below(loops_.size())];
    fiber_loop* loop = fiber_loop_ref(slot);
    const bool running = in_loop();
    switch (below(5)) {
      case 0:
        if (loop != nullptr) {
          const int status = fiber_loop_close(loop);
          allow("fiber_loop_close", status, {FIBER_OK, FIBER_BAD_STATE});
          if (status == FIBER_OK) fiber_loop_unref(std::exchange(slot, nullptr));
        } else {
          fiber_loop* made = nullptr;
          allow("fiber_loop_new", fiber_loop_new(&made), {FIBER_OK});
          if (slot == nullptr) std::swap(slot, made);
          if (made != nullptr) fiber_loop_close(made);
          fiber_loop_unref(made);
        }
        break;
      case 1: {
        const int fd = fiber_loop_fileno(loop);
        if (loop == nullptr && fd != -1) FAIL_CHECK("no loop has a descriptor");
        break;
      }
      case 2: fiber_loop_poll_timeout(loop); break;
      default: {
        // A loop that runs in a greenlet can be left suspended by a switch past that greenlet: then
        // it cannot be closed before its thread ends.
        if (!running && fiber_greenlet_parent(fiber_greenlet_current()) != nullptr) break;
        const int status = fiber_loop_run_ready(loop);
        if (loop == nullptr)
          allow("fiber_loop_run_ready", status, {FIBER_INVALID});
        else if (running)
          allow("fiber_loop_run_ready in a loop", status, {FIBER_BAD_STATE});
        break;
      }
    }
    fiber_loop_unref(loop);
  }

  void stacks() {
    if (below(2) == 0)
      allow("fiber_stacks_trim", fiber_stacks_trim(), {FIBER_OK});
    else
      allow("fiber_stacks_set_default_size", fiber_stacks_set_default_size(below(3) * 128 * 1024),
            {FIBER_OK});
  }

  std::mt19937_64 random_;
  int budget_ = 0;
  int depth_ = 0;
  std::array<int, 2> pipe_{};
  std::array<fiber_greenlet*, kSlots> greenlets_{};
  std::array<fiber_future*, kSlots> futures_{};
  std::array<fiber_loop*, 2> loops_{};
};

int body(void* argument, void** value) {
  const int status = static_cast<Sequence*>(argument)->some_calls();
  if (status == FIBER_OK) *value = argument;
  return status;
}
void callback(void* argument) { static_cast<Sequence*>(argument)->quick_call(); }

// Drops the log: errors that no code waits for are expected here.
struct Silence {
  fiber::asyncio::log_handler log =
      fiber::asyncio::set_log_handler([](const fiber::asyncio::LogRecord&) {});
  fiber::unraisable_hook unraisable =
      fiber::set_unraisablehook([](const fiber::UnraisableHookArgs&) {});
  Silence() = default;
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    fiber::asyncio::set_log_handler(std::move(log));
    fiber::set_unraisablehook(std::move(unraisable));
  }
};

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

TEST_CASE("random sequences of calls of the C interface") {
  const Silence silence;
  const std::uint64_t first = number_of("FIBER_FUZZ_SEED", 1);
  const std::chrono::seconds seconds(number_of("FIBER_FUZZ_SECONDS", 0));
  const auto end = std::chrono::steady_clock::now() + seconds;
  const std::uint64_t count = number_of("FIBER_FUZZ_COUNT", 150);
  for (std::uint64_t seed = first;
       seconds.count() > 0 ? std::chrono::steady_clock::now() < end : seed < first + count;
       ++seed) {
    CAPTURE(seed);
    Sequence(seed).run(200);
  }
}
