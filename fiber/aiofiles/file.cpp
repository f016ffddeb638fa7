#include <fiber/aiofiles/file.hpp>

#include <fiber/aiofiles/backend.hpp>
#include <fiber/aiofiles/file_object.hpp>
#include <fiber/asyncio/sock.hpp>

#include <algorithm>
#include <cstring>
#include <ostream>

#include <unistd.h>

namespace fiber::aiofiles {

UnsupportedOperation::~UnsupportedOperation() = default;

namespace detail {
namespace {

// Bytes to read at once where the size of the file is unknown.
constexpr std::size_t kBlock = 64 * 1024;

std::size_t size_of(std::ptrdiff_t n) noexcept { return static_cast<std::size_t>(n); }

std::string read_all(FileObject& file) {
  if (file.seekable()) {
    const std::int64_t left = file.size() - file.tell();
    // The extra byte shows whether the file has grown; otherwise the end is known at once.
    std::size_t size = left > 0 ? static_cast<std::size_t>(left) + 1 : kBlock;
    if (size > file.available()) size -= file.available();
    while (file.fill(size) > 0) size = kBlock;
  } else {
    while (file.fill(kBlock) > 0) {
    }
  }
  return file.take(file.available());
}

// Returns how much to ask for at once, of `wanted` bytes: not much more than the file has, as the
// memory for them is filled with zeros before.
std::size_t step_of(const FileObject& file, std::size_t wanted) {
  if (wanted <= kBlock || !file.seekable()) return wanted;
  const std::int64_t left = file.size() - file.tell() - static_cast<std::int64_t>(file.available());
  return left <= static_cast<std::int64_t>(kBlock)
             ? kBlock
             : std::min(wanted, static_cast<std::size_t>(left));
}

std::string read_line(FileObject& file, std::ptrdiff_t limit) {
  const std::size_t most = limit < 0 ? std::string::npos : size_of(limit);
  std::size_t searched = 0;
  for (;;) {
    const std::string_view ahead = file.ahead();
    const std::size_t at = ahead.find('\n', searched);
    if (at != std::string_view::npos) return file.take(std::min(at + 1, most));
    searched = ahead.size();
    if (searched >= most) return file.take(most);
    if (file.fill(std::max<std::size_t>(file.buffering(), 1)) == 0) return file.take(searched);
  }
}

}  // namespace

void FileCounting::retain(FileObject* object) noexcept { object->retain(); }
void FileCounting::release(FileObject* object) noexcept { object->release(); }

File open(std::string path, const std::string& mode_text, const OpenOptions& options) {
  asyncio::detail::refuse_null_bytes(path);
  const Mode mode = parse_mode(mode_text);
  const RequestRef opening(new Request(Operation::open));
  opening->path = path;
  opening->flags = mode.flags;
  opening->mode = options.permissions;
  const long result = carry_out(opening);
  if (result < 0) raise_os_error(static_cast<int>(-result), "'" + path + "'");
  return File(core::Ref<FileObject, FileCounting>(new FileObject(
      std::move(opening->own), std::move(path), mode_text, mode, options.buffering)));
}

std::string read(FileObject& file, std::ptrdiff_t n) {
  const Turn turn(file);
  file.prepare_reading();
  if (n < 0) return read_all(file);
  while (file.available() < size_of(n))
    if (file.fill(step_of(file, std::max(size_of(n) - file.available(), file.buffering()))) == 0)
      break;
  return file.take(std::min(size_of(n), file.available()));
}

std::string read1(FileObject& file, std::ptrdiff_t n) {
  const Turn turn(file);
  file.prepare_reading();
  if (n == 0) return {};
  const std::size_t most = n < 0 ? std::max(file.buffering(), file.available()) : size_of(n);
  if (file.available() == 0) file.fill(std::max(most, file.buffering()));
  return file.take(std::min(std::max<std::size_t>(most, 1), file.available()));
}

std::size_t readinto(FileObject& file, std::span<char> buffer) {
  const std::string data = read(file, static_cast<std::ptrdiff_t>(buffer.size()));
  std::memcpy(buffer.data(), data.data(), data.size());
  return data.size();
}

std::string readline(FileObject& file, std::ptrdiff_t limit) {
  const Turn turn(file);
  file.prepare_reading();
  return read_line(file, limit);
}

std::vector<std::string> readlines(FileObject& file) {
  const Turn turn(file);
  file.prepare_reading();
  std::vector<std::string> lines;
  for (;;) {
    std::string line = read_line(file, -1);
    if (line.empty()) return lines;
    lines.push_back(std::move(line));
  }
}

std::size_t write(FileObject& file, std::string data) {
  const Turn turn(file);
  file.prepare_writing();
  const std::size_t size = data.size();
  file.put(std::move(data));
  return size;
}

std::int64_t seek(FileObject& file, std::int64_t offset, int whence) {
  const Turn turn(file);
  return file.seek(offset, whence);
}

std::int64_t tell(FileObject& file) {
  const Turn turn(file);
  return file.tell();
}

std::int64_t truncate(FileObject& file, std::optional<std::int64_t> size) {
  const Turn turn(file);
  return file.truncate(size);
}

void flush(FileObject& file) {
  const Turn turn(file);
  file.flush();
}

void sync(FileObject& file) {
  const Turn turn(file);
  file.sync();
}

void close(FileObject& file) {
  if (file.closed()) return;
  const core::Ref<FileObject> held(&file);
  const Turn turn(file);
  file.close();
}

}  // namespace detail

const core::Ref<detail::FileObject, detail::FileCounting>& File::ref() const {
  if (!object_) throw ValueError("this file handle is null or was moved from");
  return object_;
}

bool File::closed() const { return object().closed(); }

bool File::readable() const {
  object().check_open();
  return object().mode.reading;
}

bool File::writable() const {
  object().check_open();
  return object().mode.writing;
}

bool File::seekable() const {
  object().check_open();
  return object().seekable();
}

bool File::isatty() const { return ::isatty(fileno()) == 1; }

int File::fileno() const {
  object().check_open();
  return object().fileno();
}

const std::string& File::name() const { return object().path; }

const std::string& File::mode() const { return object().mode_text; }

bool File::exit(const std::exception_ptr&) {
  detail::close(object());
  return false;
}

std::string repr(const File& file) {
  if (!file) return "<aiofiles.File null>";
  return "<aiofiles.File name='" + file.name() + "' mode='" + file.mode() + "'>";
}

std::ostream& operator<<(std::ostream& out, const File& file) { return out << repr(file); }

std::string backend() { return detail::Backend::of(asyncio::detail::running_loop()).name(); }

}  // namespace fiber::aiofiles
