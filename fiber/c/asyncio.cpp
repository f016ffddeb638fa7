// Tasks, futures and loops for plain C. Handles have counts of their own; the result of every future
// of this interface is a pointer.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/descriptor_wait.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/c/status.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/fiber.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <poll.h>

namespace {

namespace asyncio = fiber::asyncio;
using asyncio::EventLoop;
using asyncio::nanoseconds;
using asyncio::detail::FutureBase;
using asyncio::detail::HandleObject;
using asyncio::detail::LoopObject;
using asyncio::detail::Waiter;
using fiber::c::guarded;
using fiber::c::invalid;
using fiber::core::Ref;
using fiber::detail::GreenletState;
using Future = asyncio::Future<void*>;

// The thread to which a loop belongs: that on which it runs, or else has run last or was made. The
// reference keeps the address of an ended thread's state from another thread.
class LoopThread {
 public:
  explicit LoopThread(LoopObject& loop) noexcept : main_(loop.turns().greenlets->main) {}
  // Returns whether the calling thread may use the loop. A loop whose thread has ended, and its
  // tasks with it, is any thread's.
  bool is_own(const LoopObject& loop) const noexcept {
    if (loop.is_running()) return loop.home().is_here();
    const fiber::detail::GreenletThread* its = loop.turns().greenlets;
    if (its == fiber::detail::greenlet_thread_of(fiber::core::tls_thread_state)) return true;
    return its == main_.object()->owner && main_.object()->state == GreenletState::dead &&
           !fiber::core::thread_is_exiting();
  }
  // Called on the loop's thread when it has run: it may have come from a thread that has ended.
  void update(const LoopObject& loop) noexcept {
    fiber::detail::GreenletObject* main = loop.turns().greenlets->main;
    if (main != main_.object()) main_ = fiber::greenlet(main);
  }
  void check(const LoopObject& loop) const {
    if (!is_own(loop))
      fiber::c::refuse_thread(
          "the object belongs to the loop of another thread: call this there, by fiber_loop_post");
  }

 private:
  fiber::greenlet main_;
};

// A loop as the program has it: one object for each loop, so that the program may compare pointers.
class Handle {
  struct All {
    std::mutex mutex;
    std::map<std::uint64_t, Handle> handles;  // by the loop's number
  };

 public:
  explicit Handle(LoopObject& its) noexcept : loop(&its), thread(its) {}
  // Returns the handle of a loop, with a new reference.
  static Handle& of(LoopObject& loop) {
    const std::lock_guard lock(all().mutex);
    Handle& handle = all().handles.try_emplace(loop.serial, loop).first->second;
    ++handle.references_;
    return handle;
  }
  void retain() noexcept {
    const std::lock_guard lock(all().mutex);
    ++references_;
  }
  void release() noexcept {
    decltype(All::handles)::node_type last;  // destroyed without the mutex
    const std::lock_guard lock(all().mutex);
    if (--references_ == 0) last = all().handles.extract(loop.object().serial);
  }

  EventLoop loop;
  LoopThread thread;

