#include <fiber/aiohttp/formdata.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/form.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

namespace fiber::aiohttp {
namespace {

constexpr const char* injection =
    "Newline or carriage return detected in headers. Potential header injection attack.";

void check_line(std::string_view text) {
  if (text.find_first_of(std::string_view("\r\n\0", 3)) != text.npos) throw ValueError(injection);
}

// Python: urllib.parse.quote(text, safe="")
std::string percent_encoded(std::string_view text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
        c == '.' || c == '-' || c == '~')
      out += static_cast<char>(c);
    else
      out.append({'%', hex[c >> 4], hex[c & 15]});
  }
  return out;
}

// Quotes a text as in RFC 5322, blanks included. Python: aiohttp.helpers.quoted_string.
std::string quoted_string(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string name_parameter(const std::string& name, bool quote) {
  if (!quote) return "name=\"" + escaped(name) + "\"";
  const bool plain = std::all_of(
      name.begin(), name.end(), [](unsigned char c) { return (c >= ' ' && c < 127) || c == '\t'; });
  return plain ? "name=\"" + quoted_string(name) + "\"" : "name*=utf-8''" + percent_encoded(name);
}

}  // namespace

FormData::FormData(http::Params fields, FormDataOptions options)
    : quote_fields_(options.quote_fields) {
  add_fields(fields);
}

void FormData::add_field(std::string name, http::Body value, FieldOptions options) {
  if (options.content_type) check_line(*options.content_type);
  if (value.source() && !options.filename) options.filename = name;
  is_multipart_ = is_multipart_ || options.filename || options.content_type;
  fields_.push_back({std::move(name), std::move(value), std::move(options)});
}

void FormData::add_fields(const http::Params& fields) {
  for (const auto& [name, value] : fields) add_field(name, value);
}

std::string FormData::head_of(const Field& field) const {
  const auto& [content_type, filename] = field.options;
  std::string head = "Content-Type: ";
  if (content_type)
    head += *content_type;
  else
    head += filename ? "application/octet-stream" : "text/plain; charset=utf-8";
  std::string disposition = "form-data; " + name_parameter(field.name, quote_fields_);
  if (filename)
    disposition +=
        "; filename=\"" + (quote_fields_ ? percent_encoded(*filename) : escaped(*filename)) + "\"";
  check_line(disposition);
  return head + "\r\nContent-Disposition: " + disposition + "\r\n";
}

http::Body FormData::operator()() const {
  if (!is_multipart_) {
    http::Params params;
    for (const Field& field : fields_) params.emplace_back(field.name, field.value.bytes());
    return params;
  }
  http::MultipartWriter writer;
  for (const Field& field : fields_) writer.add(head_of(field), field.value);
  return writer.finish("multipart/form-data");
}

}  // namespace fiber::aiohttp
