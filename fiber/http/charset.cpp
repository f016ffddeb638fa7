#include <fiber/http/charset.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <memory>
#include <type_traits>

#include <iconv.h>

namespace fiber::http {
namespace {

constexpr std::string_view blanks = " \t'\"";
constexpr std::string_view replacement = "\xEF\xBF\xBD";

struct Close {
  void operator()(void* converter) const noexcept { iconv_close(converter); }
};
using Converter = std::unique_ptr<std::remove_pointer_t<iconv_t>, Close>;

Converter open_converter(const char* charset) {
  iconv_t converter = iconv_open("UTF-8", charset);
  // iconv reports failure by -1, which must not reach iconv_close.
  return Converter(converter == reinterpret_cast<iconv_t>(-1) ? nullptr : converter);
}

// Returns the letters and digits of a name in lower case: "UTF_8", "utf8" and "Utf-8" are one name.
// Returns "" if a character is neither alphanumeric nor ignored by Python (a NUL, a slash).
std::string normalised(std::string_view charset) {
  std::string name;
  for (const char c : charset) {
    if (is_alphanumeric(c))
      name += lower(c);
    else if (c != '-' && c != '_' && c != ' ' && c != '.' && c != ':')
      return {};
  }
  return name;
}

// The charsets that Python knows, by their normalised names, and iconv's names for them. Only these
// are open to a server's choice: iconv has converters that read or write out of bounds, takes
// options after a slash, and looks for a file of the name.
struct Known {
  std::string_view name;
  const char* iconv_name;
};
constexpr Known known[] = {
    {"big5", "BIG5"},
    {"big5hkscs", "BIG5-HKSCS"},
    {"big5tw", "BIG5"},
    {"cp037", "CP037"},
    {"cp1006", "CP1006"},
    {"cp1026", "CP1026"},
    {"cp1125", "CP1125"},
    {"cp1140", "CP1140"},
    {"cp273", "CP273"},
    {"cp424", "CP424"},
    {"cp437", "CP437"},
    {"cp500", "CP500"},
    {"cp737", "CP737"},
    {"cp775", "CP775"},
    {"cp850", "CP850"},
    {"cp852", "CP852"},
    {"cp855", "CP855"},
    {"cp857", "CP857"},
    {"cp858", "CP858"},
    {"cp860", "CP860"},
    {"cp861", "CP861"},
    {"cp862", "CP862"},
    {"cp863", "CP863"},
    {"cp864", "CP864"},
    {"cp865", "CP865"},
    {"cp866", "CP866"},
    {"cp869", "CP869"},
    {"cp874", "CP874"},
    {"cp932", "CP932"},
    {"cp936", "CP936"},
    {"cp949", "CP949"},
    {"cp950", "CP950"},
    {"cyrillic", "ISO-8859-5"},
    {"eucjp", "EUC-JP"},
    {"eucjis2004", "EUC-JISX0213"},
    {"eucjisx0213", "EUC-JISX0213"},
    {"euckr", "EUC-KR"},
    {"gb18030", "GB18030"},
    {"gb2312", "GB2312"},
    {"gb231280", "GB2312"},
    {"gbk", "GBK"},
    {"greek", "ISO-8859-7"},
    {"hebrew", "ISO-8859-8"},
    {"arabic", "ISO-8859-6"},
    {"iso2022jp", "ISO-2022-JP"},
    {"iso2022jp2", "ISO-2022-JP-2"},
    {"iso2022kr", "ISO-2022-KR"},
    {"johab", "JOHAB"},
    {"koi8r", "KOI8-R"},
    {"koi8t", "KOI8-T"},
    {"koi8u", "KOI8-U"},
    {"ksc56011987", "EUC-KR"},
    {"maccyrillic", "MAC-CYRILLIC"},
    {"macintosh", "MACINTOSH"},
    {"macroman", "MACINTOSH"},
    {"ptcp154", "PT154"},
    {"shiftjis", "SHIFT_JIS"},
    {"shiftjisx0213", "SHIFT_JISX0213"},
    {"sjis", "SHIFT_JIS"},
    {"tis620", "TIS-620"},
    {"uhc", "CP949"},
    {"ujis", "EUC-JP"},
    {"usascii", "ASCII"},
    {"ascii", "ASCII"},
    {"646", "ASCII"},
    {"utf16", "UTF-16"},
    {"u16", "UTF-16"},
    {"utf16be", "UTF-16BE"},
    {"utf16le", "UTF-16LE"},
    {"utf32", "UTF-32"},
    {"u32", "UTF-32"},
    {"utf32be", "UTF-32BE"},
    {"utf32le", "UTF-32LE"},
    {"utf7", "UTF-7"},
};

// Python's further names of the charsets above and of the numbered families below.
struct Alias {
  std::string_view alias, name;
};
constexpr Alias aliases[] = {{"8859", "iso88591"},
                             {"936", "gbk"},
                             {"ansix341968", "ascii"},
                             {"ansix341986", "ascii"},
                             {"asmo708", "iso88596"},
                             {"chinese", "gb2312"},
                             {"cp1361", "johab"},
                             {"cp154", "ptcp154"},
                             {"cp367", "ascii"},
                             {"cp819", "iso88591"},
                             {"cp866u", "cp1125"},
                             {"cpgr", "cp869"},
                             {"cpis", "cp861"},
                             {"csascii", "ascii"},
                             {"csbig5", "big5"},
                             {"csiso2022jp", "iso2022jp"},
                             {"csiso2022kr", "iso2022kr"},
                             {"csiso58gb231280", "gb2312"},
                             {"csisolatin1", "iso88591"},
                             {"csisolatin2", "iso88592"},
                             {"csisolatin3", "iso88593"},
                             {"csisolatin4", "iso88594"},
                             {"csisolatin5", "iso88599"},
                             {"csisolatin6", "iso885910"},
                             {"csisolatinarabic", "iso88596"},
                             {"csisolatincyrillic", "iso88595"},
                             {"csisolatingreek", "iso88597"},
                             {"csisolatinhebrew", "iso88598"},
                             {"cskoi8r", "koi8r"},
                             {"cspc775baltic", "cp775"},
                             {"cspc850multilingual", "cp850"},
                             {"cspc862latinhebrew", "cp862"},
                             {"cspc8codepage437", "cp437"},
                             {"cspcp852", "cp852"},
                             {"csptcp154", "ptcp154"},
                             {"csshiftjis", "shiftjis"},
                             {"cyrillicasian", "ptcp154"},
                             {"ebcdiccpbe", "cp500"},
                             {"ebcdiccpca", "cp037"},
                             {"ebcdiccpch", "cp500"},
                             {"ebcdiccphe", "cp424"},
                             {"ebcdiccpnl", "cp037"},
                             {"ebcdiccpus", "cp037"},
                             {"ebcdiccpwt", "cp037"},
                             {"ecma114", "iso88596"},
                             {"ecma118", "iso88597"},
                             {"elot928", "iso88597"},
                             {"euccn", "gb2312"},
                             {"eucgb2312cn", "gb2312"},
                             {"gb180302000", "gb18030"},
                             {"gb23121980", "gb2312"},
                             {"greek8", "iso88597"},
                             {"hkscs", "big5hkscs"},
                             {"ibm039", "cp037"},
                             {"ibm367", "ascii"},
                             {"ibm819", "iso88591"},
                             {"iso646irv1991", "ascii"},
                             {"iso646us", "ascii"},
                             {"iso8859101992", "iso885910"},
                             {"iso8859112001", "iso885911"},
                             {"iso885911987", "iso88591"},
                             {"iso8859141998", "iso885914"},
                             {"iso8859162001", "iso885916"},
                             {"iso885921987", "iso88592"},
                             {"iso885931988", "iso88593"},
                             {"iso885941988", "iso88594"},
                             {"iso885951988", "iso88595"},
                             {"iso885961987", "iso88596"},
                             {"iso885971987", "iso88597"},
                             {"iso885981988", "iso88598"},
                             {"iso885991989", "iso88599"},
                             {"isoceltic", "iso885914"},
                             {"isoir100", "iso88591"},
                             {"isoir101", "iso88592"},
                             {"isoir109", "iso88593"},
                             {"isoir110", "iso88594"},
                             {"isoir126", "iso88597"},
                             {"isoir127", "iso88596"},
                             {"isoir138", "iso88598"},
                             {"isoir144", "iso88595"},
                             {"isoir148", "iso88599"},
                             {"isoir157", "iso885910"},
                             {"isoir166", "tis620"},
                             {"isoir199", "iso885914"},
                             {"isoir226", "iso885916"},
                             {"isoir58", "gb2312"},
                             {"isoir6", "ascii"},
                             {"jisx0213", "eucjis2004"},
                             {"korean", "euckr"},
                             {"ksc5601", "euckr"},
                             {"ksx1001", "euckr"},
                             {"latin", "iso88591"},
                             {"ms1361", "johab"},
                             {"ms932", "cp932"},
                             {"ms936", "gbk"},
                             {"ms949", "cp949"},
                             {"ms950", "cp950"},
                             {"mskanji", "cp932"},
                             {"pt154", "ptcp154"},
                             {"ruscii", "cp1125"},
                             {"sjisx0213", "shiftjisx0213"},
                             {"thai", "iso885911"},
                             {"tis6200", "tis620"},
                             {"tis62025290", "tis620"},
                             {"tis62025291", "tis620"},
                             {"u7", "utf7"},
                             {"unicode11utf7", "utf7"},
                             {"unicodebigunmarked", "utf16be"},
                             {"unicodelittleunmarked", "utf16le"},
                             {"us", "ascii"},
                             {"xmacjapanese", "shiftjis"},
                             {"xmackorean", "euckr"},
                             {"xmacsimpchinese", "gb2312"},
                             {"xmactradchinese", "big5"}};

// Returns the name under which a charset is known: "cp850" for "ibm850", "csibm850" and "850".
std::string usual_name(std::string_view name) {
  const auto found = std::find_if(std::begin(aliases), std::end(aliases),
                                  [&](const Alias& one) { return one.alias == name; });
  if (found != std::end(aliases)) return std::string(found->name);
  std::string_view number = name.substr(name.starts_with("cs") ? 2 : 0);
  if (number.starts_with("ibm")) number.remove_prefix(3);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool is_page = number.size() >= 3 && std::all_of(number.begin(), number.end(), is_digit) &&
                       name != "646" && !name.starts_with("8859");
  return is_page ? "cp" + std::string(number) : std::string(name);
}

// Python's names of UTF-8, normalised.
constexpr std::string_view utf8_names[] = {"utf8",     "u8",      "utf",    "utf8ucs2",
                                           "utf8ucs4", "cp65001", "utf8sig"};

// Returns iconv's name of the charset, "" for UTF-8 and for an unknown charset.
std::string iconv_name(std::string_view charset) {
  const std::string name = usual_name(normalised(charset));
  const auto found = std::find_if(std::begin(known), std::end(known),
                                  [&](const Known& k) { return k.name == name; });
  if (found != std::end(known)) return found->iconv_name;
  // Numbered families: iso-8859-1 to 16, windows-1250 to 1258, latin1 to 10.
  const auto number_after = [&](std::string_view prefix) {
    if (!name.starts_with(prefix) || name.size() > prefix.size() + 4) return 0;
    int number = 0;
    for (const char c : std::string_view(name).substr(prefix.size())) {
      if (c < '0' || c > '9') return 0;
      number = number * 10 + (c - '0');
    }
    return number;
  };
  int part = number_after("iso8859");
  if (part == 0) part = number_after("8859");
  if (part >= 1 && part <= 16 && part != 12) return "ISO-8859-" + std::to_string(part);
  int page = number_after("windows");
  if (page == 0) page = number_after("cp");
  if (page >= 1250 && page <= 1258) return "CP" + std::to_string(page);
  static constexpr int latin[] = {1, 2, 3, 4, 9, 10, 13, 14, 15, 16};
  int order = number_after("latin");
  if (order == 0) order = number_after("l");
  if (order >= 1 && order <= 10) return "ISO-8859-" + std::to_string(latin[order - 1]);
  return {};
}

// Returns the number of bytes of the first character of `text`, which is not empty. If it is
// malformed, sets `valid` to false and returns the size of Unicode's maximal subpart, as in Python.
std::size_t utf8_character(std::string_view text, bool& valid) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  valid = first < 0x80;
  if (first < 0xC2 || first > 0xF4) return 1;
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  unsigned low = 0x80, high = 0xBF;  // of the second byte: no overlong forms, no surrogates
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  std::size_t size = 1;
  for (; size < length && size < text.size(); ++size, low = 0x80, high = 0xBF)
    if (byte(size) < low || byte(size) > high) return size;
  valid = size == length;
  return size;
}

std::string decode_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    bool valid = false;
    const std::size_t size = utf8_character(bytes, valid);
    text += valid ? bytes.substr(0, size) : replacement;
    bytes.remove_prefix(size);
  }
  return text;
}

