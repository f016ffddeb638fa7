// The small languages inside HTTP. The first line is parsed in each of them.
#include <fiber/exceptions.hpp>
#include <fiber/http/charset.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/pattern.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/http/websocket.hpp>

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace http = fiber::http;

namespace {

constexpr const char* charsets[] = {"utf-8",     "utf-16",    "utf-32",      "iso-8859-1", "cp1252",
                                    "shift_jis", "gb18030",   "iso-2022-jp", "hz",         "utf-7",
                                    "euc-kr",    "utf-8-sig", "big5",        "koi8-r"};

void match(std::string_view pattern, std::string_view text) {
  http::Pattern expression;
  try {
    expression.add_literal("/");
    expression.add_group(pattern);
  } catch (const fiber::ValueError&) {
    return;
  }
  std::vector<std::string_view> groups;
  const std::string whole = "/" + std::string(text);
  if (!expression.match(whole, groups)) return;
  fuzz::require(groups.size() == 1, "another number of groups");
  fuzz::require(groups[0] == text, "a group that is not all that is left");
}

void texts(std::string_view data) {
  const std::size_t end = std::min(data.find('\n'), data.size());
  const std::string_view line = data.substr(0, end);
  const std::string_view rest = data.substr(std::min(end + 1, data.size()));

  fuzz::require_same(http::valid_utf8(data), http::unquote(http::quote(data)), "quoting");
  fuzz::require(http::is_valid_utf8(http::valid_utf8(data)), "valid_utf8() is not");
  fuzz::require(http::is_valid_utf8(http::unquote(data, true)), "unquoted text is not UTF-8");
  http::parse_form(data, false, data.size());
  http::parse_form(data, true, data.size());
  http::parse_cookies(line);
  for (const std::string_view item : http::split_list(line))
    fuzz::require(!item.empty(), "an empty part of a list");
  http::list_has(line, "chunked");
  http::parse_media_type(line);
  if (const auto seconds = http::parse_date(line))
    fuzz::require(http::parse_date(http::format_date(*seconds)) == seconds, "a date changes");
  http::base64_decode(line);
  fuzz::require(http::html_escape(data).find_first_of("<>\"") == std::string::npos, "not escaped");
  http::DeflateTerms terms;
  const std::string answer = http::answer_extensions(line, terms);
  fuzz::require(fuzz::is_one_line(answer), "a line break in Sec-WebSocket-Extensions");
  http::accept_extensions(line, terms);
  http::utf8_error(data);
  http::guess_json_utf(data);
  const char* charset = charsets[data.size() % std::size(charsets)];
  fuzz::require(http::utf8_error(http::decode(data, charset)).empty(), "decoded, and not UTF-8");
  http::decode(rest.substr(0, 100), std::string(line));
  match(line, rest.substr(0, 300));
}

}  // namespace

FUZZ_TARGET(texts)
