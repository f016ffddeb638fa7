#include <fiber/c/status.hpp>

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <pthread.h>

namespace fiber::c {
namespace {

// The last failure in a body, remembered until the body passes its status on: it may wait before.
struct Memory {
  const void* greenlet = nullptr;  // the greenlet in which it failed; null: none
  int status = FIBER_OK;
  std::exception_ptr error;
};

struct Last {
  // In this object, so that a pointer to the text stays valid; a longer text is cut off.
  char text[1024] = "";
  std::array<Memory, 16> memories;  // of the last bodies that failed
  std::size_t next = 0;
};

// Freed by the destructor of a key. Bodies run until the thread has ended its fibers, which is
// after the destructors of later thread_local objects; the destructors of keys run after all of
// these.
constinit thread_local Last* tls_last = nullptr;

pthread_key_t last_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    if (::pthread_key_create(&made, [](void*) { delete std::exchange(tls_last, nullptr); }) != 0)
      throw std::bad_alloc();
    return made;
  }();
  return key;
}

Last& last() {
  if (tls_last == nullptr) {
    auto made = std::make_unique<Last>();
    if (::pthread_setspecific(last_key(), made.get()) != 0) throw std::bad_alloc();
    tls_last = made.release();
  }
  return *tls_last;
}

const void* current_greenlet() noexcept {
  const detail::GreenletThread* thread = detail::greenlet_thread_of(core::tls_thread_state);
  return thread != nullptr ? thread->current : nullptr;
}

void remember(Last& its, int status, const std::exception_ptr& error) noexcept {
  const void* greenlet = current_greenlet();
  if (greenlet == nullptr) return;
  Memory* to = nullptr;
  for (Memory& memory : its.memories)
    if (memory.greenlet == greenlet) to = &memory;
  if (to == nullptr) to = &its.memories[its.next++ % its.memories.size()];
  *to = Memory{greenlet, status, error};
}

void keep_text(Last& its, std::string_view text) noexcept {
  its.text[text.copy(its.text, sizeof its.text - 1)] = '\0';
}

int status_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Status& e) {
    return e.status();
  } catch (const asyncio::CancelledError&) {
    return FIBER_CANCELLED;
  } catch (const GreenletExit&) {
    return FIBER_EXIT;
  } catch (const KeyboardInterrupt&) {
    return FIBER_INTERRUPTED;
  } catch (const TimeoutError&) {
    return FIBER_TIMEOUT;
  } catch (const OSError& e) {
    errno = e.error_number();
    return FIBER_OS_ERROR;
  } catch (const MemoryError&) {
    return FIBER_NO_MEMORY;
  } catch (const std::bad_alloc&) {
    return FIBER_NO_MEMORY;
  } catch (const WrongThread&) {
    return FIBER_WRONG_THREAD;
  } catch (const greenlet::error&) {
    return FIBER_WRONG_THREAD;
  } catch (const ValueError&) {
    return FIBER_INVALID;
  } catch (const TypeError&) {
    return FIBER_INVALID;
  } catch (const RuntimeError&) {
    return FIBER_BAD_STATE;
  } catch (const AttributeError&) {
    return FIBER_BAD_STATE;
  } catch (const asyncio::InvalidStateError&) {
    return FIBER_BAD_STATE;
  } catch (...) {
    return FIBER_ERROR;
  }
}

std::exception_ptr fresh(int status) {
  const std::string text = fiber_strerror(status);
  switch (status) {
    case FIBER_CANCELLED: return std::make_exception_ptr(asyncio::CancelledError());
    case FIBER_EXIT: return std::make_exception_ptr(GreenletExit());
    case FIBER_INTERRUPTED: return std::make_exception_ptr(KeyboardInterrupt());
    case FIBER_TIMEOUT: return std::make_exception_ptr(TimeoutError());
    case FIBER_NO_MEMORY: return std::make_exception_ptr(MemoryError(text));
    case FIBER_OS_ERROR: {
      const int error = errno;
      try {
        raise_os_error(error);
      } catch (...) {
        return std::current_exception();
      }
    }
    case FIBER_WRONG_THREAD: return std::make_exception_ptr(WrongThread(text));
    case FIBER_INVALID: return std::make_exception_ptr(ValueError(text));
    case FIBER_BAD_STATE: return std::make_exception_ptr(RuntimeError(text));
    default: return std::make_exception_ptr(Status(status));
  }
}

}  // namespace

Status::Status(int status) : Exception(fiber_strerror(status)), status_(status) {}
Status::~Status() = default;
WrongThread::~WrongThread() = default;

void refuse_thread(const char* why) {
  if (core::thread_is_exiting())
    throw RuntimeError(
        "this thread exits and has ended its fibers: make the call before main() returns or exit() "
        "is called, or before the thread's function returns");
  throw WrongThread(why);
}

int caught(const std::exception_ptr& error) noexcept {
  const int status = status_of(error);
  const int saved = errno;
  try {
    Last& its = last();
    remember(its, status, error);
    keep_text(its, fiber_strerror(status));  // if there is no memory for more
    const std::string own = str(error);
    if (!own.empty()) keep_text(its, own);
  } catch (...) {
    // No memory for the exception: the status must do.
  }
  errno = saved;
  return status;
}

std::exception_ptr exception_of(int status) {
  if (tls_last != nullptr)
    if (const void* greenlet = current_greenlet())
      for (Memory& memory : tls_last->memories)
        if (memory.greenlet == greenlet && memory.status == status && memory.error != nullptr) {
          memory.greenlet = nullptr;
          return std::exchange(memory.error, nullptr);
        }
  return fresh(status);
}

void body_ends() noexcept {
  if (tls_last == nullptr) return;
  const void* greenlet = current_greenlet();
  for (Memory& memory : tls_last->memories)
    if (memory.greenlet == greenlet) memory = Memory();
}

void raise(int status) {
  if (status != FIBER_OK) std::rethrow_exception(exception_of(status));
}

int invalid(const char* what) noexcept {
  return guarded([what] { throw ValueError(what); });
}

}  // namespace fiber::c

const char* fiber_strerror(int status) {
  switch (status) {
    case FIBER_OK: return "no error";
    case FIBER_ERROR: return "an error";
    case FIBER_INVALID: return "invalid argument";
    case FIBER_BAD_STATE: return "not possible in this state";
    case FIBER_NO_MEMORY: return "out of memory";
    case FIBER_WRONG_THREAD: return "it belongs to another thread";
    case FIBER_OS_ERROR: return "a system call failed";
    case FIBER_TIMEOUT: return "timed out";
    case FIBER_CANCELLED: return "cancelled";
    case FIBER_EXIT: return "the greenlet is to end";
    case FIBER_INTERRUPTED: return "interrupted";
    default: return status > 0 ? "an error of the program's own" : "unknown status";
  }
}

const char* fiber_last_error() {
  return fiber::c::tls_last != nullptr ? fiber::c::tls_last->text : "";
}
