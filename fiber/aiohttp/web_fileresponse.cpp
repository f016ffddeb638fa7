#include <fiber/aiohttp/web_fileresponse.hpp>

#include <fiber/aiohttp/web_app_object.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/without_sigpipe.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/platform/socket.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::aiohttp::web {

FileResponse::FileResponse(std::string path, FileResponseOptions options)
    : StreamResponse([&] {
        auto* object = new detail::FileResponseObject(std::move(path));
        detail::ResponseRef ref(object);
        object->chunk_size = std::max<std::size_t>(options.chunk_size, 1);
        object->status = options.status;
        object->reason = std::move(options.reason);
        object->headers = std::move(options.headers);
        return ref;
      }()) {}

namespace detail {
namespace {

using asyncio::detail::UniqueFd;

std::string etag_of(const struct stat& status) {
  char text[64];
  const auto nanoseconds = static_cast<unsigned long long>(status.st_mtim.tv_sec) * 1'000'000'000 +
                           static_cast<unsigned long long>(status.st_mtim.tv_nsec);
  std::snprintf(text, sizeof text, "%llx-%llx", nanoseconds,
                static_cast<unsigned long long>(status.st_size));
  return text;
}

// Whether `etag` is in a list of "x", W/"x" and *; weak ones do not match if `strong`.
bool etag_matches(std::string_view list, std::string_view etag, bool strong) {
  for (std::string_view one : http::split_list(list)) {
    if (one == "*") return true;
    const bool weak = one.starts_with("W/");
    if (weak) one.remove_prefix(2);
    if (weak && strong) continue;
    if (one.size() >= 2 && one.front() == '"' && one.back() == '"' &&
        one.substr(1, one.size() - 2) == etag)
      return true;
  }
  return false;
}

bool prefers_gzip(const Request& request) {
  const auto accepted = request.headers().getall("Accept-Encoding");
  const int weight = http::coding_weight(accepted, "gzip");
  return weight > 0 && weight >= http::coding_weight(accepted, "identity");
}

UniqueFd open_file(const std::string& path, struct stat& status) {
  UniqueFd fd = open_to_serve(path);
  if (::fstat(fd.get(), &status) != 0) raise_os_error(errno, path);
  if (!S_ISREG(status.st_mode)) throw HTTPForbidden();
  return fd;
}

}  // namespace

// O_NONBLOCK and O_NOCTTY: opening a pipe or a terminal must not wait.
UniqueFd open_to_serve(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() >= 0) return fd;
  switch (errno) {
    case EACCES:
    case EPERM: throw HTTPForbidden();
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case ENXIO:  // a socket
    case ENODEV: throw HTTPNotFound();
    default: raise_os_error(errno, path);
  }
}

FileResponseObject::~FileResponseObject() {
  if (opened >= 0) ::close(opened);
}

// Evaluates conditions (RFC 9110, section 13.2.2). Returns true if the response has no body.
bool FileResponseObject::answered_by_conditions(Request& request, const struct stat& status,
                                                bool coded) {
  const std::string etag = etag_of(status);
  const CIMultiDictProxy& given = request.headers();
  const std::int64_t modified = status.st_mtim.tv_sec;
  if (given.contains("If-Match")) {
    if (!etag_matches(given["If-Match"], etag, true)) this->status = 412;
  } else if (const auto since = request.if_unmodified_since(); since && modified > *since) {
    this->status = 412;
  }
  if (this->status == 412) {
    length = 0;
    return true;
  }
  bool fresh = false;
  if (given.contains("If-None-Match"))
    fresh = etag_matches(given["If-None-Match"], etag, false);
  else if (const auto since = request.if_modified_since(); since && modified <= *since)
    fresh = true;
  if (!fresh) return false;
  this->status = 304;
  headers.set("ETag", (coded ? "W/\"" : "\"") + etag + "\"");
  headers.set("Last-Modified", http::format_date(modified));
  return true;
}

// Sets the range to send. Returns false if the file has no such range.
bool FileResponseObject::pick_range(Request& request, const struct stat& status,
                                    std::int64_t& start, std::int64_t& count) {
  if (!request.headers().contains("Range") || request.method() != "GET") return true;
  if (request.headers().contains("If-Range")) {
    const std::string_view condition = request.headers()["If-Range"];
    const auto date = http::parse_date(condition);
    const bool same =
        date ? status.st_mtim.tv_sec <= *date
             : !condition.starts_with("W/") && etag_matches(condition, etag_of(status), true);
    if (!same) return true;
  }
  const std::int64_t size = status.st_size;
  HttpRange range;
  try {
    range = request.http_range();
  } catch (const ValueError&) {
    return false;
  }
  start = *range.start;
  // The last 0 bytes are no range; the parsed one does not tell them from the first.
  if (start == 0 && request.headers()["Range"].starts_with("bytes=-")) return false;
  if (start < 0) start = std::max<std::int64_t>(0, size + start);
  if (start >= size) return false;
  count = std::min(range.stop.value_or(size), size) - start;
  this->status = 206;
  headers.set("Content-Range", "bytes " + std::to_string(start) + "-" +
                                   std::to_string(start + count - 1) + "/" + std::to_string(size));
  return true;
}

