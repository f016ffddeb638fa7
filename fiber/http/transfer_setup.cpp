#include <fiber/http/transfer.hpp>

#include <fiber/http/curl_option.hpp>
#include <fiber/http/proxy.hpp>
#include <fiber/http/redirect.hpp>

#include <algorithm>
#include <new>

#include <sys/stat.h>

namespace fiber::http {
namespace {

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

}  // namespace

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
  set_up_certificate();
  set_up_method();
  set_up_headers();
  if (shared_) set(easy, CURLOPT_SHARE, shared_->handle());
}

void Transfer::set_up_connection() {
  CURL* easy = easy_.get();
  if (request_.connect_timeout) {
    const double milliseconds = std::clamp(request_.connect_timeout->count() * 1e3, 1.0, 1e9);
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(milliseconds));
  }
  const auto given = proxy_for(request_.url, request_.proxies);
  const std::string proxy = given ? *given
                            : request_.trust_env
                                ? proxy_of_environment(request_.url, request_.rules)
                                : "";
  through_proxy_ = !proxy.empty();
  set(easy, CURLOPT_PROXY, proxy.c_str());
  if (request_.proxy_auth && through_proxy_) {
    set(easy, CURLOPT_PROXYUSERNAME, request_.proxy_auth->username.c_str());
    set(easy, CURLOPT_PROXYPASSWORD, request_.proxy_auth->password.c_str());
  }
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

void Transfer::set_up_certificate() {
  if (request_.certificate.empty()) return;
  set(easy_.get(), CURLOPT_SSLCERT, request_.certificate.c_str());
  if (!request_.key.empty()) set(easy_.get(), CURLOPT_SSLKEY, request_.key.c_str());
}

void Transfer::set_up_method() {
  CURL* easy = easy_.get();
  const std::string& method = request_.method;
  if (method == "HEAD") return set(easy, CURLOPT_NOBODY, 1L);
  if (!request_.body && !sends_length(request_)) {
    if (method != "GET") set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
    return;
  }
  set(easy, CURLOPT_POST, 1L);
  if (request_.body.source()) {
    set_up_source();
  } else {
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.bytes().size()));
    set(easy, CURLOPT_POSTFIELDS, request_.body.bytes().data());
  }
  if (method != "POST") set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
}

void Transfer::set_up_source() {
  CURL* easy = easy_.get();
  BodySource& source = *request_.body.source();
  // The first time, too: the body may have been sent by another request.
  if (!source.rewind())
    throw Failure{Failure::Kind::unrewindable,
                  "Unable to rewind request body for redirect or another try."};
  body_sent_ = 0;
  auto size = source.size();
  // Requests sends what is empty in chunks, too.
  if (size == std::uint64_t{0} && request_.rules == Rules::requests) size.reset();
  if (!size && !request_.headers.contains("Transfer-Encoding"))
    request_.headers.set("Transfer-Encoding", "chunked");
  set(easy, CURLOPT_POSTFIELDSIZE_LARGE, size ? static_cast<curl_off_t>(*size) : curl_off_t{-1});
  set(easy, CURLOPT_READFUNCTION, &Transfer::on_read);
  set(easy, CURLOPT_READDATA, this);
  set(easy, CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
  set(easy, CURLOPT_SEEKDATA, this);
}

void Transfer::set_up_headers() {
  header_list_.reset();
  const Headers& headers = request_.headers;
  for (const auto& [name, value] : headers)
    // curl's notation for a field that is there and empty
    if (!equal_ignoring_case(name, "Cookie"))
      append(header_list_, value.empty() ? name + ";" : name + ": " + value);
  if (const std::string all = cookie_field(request_, shared_ ? &shared_->cookies() : nullptr);
      !all.empty())
    append(header_list_, "Cookie: " + all);
  if (!headers.contains("Accept-Encoding"))
    append(header_list_, std::string("Accept-Encoding: ") + accepted_encodings);
  // A field without a value takes away what curl would add on its own.
  if (!headers.contains("Content-Type")) append(header_list_, "Content-Type:");
  if (!headers.contains("Expect")) append(header_list_, "Expect:");
  append(header_list_, "Proxy-Connection:");
  set(easy_.get(), CURLOPT_HTTPHEADER, header_list_.get());
}

}  // namespace fiber::http
