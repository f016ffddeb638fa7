#include <fiber/http/transfer.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/proxy.hpp>
#include <fiber/http/redirect.hpp>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <new>
#include <stdexcept>

#include <sys/stat.h>

namespace fiber::http {
namespace {

void initialise_curl() {
  static const CURLcode code = [] {
    const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
    // It has registered the end of the TLS library, which transfers on other threads must not outlive.
    core::finish_before_exit_handlers();
    return result;
  }();
  if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
}

// Options fail for lack of memory alone: the set of options is fixed and known to be supported.
template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) throw std::bad_alloc();
}

void append(Slist& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (!longer) throw std::bad_alloc();
  static_cast<void>(list.release());
  list.reset(longer);
}

bool is_directory(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// RFC 9110, 9.2.2: sent twice they do what they do once.
bool is_idempotent(std::string_view method) {
  static constexpr std::string_view methods[] = {"GET",   "HEAD", "OPTIONS",
                                                 "TRACE", "PUT",  "DELETE"};
  return std::find(std::begin(methods), std::end(methods), method) != std::end(methods);
}

// Of the body of a redirect, before its connection is given up instead.
constexpr std::size_t discard_limit = 64 * 1024;

}  // namespace

Easy new_easy() {
  initialise_curl();
  Easy easy(curl_easy_init());
  if (!easy) throw std::bad_alloc();
  return easy;
}

Multi new_multi() {
  initialise_curl();
  Multi multi(curl_multi_init());
  if (!multi) throw std::bad_alloc();
  return multi;
}

std::exception_ptr error_of(CURLMcode code) noexcept {
  try {
    if (code != CURLM_OUT_OF_MEMORY)
      return std::make_exception_ptr(
          RuntimeError(std::string("libcurl: ") + curl_multi_strerror(code)));
  } catch (const std::bad_alloc&) {
    // Then that is what is told.
  }
  return std::make_exception_ptr(std::bad_alloc());
}

Shared::Shared() {
  initialise_curl();
  share_ = curl_share_init();
  without_cookies_ = curl_share_init();
  if (!share_ || !without_cookies_) {
    curl_share_cleanup(share_);
    curl_share_cleanup(without_cookies_);
    throw std::bad_alloc();
  }
  const curl_lock_function lock = [](CURL*, curl_lock_data data, curl_lock_access, void* self) {
    static_cast<Shared*>(self)->mutexes_[data].lock();
  };
  const curl_unlock_function unlock = [](CURL*, curl_lock_data data, void* self) {
    static_cast<Shared*>(self)->mutexes_[data].unlock();
  };
  for (CURLSH* share : {share_, without_cookies_}) {
    curl_share_setopt(share, CURLSHOPT_USERDATA, this);
    curl_share_setopt(share, CURLSHOPT_LOCKFUNC, lock);
    curl_share_setopt(share, CURLSHOPT_UNLOCKFUNC, unlock);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  }
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
}

Shared::~Shared() {
  curl_share_cleanup(share_);
  curl_share_cleanup(without_cookies_);
}

Params Shared::cookies() const {
  const Easy easy = new_easy();
  set(easy.get(), CURLOPT_SHARE, share_);
  curl_slist* lines = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_COOKIELIST, &lines);
  const Slist owner(lines);
  Params cookies;
  for (; lines; lines = lines->next) {
    // Netscape's format: seven fields between tabs, the last three being expiry, name and value.
    const std::string_view line = lines->data;
    const auto value = line.rfind('\t');
    const auto name = value == line.npos ? value : line.rfind('\t', value - 1);
    if (name == line.npos) continue;
    // curl keeps one that has expired until it needs the place.
    const auto expiry = line.rfind('\t', name - 1);
    const long long expires =
        std::atoll(std::string(line.substr(expiry + 1, name - expiry - 1)).c_str());
    if (expires == 0 || expires > std::time(nullptr))
      cookies.emplace_back(line.substr(name + 1, value - name - 1), line.substr(value + 1));
  }
  return cookies;
}

Transfer::Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit)
    : request_(std::move(request)),
      shared_(std::move(shared)),
      reader_(request_.rules),
      limit_(std::max<std::size_t>(limit, 1)),
      easy_(new_easy()) {
  make_ready(request_);
  first_url_ = request_.url;
  set_up();
}

