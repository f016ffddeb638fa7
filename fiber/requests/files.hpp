// files=: the uploads beside the fields of a form.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fiber::requests {

/// One file, Python's tuple (filename, file, content_type, headers):
///
///   .files = {{"report", requests::File::open("report.csv")},
///             {"note", {"note.txt", "its content", "text/plain"}}}
class FIBER_API File {
 public:
  /// Makes a file whose filename is the name of its field.
  explicit File(http::Body content) : content_(std::move(content)), named_after_field_(true) {}
  /// Makes a file. `filename`: std::nullopt for none. A source that is read while it is sent, such
  /// as a std::ifstream, is read again for a redirect or another try.
  File(std::optional<std::string> filename, http::Body content, std::string content_type = {},
       http::Headers headers = {})
      : filename_(std::move(filename)),
        content_(std::move(content)),
        content_type_(std::move(content_type)),
        headers_(std::move(headers)) {}
  /// Opens the file of this path, once; the filename is the last part of the path. Throws
  /// FileNotFoundError, PermissionError, OSError (a directory), ValueError (a zero byte).
  static File open(const std::string& path, std::string content_type = {},
                   http::Headers headers = {});

 private:
  friend http::Body encode_files(const std::vector<std::pair<std::string, File>>& files,
                                 const http::Body& data);

  std::optional<std::string> filename_;
  http::Body content_;
  std::string content_type_;
  http::Headers headers_;
  bool named_after_field_ = false;
};

/// Names of fields, and their files; repeats allowed.
using Files = std::vector<std::pair<std::string, File>>;

/// Returns the body of `files` and `data`, a form or nothing, as multipart/form-data.
http::Body encode_files(const Files& files, const http::Body& data);

}  // namespace fiber::requests
