#include <fiber/c/status.hpp>

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/fiber.h>
#include <fiber/greenlet.hpp>

#include <cerrno>
#include <new>
#include <utility>

namespace fiber::c {
namespace {

struct Last {
  int status = FIBER_OK;
  std::exception_ptr error;
  std::string text;
};

Last& last() {
  static thread_local Last its;
  return its;
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
    case FIBER_WRONG_THREAD: return std::make_exception_ptr(greenlet::error(text));
    case FIBER_INVALID: return std::make_exception_ptr(ValueError(text));
    case FIBER_BAD_STATE: return std::make_exception_ptr(RuntimeError(text));
    default: return std::make_exception_ptr(Status(status));
  }
}

}  // namespace

Status::Status(int status) : Exception(fiber_strerror(status)), status_(status) {}
Status::~Status() = default;

int caught(const std::exception_ptr& error) noexcept {
  const int status = status_of(error);
  const int saved = errno;
  try {
    Last& its = last();
    its.status = status;
    its.error = error;
    const std::string text = str(error);
    its.text = text.empty() ? fiber_strerror(status) : text;
  } catch (...) {
    // No memory for the text: the status must do.
  }
  errno = saved;
  return status;
}

std::exception_ptr exception_of(int status) {
  Last& its = last();
  if (its.status == status && its.error != nullptr) return std::exchange(its.error, nullptr);
  return fresh(status);
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
    case FIBER_WRONG_THREAD: return "the greenlet belongs to another thread";
    case FIBER_OS_ERROR: return "a system call failed";
    case FIBER_TIMEOUT: return "timed out";
    case FIBER_CANCELLED: return "cancelled";
    case FIBER_EXIT: return "the greenlet is to end";
    case FIBER_INTERRUPTED: return "interrupted";
    default: return status > 0 ? "an error of the program's own" : "unknown status";
  }
}

const char* fiber_last_error() { return fiber::c::last().text.c_str(); }
