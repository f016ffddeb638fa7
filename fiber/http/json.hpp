// JSON to and from the network, with the values of nlohmann-json. Where the headers of
// nlohmann-json are missing, or FIBER_HTTP_NO_JSON is defined (as by a library that was configured
// with -Djson=disabled), there is no json(), and no constructor of Json takes a value.
//
// This header needs only the forward declarations: code that makes or takes a value includes
// <nlohmann/json.hpp>. Everything that depends on the version of nlohmann-json is compiled there.
#pragma once

#include <fiber/exceptions.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if !defined(FIBER_HTTP_NO_JSON) && __has_include(<nlohmann/json_fwd.hpp>)
#include <nlohmann/json_fwd.hpp>
#define FIBER_HTTP_JSON
#endif

namespace fiber::http {

/// The fault by which a text is not JSON, with its place, in Python's terms.
struct JsonFault {
  std::string msg;     ///< "Expecting value"
  std::string doc;     ///< the text, UTF-8
  std::size_t pos;     ///< in characters, from 0
  std::size_t lineno;  ///< from 1
  std::size_t colno;   ///< in characters, from 1

  /// "Expecting value: line 1 column 1 (char 0)"
  FIBER_API std::string text() const;
};

/// The members of exceptions that tell where a text stops being JSON. Copying never throws.
class FIBER_API JsonFaultMembers {
 public:
  const std::string& msg() const noexcept { return fault_->msg; }  ///< "Expecting value"
  const std::string& doc() const noexcept { return fault_->doc; }  ///< the text that is no JSON
  std::size_t pos() const noexcept { return fault_->pos; }  ///< the place in characters, from 0
  std::size_t lineno() const noexcept { return fault_->lineno; }  ///< the line, from 1
  /// The place in the line in characters, from 1.
  std::size_t colno() const noexcept { return fault_->colno; }

 protected:
  explicit JsonFaultMembers(JsonFault fault)
      : fault_(std::make_shared<const JsonFault>(std::move(fault))) {}

 private:
  std::shared_ptr<const JsonFault> fault_;
};

/// A ValueError that says where a text stops being JSON. Python: json.JSONDecodeError.
class FIBER_API JSONDecodeError : public ValueError, public JsonFaultMembers {
 public:
  explicit JSONDecodeError(JsonFault fault);
  ~JSONDecodeError() override;
};

namespace detail {

// Writes as json.dumps() does: ", " and ": " between, ASCII alone, floats as Python's repr().
class FIBER_API JsonWriter {
 public:
  void open(bool object);
  void close(bool object);
  void key(std::string_view name);
  void item();  // begins another element of an array
  void string(std::string_view text);
  void number(std::int64_t value);
  void number(std::uint64_t value);
  void number(double value);
  void word(const char* text);

  std::string text;
  std::string error;   // a string was not UTF-8
  bool finite = true;  // no NaN, no infinity

 private:
  void separate();
  bool first_ = true;
};

template <class Value>
void write_scalar(JsonWriter& out, const Value& value) {
  if (value.is_string())
    out.string(value.template get_ref<const typename Value::string_t&>());
  else if (value.is_number_float())
    out.number(static_cast<double>(value.template get<typename Value::number_float_t>()));
  else if (value.is_number_unsigned())
    out.number(value.template get<std::uint64_t>());
  else if (value.is_number_integer())
    out.number(value.template get<std::int64_t>());
  else if (value.is_boolean())
    out.word(value.template get<bool>() ? "true" : "false");
  else if (value.is_null())
    out.word("null");
  else
    throw TypeError("Object of type bytes is not JSON serializable");
}

// Writes `root` without recursion: deeply nested values take no more of the stack.
template <class Value>
void write_json(JsonWriter& out, const Value& root) {
  struct Level {
    typename Value::const_iterator at, end;
    bool object;
  };
  std::vector<Level> levels;
  for (const Value* value = &root;;) {
    if (value->is_structured()) {
      out.open(value->is_object());
      levels.push_back({value->cbegin(), value->cend(), value->is_object()});
    } else {
      write_scalar(out, *value);
    }
    while (!levels.empty() && levels.back().at == levels.back().end) {
      out.close(levels.back().object);
      levels.pop_back();
    }
    if (levels.empty()) return;
    Level& level = levels.back();
    if (level.object)
      out.key(level.at.key());
    else
      out.item();
    value = &*level.at;
    ++level.at;
  }
}

template <class Value>
concept JsonValue = requires(const Value& value) {
  typename Value::value_t;
  value.is_structured();
  value.is_number_float();
};

// Returns false for a text that json_fault() refuses though nlohmann's parser may accept it: one
// with a zero byte, with a byte order mark, or nested more than 500 deep.
FIBER_API bool may_be_json(std::string_view text) noexcept;

/// Returns `text` parsed. If `text` is not JSON, calls `refuse(text)`, which throws.
template <class Value, class Refuse>
Value parse_json(std::string_view text, Refuse refuse) {
  if (may_be_json(text)) {
    Value value = Value::parse(text.begin(), text.end(), nullptr, false);
    if (!value.is_discarded()) return value;
  }
  refuse(text);
  return Value();
}

}  // namespace detail

/// A value to send as JSON (`json=`): {.json = nlohmann::json{{"a", 1}}}. Takes nlohmann::json,
/// nlohmann::ordered_json, which keeps the order of Python's dict, and any other basic_json.
/// The text is made at once. Null is None: nothing is sent.
class FIBER_API Json {
 public:
  Json() = default;
#ifdef FIBER_HTTP_JSON
  /// Throws TypeError for a value with binary data in it.
  template <detail::JsonValue Value>
  Json(const Value& value)  // NOLINT(google-explicit-constructor)
      : given_(!value.is_null()) {
    detail::JsonWriter out;
    detail::write_json(out, value);
    text_ = std::move(out.text);
    error_ = std::move(out.error);
    finite_ = out.finite;
  }
#endif

  /// The text as json.dumps() writes it: ASCII.
  const std::string& text() const noexcept { return text_; }
  /// Why there is no text: a string was not UTF-8; else "".
  const std::string& error() const noexcept { return error_; }
  /// Whether the value has neither NaN nor an infinity in it.
  bool finite() const noexcept { return finite_; }
  explicit operator bool() const noexcept { return given_; }

 private:
  std::string text_, error_;
  bool finite_ = true;
  bool given_ = false;
};

/// Returns why `text`, which is UTF-8, is not JSON. Python's NaN and Infinity are no JSON, nor are
/// numbers beyond the range of double and halves of surrogate pairs. Values that are nested more
/// than 500 deep are refused, too: code that copies them recursively would need a large stack.
FIBER_API JsonFault json_fault(std::string_view text);

}  // namespace fiber::http
