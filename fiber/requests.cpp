#include <fiber/requests.hpp>

#include <fiber/http/charset.hpp>
#include <fiber/http/transfer.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <ostream>
#include <sstream>
#include <vector>

namespace fiber::requests {
namespace {

using Clock = http::Transfer::Clock;

// How much of a streamed body may wait for its reader.
constexpr std::size_t stream_buffer = 256 * 1024;

[[noreturn]] void raise(const http::Failure& failure) {
  using Kind = http::Failure::Kind;
  std::string text = failure.text;
  if (failure.kind == Kind::connect && failure.error_number)
    text += ": " + std::string(OSError(failure.error_number, {}).what());
  if (!failure.url.empty() && failure.kind != Kind::invalid_header &&
      failure.kind != Kind::too_many_redirects)
    text += " for url: " + failure.url;
  switch (failure.kind) {
    case Kind::missing_schema: throw MissingSchema(text);
    case Kind::invalid_schema: throw InvalidSchema(text);
    case Kind::invalid_url: throw InvalidURL(text);
    case Kind::invalid_header:
    case Kind::bad_header: throw InvalidHeader(text);
    case Kind::invalid_argument: throw ValueError(text);
    case Kind::connect_timeout: throw ConnectTimeout(text);
    case Kind::proxy: throw ProxyError(text);
    case Kind::tls: throw SSLError(text);
    case Kind::payload: throw ChunkedEncodingError(text);
    case Kind::encoding:
    case Kind::too_large: throw ContentDecodingError(text);
    case Kind::too_many_redirects: throw TooManyRedirects(text);
    case Kind::memory: throw std::bad_alloc();
    case Kind::resolve:
    case Kind::connect:
    case Kind::disconnected:
    case Kind::bad_response: break;
  }
  throw ConnectionError(text);
}

std::string in_seconds(http::Seconds duration) {
  std::ostringstream out;
  out << duration.count();
  return out.str();
}

void check_timeout(const char* name, const std::optional<http::Seconds>& timeout) {
  if (timeout && !(timeout->count() > 0))
    throw ValueError("Attempted to set " + std::string(name) + " timeout to " +
                     in_seconds(*timeout) +
                     ", but the timeout cannot be set to a value less than or equal to 0.");
}

std::string encoding_of(const CaseInsensitiveDict& headers) {
  if (std::string charset = http::charset_of(headers); !charset.empty()) return charset;
  std::string type = headers.get("Content-Type");
  type.resize(std::min(type.find(';'), type.size()));
  if (type.find("text") != type.npos) return "ISO-8859-1";  // RFC 2616, which Python still follows
  return type.find("application/json") != type.npos ? "utf-8" : "";
}

Verify from_environment() {
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
    if (const char* bundle = std::getenv(name); bundle && *bundle) return bundle;
  return true;
}

}  // namespace

// What a session and the responses still being streamed from it share. Each exchange has a multi
// handle to itself, so that threads never meet in one; its connections stay in it for the next.
struct Session::Core {
  std::shared_ptr<http::Shared> shared = std::make_shared<http::Shared>();
  std::mutex mutex;
  std::vector<http::Multi> idle;

  Core() { idle.reserve(10); }  // so many are kept, and release() does not allocate

  http::Multi acquire() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return http::new_multi();
    http::Multi multi = std::move(idle.back());
    idle.pop_back();
    return multi;
  }

  void release(http::Multi multi) noexcept {
    const std::lock_guard lock(mutex);
    if (idle.size() < idle.capacity()) idle.push_back(std::move(multi));
  }
};