void FileResponseObject::prepare(Request& request) {
  if (prepared()) return check_request(request);
  struct stat status {};
  UniqueFd fd;
  bool packed = false;
  if (prefers_gzip(request) && !headers.contains("Content-Encoding")) {
    UniqueFd beside(
        ::open((path_ + ".gz").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (beside.get() >= 0 && ::fstat(beside.get(), &status) == 0 && S_ISREG(status.st_mode)) {
      fd = std::move(beside);
      packed = true;
    }
  }
  if (fd.get() < 0) {
    if (opened >= 0) {
      fd = UniqueFd(std::exchange(opened, -1));
      if (::fstat(fd.get(), &status) != 0) raise_os_error(errno, path_);
    } else {
      fd = open_file(path_, status);
    }
  }
  if (packed) headers.set("Vary", "Accept-Encoding");
  // A body that is compressed on the way has other bytes than the file, so it gets no ranges, and a
  // weak tag.
  const bool coded = !packed && suitable_coding(request) != ContentCoding::identity;
  if (answered_by_conditions(request, status, coded)) return ResponseObject::prepare(request);
  std::int64_t start = 0;
  std::int64_t count = status.st_size;
  if (!coded && !pick_range(request, status, start, count)) {
    headers.set("Content-Range", "bytes */" + std::to_string(status.st_size));
    this->status = 416;
    length = 0;
    return ResponseObject::prepare(request);
  }
  if (!headers.contains("Content-Type") && content_type.empty()) content_type = guess_type(path_);
  if (packed) {
    headers.set("Content-Encoding", "gzip");
  } else if (!headers.contains("Content-Encoding") && path_.ends_with(".gz") &&
             content_type.empty()) {
    content_type = "application/gzip";
  }
  headers.set("ETag", (coded ? "W/\"" : "\"") + etag_of(status) + "\"");
  headers.set("Last-Modified", http::format_date(status.st_mtim.tv_sec));
  if (!coded) headers.set("Accept-Ranges", "bytes");
  // A coding that is chosen by prepare() takes the length away.
  if (!chunked) length = static_cast<std::uint64_t>(count);
  std::string& out = make_head(request);
  // A small file is copied behind the head: one system call takes less time than two.
  constexpr std::int64_t kCopied = 32 * 1024;
  if (!head_only_ && left_ && count <= kCopied) {
    const std::int64_t copied = append_file(fd.get(), start, count, out);
    start += copied;
    count -= copied;
  }
  connection_->send(out);
  if (!head_only_ && count != 0) send_file(request, fd.get(), start, count);
}

// Appends a part of the body to its head, and returns its size, which is 0 at the end of the file.
std::int64_t FileResponseObject::append_file(int fd, std::int64_t start, std::int64_t count,
                                             std::string& out) {
  const std::size_t head = out.size();
  out.resize(head + static_cast<std::size_t>(count));
  const ssize_t size = ::pread(fd, out.data() + head, static_cast<std::size_t>(count), start);
  const auto copied = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  out.resize(head + copied);
  sent_ += copied;
  *left_ -= copied;
  return static_cast<std::int64_t>(copied);
}

void FileResponseObject::finish(Request& request) {
  prepare(request);
  write_eof({});
}

// Sends without a copy, where the platform can. When the socket's buffer is full, an ordinary write
// waits for room.
void FileResponseObject::send_file(Request& request, int fd, std::int64_t start,
                                   std::int64_t count) {
  Connection& connection = request.connection();
  if (connection.secure() || compressor_ || chunked || !left_) return copy(fd, start, count);
  connection.drain(true);
  constexpr std::int64_t kTurn = 1024 * 1024;  // other tasks get a turn after so many bytes
  std::int64_t turn = 0;
  while (count > 0) {
    if (turn >= kTurn) {
      turn = 0;
      asyncio::await(asyncio::sleep(0));
    }
    if (connection.lost()) throw ConnectionResetError("Cannot write to closing transport");
    off_t offset = start;
    ssize_t sent = 0;
    {
      const asyncio::detail::WithoutSigpipe quiet;
      sent = platform::send_file(connection.writer().fileno(), fd, offset,
                                 static_cast<std::size_t>(std::min(count, kTurn)));
    }
    if (sent > 0) {
      start += sent;
      count -= sent;
      sent_ += static_cast<std::uint64_t>(sent);
      *left_ -= static_cast<std::uint64_t>(sent);
      turn += sent;  // the kernel takes what it has room for, seldom a whole step
      continue;
    }
    if (sent == 0) return;  // the file has become shorter: the connection will be closed
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOSYS) return copy(fd, start, count);
    if (errno != EAGAIN) throw ConnectionResetError(errno, "sendfile");
    const std::int64_t step = std::min<std::int64_t>(count, 64 * 1024);
    copy(fd, start, step);
    start += step;
    count -= step;
    connection.drain(true);
  }
}

void FileResponseObject::copy(int fd, std::int64_t start, std::int64_t count) {
  std::string block(
      static_cast<std::size_t>(std::min(count, static_cast<std::int64_t>(chunk_size))), '\0');
  while (count > 0) {
    const ssize_t size = ::pread(fd, block.data(),
                                 static_cast<std::size_t>(std::min<std::int64_t>(
                                     count, static_cast<std::int64_t>(block.size()))),
                                 start);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) raise_os_error(errno, path_);
    if (size == 0) return;
    write(std::string_view(block).substr(0, static_cast<std::size_t>(size)));
    start += size;
    count -= size;
    // Compressing or encrypting may be slower than the client reads: then write() never waits, and
    // the other tasks need a turn.
    if (count > 0) asyncio::await(asyncio::sleep(0));
  }
}

}  // namespace detail
}  // namespace fiber::aiohttp::web
