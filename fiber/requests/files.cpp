#include <fiber/requests/files.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/form.hpp>
#include <fiber/http/redirect.hpp>

#include <cerrno>
#include <fstream>
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

}  // namespace

File File::open(const std::string& path, std::string content_type, http::Headers headers) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) raise_os_error(errno, "'" + path + "'");
  struct stat status;
  const bool directory = ::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
  ::close(descriptor);
  if (directory) raise_os_error(EISDIR, "'" + path + "'");
  return File(path.substr(path.rfind('/') + 1), std::ifstream(path, std::ios::binary),
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
