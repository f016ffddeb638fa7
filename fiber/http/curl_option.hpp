// Options of libcurl's handles, checked.
#pragma once

#include <new>

#include <curl/curl.h>

namespace fiber::http {

// Options fail for lack of memory alone: the set of options is fixed and known to be supported.
template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) throw std::bad_alloc();
}

}  // namespace fiber::http
