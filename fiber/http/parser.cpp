#include <fiber/http/parser.hpp>

#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

// C++20 has no std::result_of; Asio 1.74 asks for its successor under this name alone.
#define BOOST_ASIO_HAS_STD_INVOKE_RESULT 1
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

namespace fiber::http {
namespace {

namespace beast = boost::beast::http;
using boost::beast::error_code;

std::string_view of(boost::beast::string_view text) noexcept { return {text.data(), text.size()}; }

constexpr std::size_t kLineEnd = 2;

bool all_digits(std::string_view text) noexcept {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Refuses LF without CR, and folded lines. Beast's parser refuses other control characters.
const char* fault_of_lines(std::string_view head) noexcept {
  const char* at = head.data();
  const char* const end = at + head.size();
  while (at < end) {
    const void* found = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
    if (found == nullptr) break;
    const char* newline = static_cast<const char*>(found);
    if (newline == head.data() || newline[-1] != '\r') return "a line ends in LF alone";
    at = newline + 1;
    if (at < end && (*at == ' ' || *at == '\t')) return "a header field is folded";
  }
  return nullptr;
}

// Whether the target has one of the four forms (RFC 9112, 3.2).
bool is_target(std::string_view method, std::string_view target) noexcept {
  if (target.starts_with('/') || target == "*" || method == "CONNECT") return true;
  const std::size_t host = target.find("://");
  if (host >= target.find_first_of("/?#")) return false;
  // RFC 9110, 4.2.1: a host that is empty is no host.
  return target.find_first_of("/?#", host + 3) != host + 3 && target.size() > host + 3;
}

}  // namespace

std::string_view Head::field(std::string_view name) const noexcept {
  for (const FieldView& one : fields)
    if (equal_ignoring_case(one.name, name)) return one.value;
  return {};
}

bool Head::has(std::string_view name) const noexcept {
  return std::any_of(fields.begin(), fields.end(),
                     [&](const FieldView& one) { return equal_ignoring_case(one.name, name); });
}

std::size_t end_of_head(std::string_view bytes, std::size_t from) noexcept {
  from = from > 3 ? from - 3 : 0;
  if (bytes.size() < from + 4) return 0;
  const void* found = ::memmem(bytes.data() + from, bytes.size() - from, "\r\n\r\n", 4);
  if (found == nullptr) return 0;
  return static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data()) + 4;
}

// --- callbacks of Beast's parser ----------------------------------------------------------------

// The part that requests and responses share; has the rules that are stricter than Beast's.
struct MessageParser::Beast {
  explicit Beast(const HeadLimits& its_limits) : limits(its_limits) {}
  Beast(const Beast&) = delete;
  Beast& operator=(const Beast&) = delete;
  virtual ~Beast() = default;

  // Begins a new message.
  virtual void restart(bool bodiless) = 0;
  virtual std::size_t put(std::string_view bytes, error_code& error) = 0;
  virtual void put_eof(error_code& error) = 0;
  virtual bool is_done() const = 0;
  virtual bool is_header_done() const = 0;
  virtual bool keeps_alive() const = 0;

  void begin(Head& out) {
    head = &out;
    out.method = out.target = out.reason = {};
    out.status = 0;
    out.fields.clear();
    out.content_length.reset();
    out.chunked = out.keep_alive = out.upgrade = out.expects = out.encoded = false;
    fault = {};
    data = {};
    upgrades = connection_upgrade = false;
    hosts = 0;
    chunk_left = 0;
  }

  void refuse(int status, std::string text, error_code& error) {
    if (!fault) fault = {.status = status, .text = std::move(text)};
    error = beast::error::bad_value;
  }

  void field(beast::field known, std::string_view name, std::string_view value, error_code& error) {
    if (head == nullptr) {  // a trailer
      if (++trailers > limits.fields) refuse(400, "too many trailers", error);
      return;
    }
    if (head->fields.size() >= limits.fields)
      return refuse(431, "more than " + std::to_string(limits.fields) + " header fields", error);
    if (name.size() + value.size() > limits.field)
      return refuse(431, "a header field is longer than " + std::to_string(limits.field) + " bytes",
                    error);
    switch (known) {
      case beast::field::content_length:
        if (head->content_length) return refuse(400, "Content-Length is given twice", error);
        if (!all_digits(value)) return refuse(400, "Content-Length is not a number", error);
        head->content_length = 0;  // head() sets the value, once the parser has checked it
        break;
      case beast::field::transfer_encoding:
        if (head->chunked || !equal_ignoring_case(value, "chunked"))
          return refuse(400, "Transfer-Encoding is not `chunked`", error);
        if (head->version < 11) return refuse(400, "Transfer-Encoding in HTTP/1.0", error);
        head->chunked = true;
        break;
      case beast::field::host: ++hosts; break;
      case beast::field::expect: head->expects = true; break;
      case beast::field::content_encoding: head->encoded = true; break;
      case beast::field::upgrade: upgrades = true; break;
      default: break;
    }
    head->fields.push_back({name, value});
  }