// Bytes of ASCII that iconv takes for the letters of a national variant.
struct Variant {
  std::string_view charset, letter;
  char ascii;
};
constexpr Variant variants[] = {
    {"SHIFT_JIS", "\u00a5", '\\'}, {"SHIFT_JIS", "\u203e", '~'}, {"JOHAB", "\u20a9", '\\'}};

// Puts ASCII, as in Python, in the places of these letters, which have no other code there.
void restore_ascii(std::string& text, std::string_view charset) {
  for (const Variant& variant : variants)
    if (variant.charset == charset)
      for (auto at = text.find(variant.letter); at != text.npos; at = text.find(variant.letter, at))
        text.replace(at, variant.letter.size(), 1, variant.ascii);
}

// Returns the bytes that a malformed character takes with it: what follows it stays aligned.
std::ptrdiff_t unit_of(std::string_view charset) noexcept {
  return charset.starts_with("UTF-16") ? 2 : charset.starts_with("UTF-32") ? 4 : 1;
}

std::string decode_by(iconv_t converter, std::string_view bytes, std::ptrdiff_t unit) {
  // Zeros behind the text: some converters look one character ahead.
  static constexpr std::size_t padding = 32;
  std::string padded;
  padded.reserve(bytes.size() + padding);
  padded.append(bytes).append(padding, '\0');
  std::string text;
  text.reserve(bytes.size());
  char block[1024];
  char* in = padded.data();
  const char* const end = in + bytes.size();
  while (in < end) {
    char* out = block;
    std::size_t in_left = static_cast<std::size_t>(end - in), out_left = sizeof block;
    const std::size_t converted = iconv(converter, &in, &in_left, &out, &out_left);
    const int error = errno;
    text.append(block, sizeof block - out_left);
    if (converted != static_cast<std::size_t>(-1) || error == E2BIG) continue;
    text += replacement;
    if (error != EILSEQ) return text;  // cut off in the middle of the last character
    in += std::min(unit, end - in);
  }
  // Writes the character that the converter holds back: in some charsets the next may change it.
  char* out = block;
  std::size_t out_left = sizeof block;
  iconv(converter, nullptr, nullptr, &out, &out_left);
  return text.append(block, sizeof block - out_left);
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
        equal_ignoring_case(strip(parameter.substr(0, equals), blanks), "charset"))
      return std::string(strip(parameter.substr(equals + 1), blanks));
  }
  return {};
}

