#include <fiber/http/transfer.hpp>

#include <fiber/concurrent/executor.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include <sys/stat.h>

namespace fiber::http {
namespace {

void initialise_curl() {
  static const CURLcode code = [] {
    const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
    // It has registered the end of the TLS library, which transfers in pools must not outlive.
    concurrent::futures::detail::finish_before_exit_handlers();
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

std::string_view trim(std::string_view text) {
  static constexpr std::string_view blank = " \t\r\n";
  const auto first = text.find_first_not_of(blank);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

// The environment's exceptions from proxies, and this machine: a proxy elsewhere reaches another.
std::string no_proxy() {
  const char* value = std::getenv("no_proxy");
  if (!value) value = std::getenv("NO_PROXY");
  std::string hosts = value ? value : "";
  if (hosts != "*") hosts += ",localhost,127.0.0.0/8,::1";
  return hosts;
}

bool is_directory(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// What would break out of its line, or be read as something else, by the server.
void check_header(const std::string& name, const std::string& value) {
  static constexpr std::string_view line_ends("\r\n\0", 3);
  const bool name_is_bad =
      name.empty() || std::any_of(name.begin(), name.end(),
                                  [](unsigned char c) { return c <= ' ' || c >= 127 || c == ':'; });
  if (name_is_bad)
    throw Failure{Failure::Kind::invalid_header, "Invalid header name: '" + name + "'"};
  if (value.find_first_of(line_ends) != value.npos || (!value.empty() && value[0] <= ' '))
    throw Failure{Failure::Kind::invalid_header,
                  "Invalid leading whitespace, reserved character(s), or return character(s) in "
                  "header value of '" +
                      name + "'"};
}

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

Shared::Shared() {
  initialise_curl();
  share_ = curl_share_init();
  if (!share_) throw std::bad_alloc();
  const curl_lock_function lock = [](CURL*, curl_lock_data data, curl_lock_access, void* self) {
    static_cast<Shared*>(self)->mutexes_[data].lock();
  };
  const curl_unlock_function unlock = [](CURL*, curl_lock_data data, void* self) {
    static_cast<Shared*>(self)->mutexes_[data].unlock();
  };
  curl_share_setopt(share_, CURLSHOPT_USERDATA, this);
  curl_share_setopt(share_, CURLSHOPT_LOCKFUNC, lock);
  curl_share_setopt(share_, CURLSHOPT_UNLOCKFUNC, unlock);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

Shared::~Shared() { curl_share_cleanup(share_); }

Params Shared::cookies() const {
  const Easy easy = new_easy();
  set(easy.get(), CURLOPT_SHARE, share_);
  curl_slist* lines = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_COOKIELIST, &lines);
  const Slist owner(lines);
  Params cookies;
  for (; lines; lines = lines->next) {
    // Netscape's format: seven fields between tabs, the last two being name and value.
    const std::string_view line = lines->data;
    const auto value = line.rfind('\t');
    const auto name = value == line.npos ? value : line.rfind('\t', value - 1);
    if (name != line.npos)
      cookies.emplace_back(line.substr(name + 1, value - name - 1), line.substr(value + 1));
  }
  return cookies;
}

Transfer::Transfer(Outgoing request, std::shared_ptr<Shared> shared, std::size_t limit)
    : request_(std::move(request)), limit_(limit), easy_(new_easy()) {
  set_up(std::move(shared));
  set_up_method();
  set_up_headers();
}

void Transfer::set_up(std::shared_ptr<Shared> shared) {
  CURL* easy = easy_.get();
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PRIVATE, this);
  set(easy, CURLOPT_ERRORBUFFER, message_.data());
  set(easy, CURLOPT_URL, request_.url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  // As both models do; version 2 has no reason phrases, and one paused stream stalls its siblings.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_ACCEPT_ENCODING, "");
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

  set(easy, CURLOPT_FOLLOWLOCATION, request_.follow_redirects ? 1L : 0L);
  set(easy, CURLOPT_MAXREDIRS, request_.max_redirects);
  if (request_.connect_timeout) {
    const double milliseconds = std::clamp(request_.connect_timeout->count() * 1e3, 1.0, 1e9);
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(milliseconds));
  }
  if (!request_.trust_env) {
    set(easy, CURLOPT_PROXY, "");
  } else {
    set(easy, CURLOPT_NOPROXY, no_proxy().c_str());
  }

  set(easy, CURLOPT_SSL_VERIFYPEER, request_.verify.check() ? 1L : 0L);
  set(easy, CURLOPT_SSL_VERIFYHOST, request_.verify.check() ? 2L : 0L);
  if (const std::string& bundle = request_.verify.bundle(); !bundle.empty())
    set(easy, is_directory(bundle) ? CURLOPT_CAPATH : CURLOPT_CAINFO, bundle.c_str());
  if (request_.auth) {
    set(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    set(easy, CURLOPT_USERNAME, request_.auth->username.c_str());
    set(easy, CURLOPT_PASSWORD, request_.auth->password.c_str());
  }

  if (shared) set(easy, CURLOPT_SHARE, shared->handle());
  shared_ = std::move(shared);
  set(easy, CURLOPT_COOKIEFILE, "");  // turns the cookie engine on
  std::string cookies;
  for (const auto& [name, value] : request_.cookies)
    cookies.append(cookies.empty() ? "" : "; ").append(name).append("=").append(value);
  if (!cookies.empty()) {
    check_header("Cookie", cookies);
    set(easy, CURLOPT_COOKIE, cookies.c_str());
  }
}

void Transfer::set_up_method() {
  CURL* easy = easy_.get();
  const std::string& method = request_.method;
  check_header(method, "");
  if (method == "HEAD") return set(easy, CURLOPT_NOBODY, 1L);
  if (method == "GET" && !request_.body) return;
  set(easy, CURLOPT_POST, 1L);
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.bytes().size()));
  set(easy, CURLOPT_POSTFIELDS, request_.body.bytes().data());
  if (method == "POST") return;
  set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
  // Where a method other than POST stays, its body does; see end_of_head() for where it does not.
  const long kept = CURL_REDIR_POST_301 | (request_.get_after_302 ? 0L : CURL_REDIR_POST_302);
  set(easy, CURLOPT_POSTREDIR, kept);
}

void Transfer::set_up_headers() {
  Headers headers = std::move(request_.headers);
  if (request_.body && !headers.contains("Content-Type") && !request_.body.content_type().empty())
    headers.set("Content-Type", request_.body.content_type());
  for (const auto& [name, value] : headers) {
    check_header(name, value);
    // curl's notation for a field that is there and empty
    append(header_list_, value.empty() ? name + ";" : name + ": " + value);
  }
  // A field without a value takes away what curl would add on its own.
  if (!headers.contains("Content-Type")) append(header_list_, "Content-Type:");
  if (!headers.contains("Expect")) append(header_list_, "Expect:");
  set(easy_.get(), CURLOPT_HTTPHEADER, header_list_.get());
  request_.headers = std::move(headers);
}

void Transfer::header_line(std::string_view line) {
  touch();
  if (has_head_) return;  // trailers of a chunked body
  if (line.starts_with("HTTP/")) {
    head_ = {};
    line = trim(line);
    const auto code = line.find(' ');
    if (code == line.npos) return;
    head_.status = std::atoi(std::string(line.substr(code + 1, 3)).c_str());
    if (const auto reason = line.find(' ', code + 1); reason != line.npos)
      head_.reason = line.substr(reason + 1);
    return;
  }
  if (trim(line).empty()) return end_of_head();
  if (const auto colon = line.find(':'); colon != line.npos)
    head_.headers.add(trim(line.substr(0, colon)), trim(line.substr(colon + 1)));
}

void Transfer::end_of_head() {
  if (head_.status < 200) return;  // 100 Continue and its like announce another head
  CURL* easy = easy_.get();
  const bool redirect =
      head_.status >= 300 && head_.status < 400 && !head_.headers.get("Location").empty();
  if (redirect && request_.follow_redirects) {
    connected_ = false;
    // curl turns a body into none by itself, but never takes back a method of ours.
    if (head_.status == 303 || (head_.status == 302 && request_.get_after_302))
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, nullptr);
    return;
  }
  const char* url = nullptr;
  curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
  head_.url = url ? url : request_.url;
  elapsed_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started_);
  has_head_ = true;
  changed();
}

bool Transfer::body_bytes(std::string_view bytes) {
  touch();
  if (available() >= limit_) {
    paused_ = true;
    return false;
  }
  body_ += bytes;
  changed();
  return true;
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
  if (paused_ && !done_ && available() * 2 < limit_) {
    paused_ = false;
    touch();
    // Hands over at once what curl had kept, and may so pause again.
    curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
  }
  return piece;
}

void Transfer::finish(CURLcode code) {
  if (done_) return;
  done_ = true;
  result_ = code;
  changed();
}

std::optional<Failure> Transfer::failure() const {
  using Kind = Failure::Kind;
  if (result_ == CURLE_OK) return std::nullopt;
  std::string text = message_[0] ? message_.data() : curl_easy_strerror(result_);
  long error_number = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &error_number);
  const auto failed = [&](Kind kind) {
    return Failure{kind, text, static_cast<int>(error_number), request_.url};
  };
  switch (result_) {
    case CURLE_COULDNT_RESOLVE_HOST: return failed(Kind::resolve);
    case CURLE_COULDNT_CONNECT: return failed(Kind::connect);
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY: return failed(Kind::proxy);
    case CURLE_OPERATION_TIMEDOUT: return failed(Kind::connect_timeout);  // no other is set
    case CURLE_URL_MALFORMAT: return failed(Kind::invalid_url);
    case CURLE_TOO_MANY_REDIRECTS:
      text = "Exceeded " + std::to_string(request_.max_redirects) + " redirects.";
      return Failure{Kind::too_many_redirects, text};
    case CURLE_BAD_CONTENT_ENCODING: return failed(Kind::encoding);
    case CURLE_OUT_OF_MEMORY: return failed(Kind::memory);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_PEER_FAILED_VERIFICATION: return failed(Kind::tls);
    case CURLE_UNSUPPORTED_PROTOCOL:
      // Either a redirect to another scheme, or an answer that is not HTTP.
      return failed(connected_ ? Kind::bad_response : Kind::invalid_schema);
    case CURLE_WEIRD_SERVER_REPLY: return failed(Kind::bad_response);
    default: return failed(has_head_ ? Kind::payload : Kind::disconnected);
  }
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  try {
    self.header_line({data, size * count});
    return size * count;
  } catch (...) {
    self.error_ = std::current_exception();
    return 0;
  }
}

std::size_t Transfer::on_write(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& self = *static_cast<Transfer*>(pointer);
  try {
    return self.body_bytes({data, size * count}) ? size * count : CURL_WRITEFUNC_PAUSE;
  } catch (...) {
    self.error_ = std::current_exception();
    return 0;
  }
}

int Transfer::on_connected(void* pointer, char*, char*, int, int) {
  auto& self = *static_cast<Transfer*>(pointer);
  self.connected_ = true;
  self.touch();
  self.changed();
  return CURL_PREREQFUNC_OK;
}

int Transfer::on_progress(void* pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent) {
  auto& self = *static_cast<Transfer*>(pointer);
  if (std::exchange(self.sent_, sent) != sent) self.touch();
  return 0;
}

}  // namespace fiber::http
