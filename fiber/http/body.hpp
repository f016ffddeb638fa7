// The body of a request (`data=`).
#pragma once

#include <fiber/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::http {

/// Names and values in order, repeats allowed: {{"q", "a b"}, {"page", "2"}}.
using Params = std::vector<std::pair<std::string, std::string>>;

/// Returns name=value&name=value, quoted as by urllib.parse.urlencode ("a b" becomes "a+b").
FIBER_API std::string urlencode(const Params& params);

/// Produces the bytes of a body while the body is sent. An exception of its functions ends the
/// request and leaves the call that made the request.
class FIBER_API BodySource {
 public:
  virtual ~BodySource();
  /// The number of bytes; nothing if unknown: then the body is sent in chunks.
  virtual std::optional<std::uint64_t> size() const = 0;
  /// Puts up to `room` bytes, at least one, into `buffer`, and returns their number; 0 at the end.
  /// May wait.
  virtual std::size_t read(char* buffer, std::size_t room) = 0;
  /// Whether read() blocks its thread and nothing else: then calls, one at a time, may be made on
  /// any thread. A request that was given up may still be reading when the next one begins; see
  /// detail::one_at_a_time() for the sources that the library makes.
  virtual bool blocks() const { return false; }
  /// Goes back to the first byte, for a redirect or another try; false if that is impossible.
  virtual bool rewind() = 0;
};

namespace detail {

/// Makes a source of the pieces that `next` returns, "" at the end. `next` is called when there is
/// room to send.
FIBER_API std::shared_ptr<BodySource> source_of(std::function<std::string()> next);
/// Makes a source of the rest of a stream; null of a null pointer.
FIBER_API std::shared_ptr<BodySource> source_of(std::shared_ptr<std::istream> stream);
/// Makes a source of one that blocks(), for several threads: while one reads, a second read()
/// waits, and rewind() does not: it leaves its work to the next read().
std::shared_ptr<BodySource> one_at_a_time(std::shared_ptr<BodySource> source);

template <class Function>
concept Pieces =
    std::is_invocable_r_v<std::string, Function&> &&
    !std::convertible_to<Function, std::string_view> && !std::convertible_to<Function, std::string>;
template <class Range>
concept Texts = std::ranges::input_range<Range> &&
                std::convertible_to<std::ranges::range_reference_t<Range>, std::string_view> &&
                !std::convertible_to<Range, std::string_view>;

/// Returns a function that returns the next text that is not empty, "" at the end.
template <class Range>
std::function<std::string()> pieces_of(Range range) {
  struct State {
    Range range;
    std::optional<std::ranges::iterator_t<Range>> at = {};
  };
  return [state = std::make_shared<State>(State{std::move(range)})]() -> std::string {
    for (;;) {
      if (state->at)
        ++*state->at;
      else
        state->at.emplace(std::ranges::begin(state->range));
      if (*state->at == std::ranges::end(state->range)) return {};
      if (const std::string_view piece = **state->at; !piece.empty()) return std::string(piece);
    }
  };
}

}  // namespace detail

/// Bytes as they are; Params, which become a form; or a source, which is read while it is sent: a
/// file (std::ifstream, from its position to its end), a function that returns one piece after the
/// other and "" at the end, a range of strings such as a Generator<std::string>.
/// Copies are cheap, and share the source.
class FIBER_API Body {
 public:
  Body() = default;
  // NOLINTBEGIN(google-explicit-constructor)
  Body(std::string bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {}
  Body(std::string_view bytes) : Body(std::string(bytes)) {}
  Body(const char* text) : Body(std::string(text)) {}
  Body(const Params& form);
  Body(std::string bytes, std::string content_type)
      : bytes_(std::make_shared<const std::string>(std::move(bytes))),
        content_type_(std::move(content_type)) {}
  Body(std::shared_ptr<BodySource> source, std::string content_type = {})
      : source_(std::move(source)), content_type_(std::move(content_type)) {}
  Body(std::shared_ptr<std::istream> stream) : source_(detail::source_of(std::move(stream))) {}
  template <std::derived_from<std::istream> Stream>
  Body(Stream stream) : Body(std::shared_ptr<std::istream>(new Stream(std::move(stream)))) {}
  template <detail::Pieces Function>
  Body(Function next) : source_(detail::source_of(std::function<std::string()>(std::move(next)))) {}
  template <detail::Texts Range>
    requires(!detail::Pieces<Range>)
  Body(Range range) : source_(detail::source_of(detail::pieces_of(std::move(range)))) {}
  // NOLINTEND(google-explicit-constructor)

  /// The bytes of the body; "" for a source that is read while it is sent.
  const std::string& bytes() const noexcept;
  /// The source of the body; null for bytes and forms.
  const std::shared_ptr<BodySource>& source() const noexcept { return source_; }
  /// The names and values of a form.
  const std::optional<Params>& form() const noexcept { return form_; }
  /// The Content-Type to send unless the caller names one; "" for plain bytes.
  const std::string& content_type() const noexcept { return content_type_; }
  explicit operator bool() const noexcept { return bytes_ || source_; }

 private:
  std::shared_ptr<const std::string> bytes_;
  std::shared_ptr<BodySource> source_;
  std::optional<Params> form_;
  std::string content_type_;
};

}  // namespace fiber::http
