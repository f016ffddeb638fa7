#include <fiber/aiofiles/file_object.hpp>

#include <fiber/aiofiles/backend.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include <unistd.h>

namespace fiber::aiofiles::detail {
namespace {

using asyncio::detail::LoopObject;

constexpr std::size_t kMostAtOnce = std::size_t{1} << 30U;
// A pipe gives no more at once, as a rule; and the memory for more would be filled with zeros anew
// for each piece that comes.
constexpr std::size_t kStreamBlock = 64 * 1024;

}  // namespace

Mode parse_mode(const std::string& text) {
  Mode mode;
  int kinds = 0;
  bool updating = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (std::string_view("xrwab+t").find(c) == std::string_view::npos ||
        text.find(c, at + 1) != std::string::npos)
      throw ValueError("invalid mode: '" + text + "'");
    if (c == '+') updating = true;
    if (std::string_view("xrwa").find(c) == std::string_view::npos) continue;
    ++kinds;
    mode.reading = c == 'r';
    mode.writing = c != 'r';
    mode.appending = c == 'a';
    if (c == 'w') mode.flags = O_CREAT | O_TRUNC;
    if (c == 'x') mode.flags = O_CREAT | O_EXCL;
    if (c == 'a') mode.flags = O_CREAT | O_APPEND;
  }
  if (text.find('b') != std::string::npos && text.find('t') != std::string::npos)
    throw ValueError("can't have text and binary mode at once");
  if (kinds != 1) throw ValueError("must have exactly one of create/read/write/append mode");
  if (updating) mode.reading = mode.writing = true;
  mode.flags |= O_CLOEXEC | (updating ? O_RDWR : mode.writing ? O_WRONLY : O_RDONLY);
  return mode;
}

FileObject::FileObject(UniqueFd fd, std::string its_path, std::string its_mode_text, Mode its_mode,
                       std::size_t buffering)
    : path(std::move(its_path)),
      mode_text(std::move(its_mode_text)),
      mode(its_mode),
      file_(std::make_shared<UniqueFd>(std::move(fd))),
      buffering_(buffering) {
  struct stat found {};
  if (::fstat(fileno(), &found) != 0) fail(-errno);
  if (S_ISDIR(found.st_mode)) fail(-EISDIR);
  seekable_ = S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
  // The open file is not shared: its flags may be changed.
  if (!seekable_) ::fcntl(fileno(), F_SETFL, ::fcntl(fileno(), F_GETFL) | O_NONBLOCK);
  if (seekable_ && mode.appending) position_ = ::lseek(fileno(), 0, SEEK_END);
}

FileObject::~FileObject() {
  if (closed_ || behind_.empty() || !seekable_) return;
  Request request(Operation::write);
  request.file = file_;
  request.offset =
      mode.appending ? kAtPosition : position_ - static_cast<std::int64_t>(behind_.size());
  request.data = std::move(behind_);
  static_cast<void>(perform(request));
}

void FileObject::fail(long result) const {
  raise_os_error(static_cast<int>(-result), "'" + path + "'");
}

void FileObject::check_open() const {
  if (closed_) throw ValueError("I/O operation on closed file.");
}

// --- requests -----------------------------------------------------------------------------------

Turn::Turn(FileObject& file) : file_(&file) {
  file.check_open();
  file.lock_->acquire();
  if (file.closed_) {
    file.lock_->unlock();
    file.check_open();
  }
}

Turn::~Turn() {
  const RequestRef last = std::exchange(file_->last_, nullptr);
  if (last != nullptr && last->started && !last->done)
    last->listener = core::Ref<Listener, ByListener>(file_.get());
  else
    file_->lock_->unlock();
}

void FileObject::ended(const Request& request) noexcept {
  if (request.operation == Operation::write && request.result < 0)
    late_error_ = static_cast<int>(-request.result);
  lock_->unlock();
}

RequestRef FileObject::request(Operation operation) const {
  RequestRef made(new Request(operation));
  made->file = file_;
  return made;
}

long FileObject::carry_out(const RequestRef& request) {
  last_ = request;
  return detail::carry_out(request);
}

void FileObject::throw_late_error() {
  if (late_error_ != 0) fail(-std::exchange(late_error_, 0));
}

// --- reading ------------------------------------------------------------------------------------

void FileObject::prepare_reading() {
  if (!mode.reading) throw UnsupportedOperation("not readable");
  if (seekable_) flush();
}

std::size_t FileObject::fill(std::size_t size) {
  size = std::clamp<std::size_t>(size, 1, kMostAtOnce);
  if (!seekable_) return fill_stream(size);
  const RequestRef reading = request(Operation::read);
  reading->offset = position_ + static_cast<std::int64_t>(available());
  reading->data.resize(size);
  const long count = carry_out(reading);
  if (count < 0) fail(count);
  reading->data.resize(static_cast<std::size_t>(count));
  if (available() == 0) {
    ahead_ = std::move(reading->data);
  } else {
    ahead_.erase(0, begin_);
    ahead_ += reading->data;
  }
  begin_ = 0;
  return static_cast<std::size_t>(count);
}