void Transfer::set_up() {
  CURL* easy = easy_.get();
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PRIVATE, this);
  set(easy, CURLOPT_ERRORBUFFER, message_.data());
  set(easy, CURLOPT_URL, request_.url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // As both models do; version 2 has no reason phrases, and one paused stream stalls its siblings.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy, CURLOPT_BUFFERSIZE, 65536L);

  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_write);
  set(easy, CURLOPT_WRITEDATA, this);
  set(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  set(easy, CURLOPT_PREREQDATA, this);
  set(easy, CURLOPT_NOPROGRESS, 0L);
  set(easy, CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  set(easy, CURLOPT_XFERINFODATA, this);

  set_up_connection();
  set_up_method();
  set_up_headers();
  set_up_cookies();
}

void Transfer::set_up_connection() {
  CURL* easy = easy_.get();
  if (request_.connect_timeout) {
    const double milliseconds = std::clamp(request_.connect_timeout->count() * 1e3, 1.0, 1e9);
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(milliseconds));
  }
  const std::string proxy =
      request_.trust_env ? proxy_of_environment(request_.url, request_.rules) : "";
  through_proxy_ = !proxy.empty();
  set(easy, CURLOPT_PROXY, proxy.c_str());
  set(easy, CURLOPT_NOPROXY, "");  // curl does not look for exceptions of its own

  set(easy, CURLOPT_SSL_VERIFYPEER, request_.verify.check() ? 1L : 0L);
  set(easy, CURLOPT_SSL_VERIFYHOST, request_.verify.check() ? 2L : 0L);
  // Of the two places where curl looks for authorities, the one that is not named must go: its
  // default is the system's.
  if (const std::string& bundle = request_.verify.bundle(); !bundle.empty()) {
    if (bundle.find('\0') != bundle.npos)
      throw Failure{Failure::Kind::invalid_argument, "verify: embedded null byte in the path"};
    const bool directory = is_directory(bundle);
    set(easy, CURLOPT_CAPATH, directory ? bundle.c_str() : nullptr);
    set(easy, CURLOPT_CAINFO, directory ? nullptr : bundle.c_str());
  }
}

void Transfer::set_up_method() {
  CURL* easy = easy_.get();
  const std::string& method = request_.method;
  if (method == "HEAD") return set(easy, CURLOPT_NOBODY, 1L);
  if (method == "GET" && !request_.body) return;
  set(easy, CURLOPT_POST, 1L);
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.bytes().size()));
  set(easy, CURLOPT_POSTFIELDS, request_.body.bytes().data());
  if (method != "POST") set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
}

void Transfer::set_up_headers() {
  header_list_.reset();
  const Headers& headers = request_.headers;
  for (const auto& [name, value] : headers)
    // curl's notation for a field that is there and empty
    if (!equal_ignoring_case(name, "Cookie"))
      append(header_list_, value.empty() ? name + ";" : name + ": " + value);
  if (!headers.contains("Accept-Encoding"))
    append(header_list_, std::string("Accept-Encoding: ") + accepted_encodings);
  // A field without a value takes away what curl would add on its own.
  if (!headers.contains("Content-Type")) append(header_list_, "Content-Type:");
  if (!headers.contains("Expect")) append(header_list_, "Expect:");
  set(easy_.get(), CURLOPT_HTTPHEADER, header_list_.get());
}

// One field for all of them. In requests that of the caller stands alone; in aiohttp it is one more
// source beside the jar.
void Transfer::set_up_cookies() {
  CURL* easy = easy_.get();
  std::string cookies = request_.headers.get("Cookie");
  const bool alone = request_.rules == Rules::requests && !cookies.empty();
  if (!alone)
    for (const auto& [name, value] : request_.cookies)
      cookies.append(cookies.empty() ? "" : "; ").append(name).append("=").append(value);
  set(easy, CURLOPT_COOKIEFILE, "");  // turns the cookie engine on
  if (!cookies.empty()) set(easy, CURLOPT_COOKIE, cookies.c_str());
  // The jar must learn what comes back, and so is there from the first line of the answer on.
  cookies_wait_ = alone && shared_;
  if (shared_) set(easy, CURLOPT_SHARE, alone ? shared_->without_cookies() : shared_->handle());
}

