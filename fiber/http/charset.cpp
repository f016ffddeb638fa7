#include <fiber/http/charset.hpp>

#include <array>
#include <cerrno>
#include <memory>
#include <type_traits>

#include <iconv.h>

namespace fiber::http {
namespace {

struct Close {
  void operator()(void* converter) const noexcept { iconv_close(converter); }
};
using Converter = std::unique_ptr<std::remove_pointer_t<iconv_t>, Close>;

Converter open_converter(const char* charset) {
  const iconv_t converter = iconv_open("UTF-8", charset);
  // iconv reports failure by -1, which must not reach iconv_close.
  return Converter(converter == reinterpret_cast<iconv_t>(-1) ? nullptr : converter);
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t'\"");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t'\"") - first + 1);
}

}  // namespace

std::string charset_of(const Headers& headers) {
  const std::string type = headers.get("Content-Type");
  std::string_view rest = type;
  for (auto semicolon = rest.find(';'); semicolon != rest.npos; semicolon = rest.find(';')) {
    rest.remove_prefix(semicolon + 1);
    const std::string_view parameter = rest.substr(0, rest.find(';'));
    const auto equals = parameter.find('=');
    if (equals != parameter.npos &&
        equal_ignoring_case(trim(parameter.substr(0, equals)), "charset"))
      return std::string(trim(parameter.substr(equals + 1)));
  }
  return {};
}

std::string decode(std::string_view bytes, const std::string& charset) {
  Converter converter = open_converter(charset.empty() ? "UTF-8" : charset.c_str());
  if (!converter) converter = open_converter("UTF-8");
  if (!converter) return std::string(bytes);

  std::string text;
  text.reserve(bytes.size());
  std::array<char, 4096> block;
  char* in = const_cast<char*>(bytes.data());  // iconv's signature; it does not write there
  std::size_t in_left = bytes.size();
  while (in_left > 0) {
    char* out = block.data();
    std::size_t out_left = block.size();
    const std::size_t converted = iconv(converter.get(), &in, &in_left, &out, &out_left);
    const int error = errno;
    text.append(block.data(), block.size() - out_left);
    if (converted == static_cast<std::size_t>(-1) && error != E2BIG) {
      text += "\xEF\xBF\xBD";
      if (error == EINVAL) break;  // cut off in the middle of the last character
      ++in;
      --in_left;
    }
  }
  return text;
}

}  // namespace fiber::http