// An exchange in progress, driven by whoever waits for it.
class Response::Stream {
 public:
  Stream(std::shared_ptr<Session::Core> core, http::Outgoing request,
         std::optional<http::Seconds> read_timeout, std::size_t limit)
      : core_(std::move(core)),
        read_timeout_(read_timeout),
        transfer_(std::move(request), core_->shared, limit),
        multi_(core_->acquire()) {
    if (curl_multi_add_handle(multi_.get(), transfer_.easy()) != CURLM_OK) throw std::bad_alloc();
  }
  ~Stream() {
    curl_multi_remove_handle(multi_.get(), transfer_.easy());
    core_->release(std::move(multi_));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  http::Transfer& transfer() noexcept { return transfer_; }

  // Its head.
  static Response response_of(const http::Transfer& transfer) {
    const http::ResponseHead& head = transfer.head();
    Response response;
    response.status_code = head.status;
    response.reason = head.reason;
    response.url = head.url;
    for (const auto& [name, value] : head.headers)
      response.headers.set(
          name, response.headers.contains(name) ? response.headers[name] + ", " + value : value);
    response.encoding = encoding_of(response.headers);
    response.elapsed = transfer.elapsed();
    return response;
  }

  // Waits until the head is there.
  void read_head() {
    drive([this] { return transfer_.has_head(); });
  }
  // Waits for the whole body; the limit must allow for it.
  std::string read_all() {
    drive([] { return false; });
    return transfer_.take(http::unlimited);
  }
  // Up to n bytes, fewer only at the end; n = 0: what there is, at least one. "" at the end.
  std::string read(std::size_t n) {
    transfer_.set_limit(std::max(n, stream_buffer));
    const std::size_t enough = std::max<std::size_t>(n, 1);
    drive([&] { return transfer_.available() >= enough; });
    return transfer_.take(n ? n : http::unlimited);
  }

 private:
  // Lets curl work until `enough` says so or the exchange is over; throws what went wrong.
  template <class Enough>
  void drive(Enough enough) {
    transfer_.touch();
    while (!enough()) {
      if (transfer_.done()) return check();
      int running = 0;
      if (const CURLMcode code = curl_multi_perform(multi_.get(), &running); code != CURLM_OK)
        std::rethrow_exception(http::error_of(code));
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left))
        if (message->msg == CURLMSG_DONE) transfer_.finish(message->data.result);
      if (transfer_.hop_is_over()) {
        next_hop();
      } else if (!enough() && !transfer_.done()) {
        int ready = 0;
        if (const CURLMcode code =
                curl_multi_poll(multi_.get(), nullptr, 0, milliseconds_to_wait(), &ready);
            code != CURLM_OK)
          std::rethrow_exception(http::error_of(code));
        if (ready > 0) transfer_.touch();
      }
    }
  }

  void next_hop() {
    curl_multi_remove_handle(multi_.get(), transfer_.easy());
    if (transfer_.next_hop() && curl_multi_add_handle(multi_.get(), transfer_.easy()) != CURLM_OK)
      throw std::bad_alloc();
  }

  void check() const {
    if (transfer_.error()) std::rethrow_exception(transfer_.error());
    const auto failure = transfer_.failure();
    if (!failure) return;
    if (failure->kind == http::Failure::Kind::too_many_redirects)
      throw TooManyRedirects(failure->text,
                             std::make_shared<const Response>(response_of(transfer_)));
    raise(*failure);
  }

  int milliseconds_to_wait() const {
    constexpr http::Seconds at_most{60};
    if (!read_timeout_) return 60'000;
    // While connecting, curl's own timer is in charge.
    if (!transfer_.awaits_server())
      return static_cast<int>(std::min(*read_timeout_, at_most).count() * 1e3) + 1;
    const http::Seconds left = *read_timeout_ - (Clock::now() - transfer_.last_activity());
    if (left.count() <= 0)
      throw ReadTimeout("Read timed out. (read timeout=" + in_seconds(*read_timeout_) +
                        ") for url: " + transfer_.request().url);
    return static_cast<int>(std::min(left, at_most).count() * 1e3) + 1;
  }

  std::shared_ptr<Session::Core> core_;
  std::optional<http::Seconds> read_timeout_;
  http::Transfer transfer_;
  http::Multi multi_;  // last: it is not taken for a request that is refused
};

bool Response::is_redirect() const {
  static constexpr int statuses[] = {301, 302, 303, 307, 308};
  return headers.contains("Location") &&
         std::ranges::find(statuses, status_code) != std::end(statuses);
}

std::string Response::text() const { return http::decode(content, encoding); }

void Response::raise_for_status() const {
  if (status_code < 400 || status_code >= 600) return;
  const char* whose = status_code < 500 ? " Client Error: " : " Server Error: ";
  throw HTTPError(std::to_string(status_code) + whose + reason + " for url: " + url,
                  std::make_shared<const Response>(*this));
}

