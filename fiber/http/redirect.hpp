// Prepares a request for sending, and turns it into the next one of a redirect. Nothing here waits
// or sends.
#pragma once

#include <fiber/http/cookies.hpp>
#include <fiber/http/outgoing.hpp>

#include <string>

namespace fiber::http {

// Puts the credentials, the URL's included, into the header, turns the method into upper case, and
// removes Content-Length, which the body decides. Throws Failure for an invalid request.
void make_ready(Outgoing& request);

// Quotes a value as http.cookies.SimpleCookie does.
std::string quote_cookie(std::string_view value);

// Returns the field Cookie: the cookies that `store`, which may be null, has for the URL, and the
// caller's own; "" for none. In requests a field of the caller's replaces all others; in aiohttp
// its cookies, and then those of `request.cookies`, replace earlier cookies of equal names.
std::string cookie_field(const Outgoing& request, CookieStore* store);

// Whether a request without a body is sent with Content-Length: 0.
bool sends_length(const Outgoing& request);

// Whether `head` is a redirect that `request` follows.
bool is_followed(const Outgoing& request, const ResponseHead& head);

// Turns `request` into the one that the redirect `head` asks for; is_followed() must hold. Drops
// the caller's credentials and cookies if the redirect leads to another origin. Throws Failure.
void follow(Outgoing& request, const ResponseHead& head);

// Throws Failure for a field that would end its line, or that a server could misread.
void check_field(const std::string& name, const std::string& value);

}  // namespace fiber::http
