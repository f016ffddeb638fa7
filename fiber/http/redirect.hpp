// What a request becomes before it is sent, and by a redirect. Nothing here waits or sends.
#pragma once

#include <fiber/http/cookies.hpp>
#include <fiber/http/outgoing.hpp>

#include <string>

namespace fiber::http {

// Puts credentials, those of the URL included, into the header, upper case into the method, and
// takes out what the length of the body decides. Throws Failure for what must not be sent.
void make_ready(Outgoing& request);

// The field Cookie: what `store`, which may be null, has for the URL, and the caller's own; "" for
// none. In requests a field of the caller's stands alone; in aiohttp it is one more source beside
// the store, and a later source goes before an earlier one that has the name, too.
std::string cookie_field(const Outgoing& request, CookieStore* store);

// Whether a request without a body says so by its length.
bool sends_length(const Outgoing& request);

// Whether `head` sends the client of `request` elsewhere.
bool is_followed(const Outgoing& request, const ResponseHead& head);

// Turns `request` into the one that `head`, for which is_followed() holds, asks for. Credentials
// and cookies of the caller stay behind when it leads to another origin. Throws Failure.
void follow(Outgoing& request, const ResponseHead& head);

// "Basic ...", the value of Authorization.
std::string basic_authorization(const BasicAuth& auth);

// Throws Failure for a field that would break out of its line, or be read as something else.
void check_field(const std::string& name, const std::string& value);

}  // namespace fiber::http
