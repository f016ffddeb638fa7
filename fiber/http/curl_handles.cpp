#include <fiber/http/transfer.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/curl_option.hpp>

#include <cstdlib>
#include <ctime>
#include <new>
#include <stdexcept>

namespace fiber::http {
namespace {

void initialise_curl() {
  static const CURLcode code = [] {
    const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
    // It has registered the end of the TLS library, which transfers on other threads must not
    // outlive.
    core::finish_before_exit_handlers();
    return result;
  }();
  if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
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

Shared::Shared(bool keeps_cookies) {
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
  if (keeps_cookies) curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
}

Shared::~Shared() {
  curl_share_cleanup(share_);
  curl_share_cleanup(without_cookies_);
}

std::vector<std::string> Shared::cookie_lines() const {
  const Easy easy = new_easy();
  set(easy.get(), CURLOPT_SHARE, share_);
  curl_slist* lines = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_COOKIELIST, &lines);
  const Slist owner(lines);
  std::vector<std::string> all;
  for (; lines; lines = lines->next) all.emplace_back(lines->data);
  return all;
}

void Shared::add_cookie(const std::string& line) {
  const Easy easy = new_easy();
  set(easy.get(), CURLOPT_SHARE, share_);
  set(easy.get(), CURLOPT_COOKIELIST, line.c_str());
}

void Shared::clear_cookies() { add_cookie("ALL"); }

Params Shared::cookies() const {
  Params cookies;
  const std::vector<std::string> lines = cookie_lines();
  for (const std::string_view line : lines) {
    // Netscape's format: seven fields between tabs, the last three being expiry, name and value.
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

}  // namespace fiber::http