  void chunk(std::uint64_t size, std::string_view extension, error_code& error) {
    chunk_left = size;
    constexpr std::string_view kForbidden("\r\n\0", 3);
    if (extension.find_first_of(kForbidden) != std::string_view::npos)
      refuse(400, "a chunk's extension has a line break", error);
  }

  HeadLimits limits;
  Head* head = nullptr;  // null once the head is complete
  ProtocolFault fault;
  std::string_view data;  // the data of the body that the last put() found
  std::size_t trailers = 0;
  std::size_t hosts = 0;
  std::uint64_t chunk_left = 0;  // bytes of the current chunk that are missing
  bool in_chunks = false;        // the body is chunked
  bool upgrades = false;
  bool connection_upgrade = false;
};

namespace {

// Passes the callbacks of Beast's parser on to `Owner`.
template <bool IsRequest, class Owner>
class Parser final : public beast::basic_parser<IsRequest> {
 public:
  explicit Parser(Owner& owner, bool bodiless) : owner_(owner) {
    this->eager(false);
    this->header_limit(0xffff'ffff);                              // the limit is ours
    this->body_limit(std::numeric_limits<std::uint64_t>::max());  // the limit is the reader's
    if (bodiless) this->skip(true);
  }

 private:
  using string = boost::beast::string_view;
  void on_request_impl(beast::verb, string method, string target, int version,
                       error_code&) override {
    owner_.head->method = of(method);
    owner_.head->target = of(target);
    owner_.head->version = version;
  }
  void on_response_impl(int code, string reason, int version, error_code&) override {
    owner_.head->status = code;
    owner_.head->reason = of(reason);
    owner_.head->version = version;
  }
  void on_field_impl(beast::field known, string name, string value, error_code& error) override {
    owner_.field(known, of(name), of(value), error);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string body, error_code&) override {
    owner_.data = of(body);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t size, string extension, error_code& error) override {
    owner_.chunk(size, of(extension), error);
  }
  std::size_t on_chunk_body_impl(std::uint64_t, string body, error_code&) override {
    owner_.data = of(body);
    owner_.chunk_left -= body.size();
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  Owner& owner_;
};

// Implements the virtual functions of `Base` with Beast's parser of one kind of message.
template <bool IsRequest, class Base>
class OfKind : public Base {
 public:
  using Base::Base;
  void restart(bool bodiless) override { parser_.emplace(*this, bodiless); }
  std::size_t put(std::string_view bytes, error_code& error) override {
    return parser_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  }
  void put_eof(error_code& error) override { parser_->put_eof(error); }
  bool is_done() const override { return parser_->is_done(); }
  bool is_header_done() const override { return parser_->is_header_done(); }
  bool keeps_alive() const override { return parser_->keep_alive(); }

 private:
  std::optional<Parser<IsRequest, Base>> parser_;
};

}  // namespace

struct MessageParser::RequestBeast final : OfKind<true, Beast> {
  using OfKind::OfKind;
};

struct MessageParser::ResponseBeast final : OfKind<false, Beast> {
  using OfKind::OfKind;
};

// --- the parser ---------------------------------------------------------------------------------

MessageParser::MessageParser(Kind kind, HeadLimits limits) : kind_(kind), limits_(limits) {
  if (kind == Kind::request)
    beast_ = std::make_unique<RequestBeast>(limits);
  else
    beast_ = std::make_unique<ResponseBeast>(limits);
}
MessageParser::MessageParser(MessageParser&&) noexcept = default;
MessageParser& MessageParser::operator=(MessageParser&&) noexcept = default;
MessageParser::~MessageParser() = default;

bool MessageParser::head(std::string_view bytes, Head& out, bool bodiless) {
  Beast& beast = *beast_;
  beast.begin(out);
  fault_ = {};
  const auto refuse = [&](int status, std::string text) {
    beast.head = nullptr;
    fault_ = {.status = status, .text = std::move(text)};
    return false;
  };
  const std::size_t line = bytes.find('\n');
  if (line != std::string_view::npos && line > limits_.line + 1)  // CR is no part of the line
    return refuse(kind_ == Kind::request ? 414 : 400,
                  "the first line is longer than " + std::to_string(limits_.line) + " bytes");
  if (const char* text = fault_of_lines(bytes)) return refuse(400, text);
  beast.restart(bodiless);
  beast.trailers = 0;
  error_code error;
  std::size_t taken = 0;
  while (!error && !beast.is_header_done() && taken < bytes.size())
    taken += beast.put(bytes.substr(taken), error);
  if (beast.fault) return refuse(beast.fault.status, beast.fault.text);
  if (error == beast::error::bad_version) return refuse(505, "the HTTP version is not 1.0 or 1.1");
  if (error) return refuse(400, error.message());
  if (!beast.is_header_done() || taken != bytes.size())
    return refuse(400, "the head is incomplete");
  if (kind_ == Kind::request) {
    if (!is_target(out.method, out.target)) return refuse(400, "bad target");
    if (beast.hosts > 1) return refuse(400, "Host is given twice");
    if (beast.hosts == 0 && out.version >= 11) return refuse(400, "Host is missing");
    if (out.content_length && out.chunked)
      return refuse(400, "Content-Length beside Transfer-Encoding");
  }
  if (out.content_length) {
    std::uint64_t length = 0;
    for (const char digit : out.field("Content-Length"))
      length = length * 10 + static_cast<std::uint64_t>(digit - '0');
    out.content_length = length;
  }
  out.keep_alive = beast.keeps_alive();
  out.upgrade =
      beast.upgrades && std::any_of(out.fields.begin(), out.fields.end(), [](auto& one) {
        return equal_ignoring_case(one.name, "Connection") && list_has(one.value, "upgrade");
      });
  beast.head = nullptr;
  beast.in_chunks = out.chunked;
  return true;
}

// Returns the faults that show before the head of a chunk, or the trailers, are complete: Beast's
// parser would wait for more bytes.
const char* MessageParser::fault_of_chunk_head(std::string_view bytes) const noexcept {
  if (!beast_->in_chunks || beast_->chunk_left != 0) return nullptr;
  const std::string_view beginning = bytes.substr(0, limits_.line + 2 * kLineEnd);
  // The end of the chunk before may precede the head.
  const std::size_t from = beginning.starts_with("\r\n") ? kLineEnd : 0;
  const std::size_t end = beginning.find('\n', from);
  if (end == std::string_view::npos)
    return bytes.size() > beginning.size() ? "a chunk's head is too long" : nullptr;
  const std::string_view line = bytes.substr(from, end - from);
  if (!line.ends_with('\r')) return "a line ends in LF alone";
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quoted && line[i] == '\\')
      ++i;
    else if (line[i] == '"')
      quoted = !quoted;
  }
  if (quoted) return "a chunk's extension has a line break";
  const std::string_view size = line.substr(0, line.find_first_not_of("0123456789abcdefABCDEF"));
  if (size.empty() || size.find_first_not_of('0') != std::string_view::npos) return nullptr;
  const std::string_view trailers = bytes.substr(end + 1);
  const std::size_t ends = end_of_head(bytes, end - 1);
  return fault_of_lines(ends == 0 ? trailers : bytes.substr(end + 1, ends - end - 1));
}

bool MessageParser::step(std::string_view bytes, BodyStep& out) {
  Beast& beast = *beast_;
  out = {};
  // The head of a chunk, and the trailers, are parsed once they are whole, and must be short.
  while (!beast.is_done()) {
    if (out.consumed == bytes.size()) {
      out.need_more = true;
      return true;
    }
    error_code error;
    beast.data = {};
    const std::string_view rest = bytes.substr(out.consumed);
    if (const char* text = fault_of_chunk_head(rest)) {
      fault_ = {.status = 400, .text = text};
      return false;
    }
    // Once Beast has seen the head of the last chunk, it must also see the shortest end there is.
    constexpr std::size_t last_chunk_size = std::string_view("0\r\n\r\n").size();
    if (beast.in_chunks && beast.chunk_left == 0 && rest.size() < last_chunk_size &&
        rest.front() == '0') {
      out.need_more = true;
      return true;
    }
    const std::size_t taken = beast.put(rest, error);
    out.consumed += taken;
    const std::size_t trailers = error == beast::error::need_more ? rest.size()
                                 : beast.is_done()                ? taken
                                                                  : 0;
    if (beast.in_chunks && beast.chunk_left == 0 && trailers > limits_.line + 2 * kLineEnd) {
      fault_ = {.status = 400, .text = "the trailers are too long"};
      return false;
    }
    if (!beast.data.empty()) {
      out.data = beast.data;
      return true;
    }
    if (error == beast::error::need_more) {
      out.need_more = true;
      return true;
    }
    if (error) {
      fault_ = beast.fault ? beast.fault : ProtocolFault{.status = 400, .text = error.message()};
      return false;
    }
  }
  return true;
}

bool MessageParser::finish() {
  if (beast_->is_done()) return true;
  error_code error;
  beast_->put_eof(error);
  return !error;
}

bool MessageParser::done() const noexcept { return beast_->is_done(); }

}  // namespace fiber::http