std::size_t FileObject::fill_stream(std::size_t size) {
  ahead_.erase(0, std::exchange(begin_, 0));
  const std::size_t old = ahead_.size();
  size = std::min(size, kStreamBlock);
  for (;;) {
    ahead_.resize(old + size);
    const std::ptrdiff_t count = ::read(fileno(), ahead_.data() + old, size);
    const int error = errno;
    ahead_.resize(old + static_cast<std::size_t>(std::max<std::ptrdiff_t>(count, 0)));
    if (count >= 0) return static_cast<std::size_t>(count);
    if (error == EAGAIN)
      wait_ready(platform::Events::in);
    else if (error != EINTR)
      fail(-error);
  }
}

std::string FileObject::take(std::size_t size) {
  std::string taken;
  if (begin_ == 0 && size == ahead_.size()) {
    taken = std::exchange(ahead_, {});
  } else {
    taken = ahead_.substr(begin_, size);
    begin_ += size;
  }
  position_ += static_cast<std::int64_t>(taken.size());
  return taken;
}

void FileObject::drop_ahead() noexcept {
  ahead_.clear();
  begin_ = 0;
}

void FileObject::wait_ready(std::uint32_t events) const {
  LoopObject& loop = *asyncio::detail::task_for_await().loop();
  asyncio::detail::Waiter waiter(loop);
  asyncio::detail::DescriptorWait wait{.fd = fileno(), .events = events, .waiter = &waiter};
  if (const int error = loop.selector().wait(wait)) fail(-error);
  struct Leave {
    LoopObject& loop;
    asyncio::detail::DescriptorWait& wait;
    ~Leave() { loop.selector().leave(wait); }
  } leave{loop, wait};
  waiter.wait();
  if (wait.error != 0) fail(-wait.error);
}

// --- writing ------------------------------------------------------------------------------------

void FileObject::prepare_writing() {
  if (!mode.writing) throw UnsupportedOperation("not writable");
  if (seekable_) drop_ahead();
}

void FileObject::put(std::string data) {
  throw_late_error();
  position_ += static_cast<std::int64_t>(data.size());
  if (behind_.empty())
    behind_ = std::move(data);
  else
    behind_ += data;
  if (!seekable_ || behind_.size() >= buffering_) flush();
}

void FileObject::flush() {
  throw_late_error();
  if (behind_.empty()) return;
  if (!seekable_) return flush_stream();
  const RequestRef writing = request(Operation::write);
  writing->offset =
      mode.appending ? kAtPosition : position_ - static_cast<std::int64_t>(behind_.size());
  writing->data = std::exchange(behind_, {});
  const long count = carry_out(writing);
  if (count < 0) {
    behind_ = writing->data.substr(writing->progress);
    fail(count);
  }
  if (mode.appending) position_ = ::lseek(fileno(), 0, SEEK_CUR);
}

void FileObject::flush_stream() {
  while (!behind_.empty()) {
    std::ptrdiff_t count = 0;
    {
      const asyncio::detail::WithoutSigpipe quiet;
      count = ::write(fileno(), behind_.data(), behind_.size());
    }
    if (count >= 0)
      behind_.erase(0, static_cast<std::size_t>(count));
    else if (errno == EAGAIN)
      wait_ready(platform::Events::out);
    else if (errno != EINTR)
      fail(-errno);
  }
}

// --- the rest -----------------------------------------------------------------------------------

std::int64_t FileObject::size() const {
  struct stat found {};
  if (::fstat(fileno(), &found) != 0) fail(-errno);
  return found.st_size;
}

std::int64_t FileObject::seek(std::int64_t offset, int whence) {
  if (!seekable_) fail(-ESPIPE);
  flush();
  if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
    throw ValueError("invalid whence (" + std::to_string(whence) + ", should be 0, 1 or 2)");
  const std::int64_t from = whence == SEEK_CUR ? position_ : whence == SEEK_END ? size() : 0;
  if (offset > std::numeric_limits<std::int64_t>::max() - from) fail(-EINVAL);
  offset += from;
  if (offset < 0) fail(-EINVAL);
  const std::int64_t first = position_ - static_cast<std::int64_t>(begin_);
  if (offset >= first && offset <= position_ + static_cast<std::int64_t>(available()))
    begin_ = static_cast<std::size_t>(offset - first);
  else
    drop_ahead();
  return position_ = offset;
}

std::int64_t FileObject::tell() const {
  if (!seekable_) fail(-ESPIPE);
  return position_;
}

std::int64_t FileObject::truncate(std::optional<std::int64_t> size) {
  if (!mode.writing) throw UnsupportedOperation("File not open for writing");
  flush();  // first: with appended data, the position goes to the end
  const std::int64_t wanted = size ? *size : tell();
  drop_ahead();
  const RequestRef cutting = request(Operation::truncate);
  cutting->offset = wanted;
  if (const long result = carry_out(cutting); result < 0) fail(result);
  return wanted;
}

void FileObject::sync() {
  flush();
  if (const long result = carry_out(request(Operation::sync)); result < 0) fail(result);
}

void FileObject::close() {
  struct Close {
    FileObject& file;
    ~Close() {
      file.closed_ = true;
      file.drop_ahead();
      file.behind_.clear();
      file.file_ = nullptr;  // a cancelled call's write keeps the descriptor open
    }
  } end{*this};
  std::exception_ptr error;
  try {
    flush();
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  const RequestRef closing(new Request(Operation::close));
  closing->own = std::move(*file_);
  const long result = carry_out(closing);
  if (error != nullptr) std::rethrow_exception(error);
  if (result < 0) fail(result);
}

}  // namespace fiber::aiofiles::detail
