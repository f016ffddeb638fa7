#include <fiber/requests/files.hpp>

#include <fiber/core/unique_fd.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/form.hpp>
#include <fiber/http/redirect.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::requests {
namespace {

// Writes the header of a part as urllib3's RequestField does: these fields first, then the others.
std::string render_headers(const std::string& disposition, const std::string& content_type,
                           const http::Headers& headers) {
  std::string text = "Content-Disposition: " + disposition + "\r\n";
  const auto line = [&text](const std::string& name, const std::string& value) {
    http::check_field(name, value);
    if (!value.empty()) text.append(name).append(": ").append(value).append("\r\n");
  };
  line("Content-Type", content_type);
  for (const auto& [name, value] : headers)
    if (!http::equal_ignoring_case(name, "Content-Disposition") &&
        !http::equal_ignoring_case(name, "Content-Type") &&
        !http::equal_ignoring_case(name, "Content-Location"))
      line(name, value);
  return text;
}

// The content of an open file. The file is opened once: a pipe could not be opened again, and
// another file may have its name by then.
class FileSource : public http::BodySource {
 public:
  explicit FileSource(std::string path) : path_(std::move(path)) {
    if (path_.find('\0') != std::string::npos) throw ValueError("embedded null byte");
    file_ = core::UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status;
    if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0) refuse(errno);
    if (S_ISDIR(status.st_mode)) refuse(EISDIR);
    seekable_ = ::lseek(file_.get(), 0, SEEK_CUR) >= 0;
    // Files of /proc have no size, and devices none.
    char first;
    if (S_ISREG(status.st_mode) && (status.st_size > 0 || ::pread(file_.get(), &first, 1, 0) == 0))
      size_ = static_cast<std::uint64_t>(status.st_size);
  }

  std::optional<std::uint64_t> size() const override { return size_; }
  bool blocks() const override { return true; }
  std::size_t read(char* buffer, std::size_t room) override {
    begun_ = true;
    for (;;) {
      const ssize_t count = ::read(file_.get(), buffer, room);
      if (count >= 0) return static_cast<std::size_t>(count);
      if (errno != EINTR) refuse(errno);
    }
  }
  bool rewind() override {
    return !begun_ || (seekable_ && ::lseek(file_.get(), 0, SEEK_SET) == 0);
  }

 private:
  [[noreturn]] void refuse(int error) const { raise_os_error(error, "'" + path_ + "'"); }

  std::string path_;
  core::UniqueFd file_;
  std::optional<std::uint64_t> size_;
  bool seekable_ = false;
  bool begun_ = false;
};

}  // namespace

File File::open(const std::string& path, std::string content_type, http::Headers headers) {
  auto source = http::detail::one_at_a_time(std::make_shared<FileSource>(path));
  return File(path.substr(path.rfind('/') + 1), http::Body(std::move(source)),
              std::move(content_type), std::move(headers));
}

http::Body encode_files(const Files& files, const http::Body& data) {
  if (data.source()) throw NotImplementedError("Streamed bodies and files are mutually exclusive.");
  if (data && !data.form()) throw ValueError("Data must not be a string.");
  http::MultipartWriter writer;
  if (data)
    for (const auto& [name, value] : *data.form())
      writer.add(render_headers("form-data; " + http::quoted_parameter("name", name), {}, {}),
                 value);
  for (const auto& [name, file] : files) {
    std::string disposition = "form-data; " + http::quoted_parameter("name", name);
    const auto filename = file.named_after_field_ ? name : file.filename_;
    if (filename) disposition += "; " + http::quoted_parameter("filename", *filename);
    writer.add(render_headers(disposition, file.content_type_, file.headers_), file.content_);
  }
  return writer.finish("multipart/form-data");
}

}  // namespace fiber::requests