void Transfer::header_line(std::string_view line) {
  touch();
  if (std::exchange(cookies_wait_, false)) set(easy_.get(), CURLOPT_SHARE, shared_->handle());
  if (!reader_.add(line)) return;
  ResponseHead& head = reader_.head();
  head.url = request_.url;
  if (request_.rules == Rules::aiohttp)
    head.url.resize(std::min(head.url.find('#'), head.url.size()));
  if (is_followed(request_, head)) {
    redirected_ = true;
    if (on_redirect) on_redirect();
  } else {
    std::string codings;
    for (const std::string& value : head.headers.getall("Content-Encoding"))
      codings.append(codings.empty() ? "" : ",").append(value);
    if (request_.method != "HEAD") decoder_ = make_decoder(codings, request_.rules);
    elapsed_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started_);
    has_head_ = true;
  }
  changed();
}

// A protocol that was not asked for, or that nobody here speaks: what follows is no body.
bool Transfer::is_switched() const noexcept { return has_head_ && head().status == 101; }

bool Transfer::body_bytes(std::string_view bytes) {
  touch();
  if (available() >= limit_ || !is_decoded()) {
    paused_ = true;
    return false;
  }
  if (decoder_) {
    raw_ += bytes;
    decode_more();
  } else {
    if (bytes.size() > request_.max_body_size - decoded_) {
      body_ += bytes.substr(0, request_.max_body_size - decoded_);
      decoded_ = request_.max_body_size;
      refuse_more();
    }
    body_ += bytes;
    decoded_ += bytes.size();
  }
  changed();
  return true;
}

void Transfer::refuse_more() const {
  throw Failure{
      Failure::Kind::too_large,
      "The body has more bytes than max_body_size=" + std::to_string(request_.max_body_size), 0,
      request_.url};
}

void Transfer::decode_more() {
  constexpr std::size_t at_once = 1024 * 1024;
  while (!is_decoded() && available() < limit_) {
    const std::size_t before = body_.size(), allowed = request_.max_body_size - decoded_;
    std::size_t room = std::min(limit_ - available(), at_once);
    if (allowed < room) room = allowed + 1;
    std::string_view in = raw_;
    more_ = decoder_->decode(in, body_, room);
    raw_.erase(0, raw_.size() - in.size());
    if (body_.size() - before > allowed) {
      body_.resize(before + allowed);
      refuse_more();
    }
    decoded_ += body_.size() - before;
  }
  if (over_ && is_decoded() && decoder_) {
    const auto decoder = std::move(decoder_);
    if (decoded_ > 0) decoder->finish(request_.rules);
  }
}

// Goes on with what waited for room.
void Transfer::resume() {
  if (!guarded([this] { decode_more(); })) return end();
  if (paused_ && !done_ && is_decoded() && available() < limit_ - limit_ / 2) {
    paused_ = false;
    touch();
    // Hands over at once what curl had kept, and may so pause again.
    curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
  }
}

void Transfer::set_limit(std::size_t limit) {
  limit_ = std::max<std::size_t>(limit, 1);
  resume();
}

std::string Transfer::take(std::size_t n) {
  std::string piece;
  if (n >= available() && taken_ == 0) {
    piece = std::exchange(body_, {});
  } else {
    piece = body_.substr(taken_, n);
    taken_ += piece.size();
    if (taken_ * 2 >= body_.size()) {
      body_.erase(0, taken_);
      taken_ = 0;
    }
  }
  resume();
  return piece;
}

void Transfer::finish(CURLcode code) {
  if (done_ || over_) return;
  over_ = true;
  if (is_switched()) code = CURLE_OK;
  result_ = code;
  if (is_redirected() && !failure_ && !error_) return;
  if (code == CURLE_OK && !has_head_ && !failure_ && !error_)
    failure_ = Failure{Failure::Kind::disconnected,
                       "The connection ended before the head of the response was complete", 0,
                       request_.url};
  if (code == CURLE_OK) guarded([this] { decode_more(); });
  end();
}

void Transfer::end() {
  if (std::exchange(done_, true)) return;
  // What could not be decoded is of no use to anybody.
  if (!succeeded()) {
    raw_.clear();
    more_ = false;
  }
  changed();
}

void Transfer::fail(std::exception_ptr error) noexcept {
  error_ = std::move(error);
  end();
}

bool Transfer::next_hop() noexcept {
  const bool goes_on = guarded([this] {
    ++redirects_;
    const bool too_many = request_.rules == Rules::requests
                              ? redirects_ > request_.max_redirects
                              : request_.max_redirects > 0 && redirects_ >= request_.max_redirects;
    if (too_many)
      throw Failure{Failure::Kind::too_many_redirects,
                    "Exceeded " + std::to_string(request_.max_redirects) + " redirects.", 0,
                    first_url_};
    follow(request_, head());
    easy_ = new_easy();
    reader_ = HeadReader(request_.rules);
    message_[0] = '\0';
    result_ = CURLE_OK;
    connected_ = false;
    discarded_ = 0;
    sent_ = 0;
    sendings_ = 0;
    set_up();
  });
  redirected_ = over_ = false;
  if (!goes_on) end();
  return goes_on;
}

