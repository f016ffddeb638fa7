// A request with all that is decided before a connection is found. It never changes: equal requests
// of a session share one, and a redirect makes another.
#pragma once

#include <fiber/http/outgoing.hpp>
#include <fiber/http/route.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::http {

struct Prepared {
  // How the body is sent after the head: not at all, as bytes(), or as bytes from its source.
  enum class Sending : std::uint8_t { nothing, bytes, counted, chunked };

  // Takes a request that make_ready() has checked. Throws Failure for one that must not be sent.
  // Rewinds the source of its body.
  explicit Prepared(Outgoing&& ready);

  // Whether the request itself brings cookies.
  bool has_cookies() const noexcept { return !request.cookies.empty() || has_cookie_field; }
  // The URL of the answer: aiohttp removes the fragment.
  std::string_view answer_url() const noexcept {
    return std::string_view(request.url).substr(0, answer_url_size);
  }
  // Returns the head with a field Cookie; "" for none.
  std::string head_with(std::string_view cookies) const;

  Outgoing request;
  Route route;
  Sending sending = Sending::nothing;
  bool expects = false;           // an answer to the field Expect, before the body is sent
  bool has_cookie_field = false;  // among the request's fields
  std::string head;               // without cookies; a short body is behind it
  std::size_t cookie_place = 0;   // of the field Cookie in `head`
  std::size_t answer_url_size = 0;

 private:
  void choose_sending();
  void write_head(std::string_view target);
  void put_length();
  void put_short_body();
};

// Makes a request ready, and prepares it. Throws Failure.
std::shared_ptr<Prepared> prepare(Outgoing&& request);

}  // namespace fiber::http
