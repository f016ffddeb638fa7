#include <fiber/aiofiles/backend.hpp>

#include <fiber/asyncio/file_calls.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/core/undying.hpp>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace fiber::aiofiles::detail {
namespace {

struct Backends {
  std::mutex mutex;
  std::unordered_map<std::uint64_t, Backend*> of_loops;  // keyed by LoopObject::serial
};

Backends& backends() {
  static auto* all = new Backends;
  return *all;
}

// The backend found last on this thread: most threads have one loop.
struct Last {
  std::uint64_t serial = 0;
  Backend* backend = nullptr;
};
thread_local Last last;

enum class Choice : unsigned char { any, ring, executor };

Choice choice() {
  const char* given = std::getenv("FIBER_AIOFILES");
  const std::string_view text = given != nullptr ? given : "";
  if (text.empty() || text == "auto") return Choice::any;
  if (text == "io_uring") return Choice::ring;
  if (text == "executor") return Choice::executor;
  throw ValueError("FIBER_AIOFILES must be auto, io_uring or executor, not '" + std::string(text) +
                   "'");
}

// Completes a request on the loop's thread; if dropped without a call, the request has failed.
class Ending {
 public:
  explicit Ending(RequestRef request) noexcept : request_(std::move(request)) {}
  Ending(Ending&&) noexcept = default;
  Ending& operator=(Ending&&) = delete;
  ~Ending() {
    if (request_ != nullptr) request_->complete(-ECANCELED);
  }
  void operator()() {
    const RequestRef request = std::exchange(request_, nullptr);
    request->complete(request->outcome);
  }

 private:
  RequestRef request_;
};

}  // namespace

Backend& Backend::of(LoopObject& loop) {
  Backend* found = last.serial == loop.serial ? last.backend : nullptr;
  if (found == nullptr) {
    const std::lock_guard guard(backends().mutex);
    const auto place = backends().of_loops.find(loop.serial);
    found = place != backends().of_loops.end() ? place->second : new Backend(loop);
    backends().of_loops[loop.serial] = found;
    last = {loop.serial, found};
  }
  int error = 0;
  // A forked child has the parent's ring, which it must neither use nor close.
  if (found->ring_ != nullptr && found->ring_->inherited()) [[unlikely]]
    static_cast<void>(std::exchange(found->ring_, Ring::open(loop, error)).release());
  return *found;
}

Backend::Backend(LoopObject& loop) : LoopDependent(loop), loop_(loop) {
  const Choice wanted = choice();
  if (wanted == Choice::executor) return;
  int error = 0;
  ring_ = Ring::open(loop, error);
  if (ring_ == nullptr && wanted == Choice::ring)
    raise_os_error(error, "io_uring is not available, but FIBER_AIOFILES asks for it");
}

void Backend::loop_closed() noexcept {
  {
    const std::lock_guard guard(backends().mutex);
    backends().of_loops.erase(loop_.serial);
  }
  if (ring_ != nullptr && ring_->inherited()) static_cast<void>(ring_.release());
  delete this;
}

bool Backend::start_in_ring(const RequestRef& request) {
  if (ring_ == nullptr || !ring_->takes(*request) || !ring_->start(request)) return false;
  request->started = true;
  return true;
}

void Backend::start(const RequestRef& request) {
  if (!start_in_ring(request)) start_on_thread(request);
}

void Backend::start_on_thread(const RequestRef& request) {
  auto& pool = asyncio::detail::default_executor(loop_);
  auto posted = asyncio::detail::new_external(&loop_, Ending(request));
  request->started = true;
  request->job = pool.submit([request, posted = std::move(posted)]() mutable {
    request->outcome = perform(*request);
    posted.release()->post();
  });
}

void Backend::withdraw(Request& request) noexcept {
  if (request.done) return;
  if (request.job) {
    if (request.operation != Operation::write) request.job->cancel();
  } else if (ring_ != nullptr) {
    ring_->withdraw(request);
  }
}

long carry_out(const RequestRef& request) {
  LoopObject& loop = *asyncio::detail::task_for_await().loop();
  Backend& backend = Backend::of(loop);
  asyncio::detail::Waiter waiter(loop);
  struct Leave {
    Request& request;
    ~Leave() { request.waiter = nullptr; }
  } leave{*request};
  request->waiter = &waiter;
  backend.start(request);
  try {
    if (request->done)
      asyncio::await(asyncio::sleep(0));  // lets others run, as any call that waits does
    else
      waiter.wait();
  } catch (...) {
    backend.withdraw(*request);
    throw;
  }
  return request->result;
}

namespace {

using asyncio::detail::FileCall;
using asyncio::detail::FileCallUnderWay;

class UnderWay final : public FileCallUnderWay {
 public:
  UnderWay(Backend& backend, RequestRef request) noexcept
      : backend_(backend), request_(std::move(request)) {}
  ~UnderWay() override { request_->waiter = nullptr; }

  bool done() const noexcept override { return request_->done; }
  long result() const noexcept override { return request_->result; }
  asyncio::detail::Waiter** waiter() noexcept override { return &request_->waiter; }
  void finish() noexcept override { backend_.finish(*request_); }

 private:
  Backend& backend_;
  const RequestRef request_;
};

std::unique_ptr<FileCallUnderWay> begin_file_call(LoopObject& loop, const FileCall& call) {
  const bool is_read = call.kind == FileCall::Kind::read;
  const RequestRef request(new Request(is_read ? Operation::read : Operation::sync));
  request->borrowed = call.fd;
  request->memory = static_cast<char*>(call.bytes);
  request->room = call.size;
  request->offset = call.offset;
  request->flags = call.kind == FileCall::Kind::data_sync ? 1 : 0;
  Backend& backend = Backend::of(loop);
  auto under_way = std::make_unique<UnderWay>(backend, request);
  if (!backend.start_in_ring(request)) return nullptr;
  return under_way;
}

// Other floors find the ring when this library is loaded.
[[maybe_unused]] const bool told = (asyncio::detail::set_file_calls(begin_file_call), true);

}  // namespace

}  // namespace fiber::aiofiles::detail
