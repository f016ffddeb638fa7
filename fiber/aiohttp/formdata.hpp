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
  std::optional<std::string> content_type = {};  ///< nothing: see add_field()
  std::optional<std::string> filename = {};      ///< nothing: see add_field()
};

/// Keyword arguments of FormData. `quote_fields`: names of files are percent-encoded, and names of
/// fields are kept to ASCII; else names are sent unchanged.
struct FormDataOptions {
  bool quote_fields = true;  ///< see above
};

/// A form: x-www-form-urlencoded while it has only texts, multipart/form-data with a file, a
/// filename or a content type among its fields. A plain value; copies share sources that are read
/// while they are sent.
class FIBER_API FormData {
 public:
  explicit FormData(http::Params fields = {}, FormDataOptions options = {});

  /// Adds a field. A source that is read while it is sent, such as a std::ifstream, is a file; its
  /// filename is by default the name of the field. Bytes are text/plain; charset=utf-8. Files, and
  /// bytes with a filename, are application/octet-stream unless a content type is given. Throws
  /// ValueError for a content type with an end of line in it.
  void add_field(std::string name, http::Body value, FieldOptions options = {});
  /// Adds several fields that are texts.
  void add_fields(const http::Params& fields);

  /// True if operator()() makes multipart/form-data.
  bool is_multipart() const noexcept { return is_multipart_; }
  /// Returns the body of the form. Throws ValueError for an unquoted name with an end of line in
  /// it.
  http::Body operator()() const;
  operator http::Body() const { return (*this)(); }  // NOLINT(google-explicit-constructor)

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
