#include <fiber/http/transfer.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/exceptions.hpp>

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

Shared::Shared(bool keeps_cookies) : cookies_(keeps_cookies) {
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
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

Shared::~Shared() { curl_share_cleanup(share_); }

}  // namespace fiber::http