// Requests decodes what names no encoding from that which its zeros and marks show.
std::string Response::json_text() const {
  if (encoding.empty() && content.size() > 3)
    if (const std::string guessed = http::guess_json_utf(content); !guessed.empty())
      return http::decode(content, guessed);
  return text();
}

void Response::refuse_json(std::string_view text) { throw JSONDecodeError(http::json_fault(text)); }

http::Chunks Response::iter_content(std::size_t chunk_size) {
  if (stream_)
    return http::Chunks([stream = stream_, chunk_size] { return stream->read(chunk_size); });
  return http::Chunks([this, position = std::size_t{0}, chunk_size]() mutable {
    const std::size_t start = std::min(position, content.size());
    std::string piece = content.substr(start, chunk_size ? chunk_size : content.npos);
    position = start + piece.size();
    return piece;
  });
}

std::ostream& operator<<(std::ostream& out, const Response& response) {
  return out << "<Response [" << response.status_code << "]>";
}

Session::Session()
    : headers{{"User-Agent", "fiber-requests (libcurl/" LIBCURL_VERSION ")"}, {"Accept", "*/*"}},
      core_(std::make_shared<Core>()) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Response Session::request(std::string_view method, std::string_view url, Options options) {
  check_timeout("connect", options.timeout.connect);
  check_timeout("read", options.timeout.read);
  Params all_params = params;
  all_params.insert(all_params.end(), options.params.begin(), options.params.end());
  CaseInsensitiveDict all_headers = headers;
  all_headers.update(options.headers);
  if (!options.data && options.json) {
    if (!options.json.error().empty()) throw InvalidJSONError(options.json.error());
    if (!options.json.finite())
      throw InvalidJSONError("Out of range float values are not JSON compliant");
    options.data = Body(options.json.text(), "application/json");
  }
  const bool in_memory = !options.stream && !options.stream_to;
  try {
    auto stream = std::make_shared<Response::Stream>(
        core_,
        http::Outgoing{
            .rules = http::Rules::requests,
            .method = std::string(method),
            .url = http::prepare_url(url, all_params),
            .headers = std::move(all_headers),
            .body = std::move(options.data),
            .cookies = std::move(options.cookies),
            .auth = options.auth ? std::move(options.auth) : auth,
            .verify = options.verify                                           ? *options.verify
                      : trust_env && verify.check() && verify.bundle().empty() ? from_environment()
                                                                               : verify,
            .follow_redirects = options.allow_redirects.value_or(true),
            .max_redirects = max_redirects,
            .connect_timeout = options.timeout.connect,
            .trust_env = trust_env,
            .max_body_size = options.max_body_size ? *options.max_body_size
                                                   : max_body_size.value_or(http::unlimited),
        },
        options.timeout.read, in_memory ? http::unlimited : stream_buffer);
    stream->read_head();

    Response response = Response::Stream::response_of(stream->transfer());
    if (options.stream) {
      response.stream_ = std::move(stream);
    } else if (options.stream_to && response.ok()) {
      for (std::string piece = stream->read(0); !piece.empty(); piece = stream->read(0))
        options.stream_to(piece);
    } else {
      stream->transfer().set_limit(http::unlimited);
      response.content = stream->read_all();
    }
    return response;
  } catch (const http::Failure& failure) {
    raise(failure);
  }
}

Response Session::get(std::string_view url, Options options) {
  return request("GET", url, std::move(options));
}
Response Session::head(std::string_view url, Options options) {
  if (!options.allow_redirects) options.allow_redirects = false;
  return request("HEAD", url, std::move(options));
}
Response Session::post(std::string_view url, Options options) {
  return request("POST", url, std::move(options));
}
Response Session::put(std::string_view url, Options options) {
  return request("PUT", url, std::move(options));
}
Response Session::patch(std::string_view url, Options options) {
  return request("PATCH", url, std::move(options));
}
Response Session::delete_(std::string_view url, Options options) {
  return request("DELETE", url, std::move(options));
}
Response Session::options(std::string_view url, Options options) {
  return request("OPTIONS", url, std::move(options));
}

Params Session::cookies() const { return core_->shared->cookies(); }

void Session::close() noexcept {
  const std::lock_guard lock(core_->mutex);
  core_->idle.clear();
}

Response request(std::string_view method, std::string_view url, Options options) {
  return Session().request(method, url, std::move(options));
}

}  // namespace fiber::requests