 private:
  static All& all() {
    static fiber::core::Undying<All> of_process;
    return *of_process;
  }
  std::size_t references_ = 0;
};

// A future as the program has it. The program's references have a count of their own, since any
// thread may give one back. With the last one this object itself is posted to the future's loop,
// which drops the future by that call, or when the loop is closed: nothing is allocated for it.
class Handed final : public HandleObject {
 public:
  explicit Handed(LoopObject& loop) noexcept : HandleObject(&loop), thread(loop) { call_once(); }
  FutureBase& future() const noexcept { return *future_; }
  void refer(FutureBase& future) noexcept { future_ = Ref<FutureBase>(&future); }
  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  bool give_reference_back() noexcept {  // true for the last one
    return references_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  void call() override {}  // the loop drops what the handle holds after its call

  const LoopThread thread;

 private:
  void destroy_callable() noexcept override { future_ = Ref<FutureBase>(); }

  Ref<FutureBase> future_;
  std::atomic<std::uint32_t> references_{1};
};

Handed& handed_of(const fiber_future* handle) {
  if (handle == nullptr) throw fiber::ValueError("the future is NULL");
  return *reinterpret_cast<Handed*>(const_cast<fiber_future*>(handle));
}

Handed& own_handed(const fiber_future* handle) {
  Handed& its = handed_of(handle);
  its.thread.check(*its.loop());
  return its;
}
// Checks the thread before a reference is counted: only the loop's thread may touch a future's
// count.
Future own_future(const fiber_future* handle) { return Future(&own_handed(handle).future()); }

// Gives the caller a reference to the future that `make()` returns, unless `made` is null. What
// needs memory is there before the future: a failure leaves no task behind.
template <class F>
void hand_out(const EventLoop& loop, fiber_future** made, F make) {
  if (made == nullptr) {
    static_cast<void>(make());
    return;
  }
  auto handed = Ref<Handed>::adopt(new Handed(loop.object()));
  handed->refer(make().base());
  *made = reinterpret_cast<fiber_future*>(handed.detach());
}

Handle& loop_of(const fiber_loop* handle) {
  if (handle == nullptr) throw fiber::ValueError("the loop is NULL");
  return *reinterpret_cast<Handle*>(const_cast<fiber_loop*>(handle));
}
EventLoop own_loop(const fiber_loop* handle) {
  const Handle& its = loop_of(handle);
  its.thread.check(its.loop.object());
  return its.loop;
}

// Returns a coroutine that calls the body, with the body's function as its name in reports.
asyncio::Coroutine<void*> coroutine_of(fiber_body* body, void* argument) {
  return asyncio::Coroutine<void*>(
      [body, argument] { return fiber::c::call_body(body, argument, nullptr); },
      asyncio::detail::name_of<fiber_body*>(body));
}

// The loop and the task in which a C function is called. The texts of errors name the functions of
// the interface for C.
EventLoop running_loop() {
  if (asyncio::detail::running_loop_or_null() == nullptr)
    throw fiber::RuntimeError(
        "no loop runs here: call this in the body of fiber_run, fiber_spawn or fiber_loop_spawn");
  return asyncio::get_running_loop();
}
void check_in_task() {
  if (asyncio::detail::current_task_or_null() == nullptr)
    throw fiber::RuntimeError(
        "there is no task that could wait: call this in the body of fiber_run, fiber_spawn or "
        "fiber_loop_spawn");
}

// Makes a task, or runs the coroutine, by `function`. The coroutine is closed afterwards, so that a
// failure brings no warning of a coroutine that never ran: the program has the status, and does not
// know of coroutines.
template <class F>
auto with_coroutine(fiber_body* body, void* argument, F function) {
  const struct Closed {
    asyncio::Coroutine<void*> coroutine;
    ~Closed() { coroutine.close(); }
  } its{coroutine_of(body, argument)};
  return function(its.coroutine);
}

void spawn(const EventLoop& loop, fiber_future** made, fiber_body* body, void* argument,
           const char* name) {
  if (body == nullptr) throw fiber::ValueError("a task needs a body");
  loop.object().check_closed();
  hand_out(loop, made, [&] {
    return with_coroutine(body, argument, [&](const auto& coroutine) {
      return loop.create_task(coroutine, {.name = name != nullptr ? name : ""});
    });
  });
}

std::optional<nanoseconds> limit_of(int64_t limit) {
  if (limit < 0) return std::nullopt;
  return nanoseconds(limit);
}

int ready_for(int fd, int events) {
  short wanted = 0;
  if ((events & FIBER_READABLE) != 0) wanted |= POLLIN;
  if ((events & FIBER_WRITABLE) != 0) wanted |= POLLOUT;
  pollfd one{.fd = fd, .events = wanted, .revents = 0};
  while (::poll(&one, 1, 0) < 0)
    if (errno != EINTR) throw fiber::OSError(errno, "poll");
  if ((one.revents & POLLNVAL) != 0) throw fiber::OSError(EBADF, "cannot wait for a descriptor");
  // After an error or hang-up, every event counts as ready: the caller finds out by trying.
  if ((one.revents & (POLLERR | POLLHUP)) != 0) return events;
  return ((one.revents & POLLIN) != 0 ? FIBER_READABLE : 0) |
         ((one.revents & POLLOUT) != 0 ? FIBER_WRITABLE : 0);
}

// Waits for an event of the descriptor. Another task may use up the event before this one goes on.
void wait_once(LoopObject& loop, int fd, int events) {
  struct Wait : asyncio::detail::DescriptorWait {
    explicit Wait(LoopObject& its_loop) : loop(its_loop) {}
    ~Wait() { loop.selector().leave(*this); }
    LoopObject& loop;
  } entry(loop);
  Waiter waiter(loop);
  entry.fd = fd;
  if ((events & FIBER_READABLE) != 0) entry.events |= fiber::platform::Events::in;
  if ((events & FIBER_WRITABLE) != 0) entry.events |= fiber::platform::Events::out;
  entry.waiter = &waiter;
  if (const int error = loop.selector().wait(entry))
    throw fiber::OSError(error, "cannot wait for a descriptor");
  waiter.wait();
  if (entry.error != 0) throw fiber::OSError(entry.error, "the descriptor was closed");
}

}  // namespace

int fiber_run(fiber_body* body, void* argument, void** result) {
  if (result != nullptr) *result = nullptr;
  if (body == nullptr) return invalid("a task needs a body");
  return guarded([&] {
    if (asyncio::detail::asyncio_thread().running != nullptr)
      throw fiber::RuntimeError("fiber_run cannot be called while a loop runs on this thread");
    void* returned = with_coroutine(body, argument,
                                    [](const auto& coroutine) { return asyncio::run(coroutine); });
    if (result != nullptr) *result = returned;
  });
}

int fiber_spawn(fiber_future** made, fiber_body* body, void* argument, const char* name) {
  if (made != nullptr) *made = nullptr;
  return guarded([&] { spawn(running_loop(), made, body, argument, name); });
}

int fiber_sleep(int64_t time) {
  return guarded([&] {
    check_in_task();
    asyncio::await(asyncio::sleep(nanoseconds(time)));
  });
}

int fiber_wait_fd(int fd, int events, int64_t limit, int* ready) {
  if (ready != nullptr) *ready = 0;
  if (events == 0 || (events & ~(FIBER_READABLE | FIBER_WRITABLE)) != 0)
    return invalid("events must be FIBER_READABLE, FIBER_WRITABLE or both");
  if (fd < 0) return invalid("the descriptor is negative");
  return guarded([&] {
    check_in_task();
    LoopObject& loop = running_loop().object();
    int seen = ready_for(fd, events);
    if (seen != 0) {
      asyncio::await(asyncio::sleep(nanoseconds(0)));
    } else {
      const auto wait = [&] {
        for (; seen == 0; seen = ready_for(fd, events)) wait_once(loop, fd, events);
      };
      if (limit < 0)
        wait();
      else
        asyncio::with(asyncio::timeout(nanoseconds(limit)), wait);
    }
    if (ready != nullptr) *ready = seen;
  });
}

int fiber_await(fiber_future* future, int64_t limit, void** result) {
  if (result != nullptr) *result = nullptr;
  return guarded([&] {
    const Future its = own_future(future);
    if (!its.done()) check_in_task();
    if (!its.done() && its.base().loop() != asyncio::detail::running_for_await().loop)
      throw fiber::RuntimeError("the future belongs to another loop than the task that waits");
    void* returned =
        limit < 0 ? asyncio::await(its) : asyncio::await(asyncio::wait_for(its, limit_of(limit)));
    if (result != nullptr) *result = returned;
  });
}

int fiber_to_thread(void* (*function)(void*), void* argument, void** result) {
  if (result != nullptr) *result = nullptr;
  if (function == nullptr) return invalid("the function is NULL");
  return guarded([&] {
    check_in_task();
    void* returned = asyncio::await(asyncio::to_thread(function, argument));
    if (result != nullptr) *result = returned;
  });
}

// --- futures ------------------------------------------------------------------------------------

int fiber_future_new(fiber_future** made) {
  if (made == nullptr) return invalid("the place for the future is NULL");
  *made = nullptr;
  return guarded([&] {
    const EventLoop loop = running_loop();
    hand_out(loop, made, [&] { return loop.create_future<void*>(); });
  });
}

fiber_future* fiber_future_ref(fiber_future* future) {
  if (future == nullptr) return nullptr;
  return guarded([&] { own_handed(future).add_reference(); }) == FIBER_OK ? future : nullptr;
}

void fiber_future_unref(fiber_future* future) {
  if (future == nullptr) return;
  guarded([&] {
    if (!handed_of(future).give_reference_back()) return;
    auto its = Ref<HandleObject>::adopt(&handed_of(future));
    const EventLoop loop(its->loop());  // which may end with the future while it is being woken
    // Of a loop that is closed already the caller drops the future.
    if (!handed_of(future).thread.is_own(loop.object()))
      loop.object().call_soon_threadsafe(std::move(its));
  });
}

int fiber_future_set_result(fiber_future* future, void* result) {
  return guarded([&] { own_future(future).set_result(result); });
}

int fiber_future_set_status(fiber_future* future, int status) {
  if (status == FIBER_OK) return invalid("FIBER_OK is no error: use fiber_future_set_result");
  return guarded([&] {
    const Future its = own_future(future);
    if (its.base().is_task())
      throw fiber::RuntimeError(
          "the result of a task cannot be set: use fiber_future_cancel to end the task");
    if (status != FIBER_CANCELLED)
      its.set_exception(fiber::c::exception_of(status));
    else if (!its.cancel())
      throw fiber::RuntimeError("the future is done already");
  });
}

int fiber_future_cancel(fiber_future* future) {
  return guarded([&] {
    if (!own_future(future).cancel()) throw fiber::RuntimeError("the future is done already");
  });
}

int fiber_future_done(const fiber_future* future) {
  bool done = false;
  guarded([&] { done = own_future(future).done(); });
  return done ? 1 : 0;
}

int fiber_future_cancelled(const fiber_future* future) {
  bool cancelled = false;
  guarded([&] { cancelled = own_future(future).cancelled(); });
  return cancelled ? 1 : 0;
}

int fiber_future_result(fiber_future* future, void** result) {
  if (result != nullptr) *result = nullptr;
  return guarded([&] {
    void* returned = own_future(future).result();
    if (result != nullptr) *result = returned;
  });
}

int fiber_future_on_done(fiber_future* future, void (*function)(void*), void* argument) {
  if (function == nullptr) return invalid("the function is NULL");
  return guarded(
      [&] { own_future(future).add_done_callback([function, argument] { function(argument); }); });
}

// --- loops --------------------------------------------------------------------------------------

fiber_loop* fiber_loop_running() {
  Handle* made = nullptr;
  guarded([&] { made = &Handle::of(running_loop().object()); });
  return reinterpret_cast<fiber_loop*>(made);
}

int fiber_loop_new(fiber_loop** made) {
  if (made == nullptr) return invalid("the place for the loop is NULL");
  *made = nullptr;
  return guarded([&] {
    const EventLoop loop = asyncio::new_event_loop();
    *made = reinterpret_cast<fiber_loop*>(&Handle::of(loop.object()));
  });
}

fiber_loop* fiber_loop_ref(fiber_loop* loop) {
  if (loop != nullptr) loop_of(loop).retain();
  return loop;
}

void fiber_loop_unref(fiber_loop* loop) {
  if (loop != nullptr) loop_of(loop).release();
}

int fiber_loop_post(fiber_loop* loop, void (*function)(void*), void* argument) {
  if (function == nullptr) return invalid("the function is NULL");
  return guarded([&] {
    loop_of(loop).loop.call_soon_threadsafe([function, argument] { function(argument); });
  });
}

int fiber_loop_spawn(fiber_loop* loop, fiber_future** made, fiber_body* body, void* argument,
                     const char* name) {
  if (made != nullptr) *made = nullptr;
  return guarded([&] { spawn(own_loop(loop), made, body, argument, name); });
}

int fiber_loop_future_new(fiber_loop* loop, fiber_future** made) {
  if (made == nullptr) return invalid("the place for the future is NULL");
  *made = nullptr;
  return guarded([&] {
    const EventLoop its = own_loop(loop);
    its.object().check_closed();
    hand_out(its, made, [&] { return its.create_future<void*>(); });
  });
}

int fiber_loop_fileno(fiber_loop* loop) {
  int fd = -1;
  guarded([&] { fd = own_loop(loop).fileno(); });
  return fd;
}

int fiber_loop_run_ready(fiber_loop* loop) {
  return guarded([&] {
    const struct Run {
      explicit Run(fiber_loop* handle) : its(own_loop(handle)), held(fiber_loop_ref(handle)) {}
      ~Run() {
        loop_of(held).thread.update(its.object());
        fiber_loop_unref(held);
      }
      EventLoop its;
      fiber_loop* held;
    } run(loop);
    run.its.run_ready();
  });
}

int fiber_loop_poll_timeout(fiber_loop* loop) {
  int timeout = 0;  // on failure: poll() takes -1 for no limit
  guarded([&] { timeout = own_loop(loop).poll_timeout(); });
  return timeout;
}

int fiber_loop_close(fiber_loop* loop) {
  return guarded([&] { own_loop(loop).close(); });
}