// curl sends a request again when a connection that was kept turns out to be dead. The server may
// have read it all the same.
bool Transfer::may_send() {
  ++sendings_;
  connected_ = true;
  touch();
  if (sendings_ == 1 || (sendings_ == 2 && is_idempotent(request_.method))) return true;
  failure_ = Failure{Failure::Kind::disconnected,
                     "The server closed the connection without an answer", 0, request_.url};
  return false;
}

std::optional<Failure> Transfer::failure() const {
  if (failure_) return failure_;
  if (result_ == CURLE_OK) return std::nullopt;
  return failure_of_curl();
}

Failure Transfer::failure_of_curl() const {
  using Kind = Failure::Kind;
  const std::string text = message_[0] ? message_.data() : curl_easy_strerror(result_);
  long error_number = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &error_number);
  const auto failed = [&](Kind kind) {
    return Failure{kind, text, static_cast<int>(error_number), request_.url};
  };
  switch (result_) {
    case CURLE_COULDNT_RESOLVE_HOST: return failed(Kind::resolve);
    case CURLE_COULDNT_CONNECT: return failed(through_proxy_ ? Kind::proxy : Kind::connect);
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY: return failed(Kind::proxy);
    case CURLE_OPERATION_TIMEDOUT: return failed(Kind::connect_timeout);  // no other is set
    case CURLE_URL_MALFORMAT: return failed(Kind::invalid_url);
    case CURLE_OUT_OF_MEMORY:
      // curl says so, too, of a header line that is longer than its buffer of 100 KiB.
      if (!connected_ || has_head_) return failed(Kind::memory);
      return Failure{Kind::bad_response, "A header line is too long, or memory is used up", 0,
                     request_.url};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_PEER_FAILED_VERIFICATION: return failed(Kind::tls);
    case CURLE_BAD_FUNCTION_ARGUMENT:  // a first header line that continues another
    case CURLE_UNSUPPORTED_PROTOCOL:
      return failed(connected_ ? Kind::bad_response : Kind::invalid_schema);
    case CURLE_RECV_ERROR:
      // curl has a limit of its own for all heads together, in some versions.
      if (text.starts_with("Too large response headers")) return failed(Kind::bad_response);
      if (through_proxy_ && !connected_) return failed(Kind::proxy);
      return failed(has_head_ ? Kind::payload : Kind::disconnected);
    case CURLE_WEIRD_SERVER_REPLY: return failed(has_head_ ? Kind::payload : Kind::bad_response);
    default: return failed(has_head_ ? Kind::payload : Kind::disconnected);
  }
}

template <class Step>
bool Transfer::guarded(Step step) noexcept {
  try {
    step();
    return true;
  } catch (Failure& failure) {
    if (failure.url.empty()) failure.url = request_.url;
    failure_ = std::move(failure);
  } catch (...) {
    error_ = std::current_exception();
  }
  return false;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  const bool fine = self.guarded([&] { self.header_line({data, size * count}); });
  return fine && !self.is_switched() ? size * count : 0;
}

std::size_t Transfer::on_write(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  const std::size_t bytes = size * count;
  if (self.redirected_) {
    self.touch();
    return (self.discarded_ += bytes) <= discard_limit ? bytes : 0;
  }
  bool taken = true;
  if (!self.guarded([&] { taken = self.body_bytes({data, bytes}); })) return 0;
  return taken ? bytes : CURL_WRITEFUNC_PAUSE;
}

int Transfer::on_connected(void* pointer, char*, char*, int, int) {
  auto& self = *static_cast<Transfer*>(pointer);
  bool may_send = false;
  self.guarded([&] { may_send = self.may_send(); });
  if (!may_send) return CURL_PREREQFUNC_ABORT;
  self.changed();
  return CURL_PREREQFUNC_OK;
}

int Transfer::on_progress(void* pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent) {
  auto& self = *static_cast<Transfer*>(pointer);
  if (std::exchange(self.sent_, sent) != sent) self.touch();
  return 0;
}

}  // namespace fiber::http