std::string decode(std::string_view bytes, const std::string& charset) {
  if (equal_ignoring_case(charset, "utf-8-sig") && bytes.starts_with("\xEF\xBB\xBF"))
    bytes.remove_prefix(3);
  const std::string name = iconv_name(charset);
  if (name.empty()) return decode_utf8(bytes);
  const Converter converter = open_converter(name.c_str());
  if (!converter) return decode_utf8(bytes);
  std::string text = decode_by(converter.get(), bytes, unit_of(name));
  restore_ascii(text, name);
  return text;
}

void check_charset(const std::string& charset) {
  if (charset.find('\0') != charset.npos) throw ValueError("embedded null character");
  const bool known_as_utf8 =
      std::ranges::find(utf8_names, normalised(charset)) != std::end(utf8_names);
  if (!known_as_utf8 && iconv_name(charset).empty())
    throw LookupError("unknown encoding: " + charset);
}

bool is_utf8(const std::string& charset) { return iconv_name(charset).empty(); }

std::string guess_json_utf(std::string_view bytes) {
  using namespace std::string_view_literals;
  const std::string_view sample = bytes.substr(0, 4);
  if (sample == "\xFF\xFE\0\0"sv || sample == "\0\0\xFE\xFF"sv) return "utf-32";
  if (sample.starts_with("\xEF\xBB\xBF")) return "utf-8-sig";
  if (sample.starts_with("\xFF\xFE") || sample.starts_with("\xFE\xFF")) return "utf-16";
  const auto zeros = std::count(sample.begin(), sample.end(), '\0');
  const auto zero = [&](std::size_t i) { return i < sample.size() && sample[i] == '\0'; };
  if (zeros == 0) return "utf-8";
  if (zeros == 2 && zero(0) && zero(2)) return "utf-16-be";
  if (zeros == 2 && zero(1) && zero(3)) return "utf-16-le";
  if (zeros == 3 && zero(0) && zero(1) && zero(2)) return "utf-32-be";
  if (zeros == 3 && zero(1) && zero(2) && zero(3)) return "utf-32-le";
  return {};
}

std::string utf8_error(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    bool valid = false;
    const std::size_t size = utf8_character(bytes.substr(at), valid);
    if (valid) {
      at += size;
      continue;
    }
    static constexpr char hex[] = "0123456789abcdef";
    const auto first = static_cast<unsigned char>(bytes[at]);
    const char* why = first < 0xC2 || first > 0xF4 ? "invalid start byte"
                      : at + size == bytes.size()  ? "unexpected end of data"
                                                   : "invalid continuation byte";
    const std::string which =
        size == 1 ? std::string("byte 0x") + hex[first >> 4] + hex[first & 15] + " in position " +
                        std::to_string(at)
                  : "bytes in position " + std::to_string(at) + "-" + std::to_string(at + size - 1);
    return "'utf-8' codec can't decode " + which + ": " + why;
  }
  return {};
}

}  // namespace fiber::http
