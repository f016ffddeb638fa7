// Forms with files. Python: aiohttp.FormData.
//
//   aiohttp::FormData form;
//   form.add_field("name", "value");
//   form.add_field("report", std::ifstream("report.csv"),
//                  {.content_type = "text/csv", .filename = "report.csv"});
//   await(session.post(url, {.data = form}));
#pragma once

#include <fiber/http/arguments.hpp>

#include <optional>
#include <string>
#include <vector>

namespace fiber::aiohttp {

/// Keyword arguments of FormData::add_field().
struct FieldOptions {
  std::optional<std::string> content_type = {};
  std::optional<std::string> filename = {};
};

/// Keyword arguments of FormData. `quote_fields`: names of files are percent-encoded, and those of
/// fields kept to ASCII; else they go out as they are.
struct FormDataOptions {
  bool quote_fields = true;
};

/// A form: x-www-form-urlencoded while it has texts alone, multipart/form-data with a file, a
/// filename or a content type among its fields. A plain value; what is read while it is sent is
/// shared by copies.
class FIBER_API FormData {
 public:
  explicit FormData(http::Params fields = {}, FormDataOptions options = {});

  /// One field more. What is read while it is sent, an std::ifstream, is a file, whose name is that
  /// of the field unless it has another. Bytes are text/plain; charset=utf-8, and with a filename,
  /// as files are, application/octet-stream unless a content type is given. Throws ValueError for a
  /// content type with the end of a line in it.
  void add_field(std::string name, http::Body value, FieldOptions options = {});
  /// Several that are texts.
  void add_fields(const http::Params& fields);

  bool is_multipart() const noexcept { return is_multipart_; }
  /// The body that it makes, form(). Throws ValueError for a name with the end of a line in it that
  /// is not quoted.
  http::Body operator()() const;
  operator http::Body() const { return (*this)(); }

 private:
  struct Field {
    std::string name;
    http::Body value;
    FieldOptions options;
  };

  std::string head_of(const Field& field) const;

  std::vector<Field> fields_;
  bool quote_fields_;
  bool is_multipart_ = false;
};

}  // namespace fiber::aiohttp
