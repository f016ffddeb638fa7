#include <fiber/requests/auth.hpp>

#include <fiber/http/hashes.hpp>
#include <fiber/http/random.hpp>
#include <fiber/http/redirect.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>

namespace fiber::requests {
namespace {

using http::lower;
using http::strip;
using Challenge = std::map<std::string, std::string>;

// Parses `a=b, c="d, e"`, with names in lower case and without quotes.
// Python: requests.utils.parse_dict_header.
Challenge parse_dict_header(std::string_view text) {
  Challenge fields;
  for (std::size_t begin = 0; begin < text.size();) {
    bool quoted = false;
    std::size_t end = begin;
    for (; end < text.size() && (quoted || text[end] != ','); ++end) {
      if (quoted && text[end] == '\\' && end + 1 < text.size())
        ++end;
      else if (text[end] == '"')
        quoted = !quoted;
    }
    const std::string_view item = text.substr(begin, end - begin);
    begin = end + 1;
    const auto equals = item.find('=');
    if (equals == item.npos) continue;
    std::string_view value = strip(item.substr(equals + 1));
    std::string plain;
    if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
      value = value.substr(1, value.size() - 2);
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (value[i] == '\\' && i + 1 < value.size()) ++i;
        plain += value[i];
      }
    } else {
      plain = value;
    }
    fields[lower(strip(item.substr(0, equals)))] = plain;
  }
  return fields;
}

// Returns the text behind the scheme Digest, which does not begin within quotes or a word.
std::optional<std::string_view> digest_parameters(std::string_view challenges) {
  constexpr std::string_view scheme = "digest ";
  bool quoted = false;
  for (std::size_t i = 0; i < challenges.size(); ++i) {
    if (quoted && challenges[i] == '\\')
      ++i;
    else if (challenges[i] == '"')
      quoted = !quoted;
    else if (!quoted && (i == 0 || challenges[i - 1] == ' ' || challenges[i - 1] == ',') &&
             lower(challenges.substr(i, scheme.size())) == scheme)
      return challenges.substr(i + scheme.size());
  }
  return std::nullopt;
}

std::string get(const Challenge& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

std::string quoted(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text += '"';
}

std::optional<http::Hash> hash_of(const std::string& algorithm) {
  if (algorithm.empty() || algorithm == "md5" || algorithm == "md5-sess") return http::Hash::md5;
  if (algorithm == "sha") return http::Hash::sha1;
  if (algorithm == "sha-256") return http::Hash::sha256;
  if (algorithm == "sha-512") return http::Hash::sha512;
  return std::nullopt;
}

bool offers_auth(std::string_view qop) {
  while (!qop.empty())
    if (http::take_item(qop) == "auth") return true;
  return false;
}

std::string path_of(std::string_view url) {
  url = url.substr(0, url.find('#'));
  const auto authority = url.find("://");
  const auto path = url.find_first_of("/?", authority == url.npos ? 0 : authority + 3);
  if (path == url.npos) return "/";
  return (url[path] == '?' ? "/" : "") + std::string(url.substr(path));
}

}  // namespace

std::string PreparedRequest::path_url() const { return path_of(url); }

void HTTPProxyAuth::operator()(PreparedRequest& request) const {
  request.headers.set("Proxy-Authorization", http::basic_authorization({username, password}));
}

struct HTTPDigestAuth::State {
  std::string username, password;
  std::mutex mutex;  // for the members below
  Challenge challenge = {};
  std::string last_nonce = {};
  std::uint32_t nonce_count = 0;

  std::string build_digest_header(std::string_view method, std::string_view url);
};

HTTPDigestAuth::HTTPDigestAuth(std::string username, std::string password)
    : state_(new State{std::move(username), std::move(password), {}}) {}

std::string HTTPDigestAuth::State::build_digest_header(std::string_view method,
                                                       std::string_view url) {
  const std::string realm = get(challenge, "realm"), nonce = get(challenge, "nonce");
  const std::string qop = get(challenge, "qop"), opaque = get(challenge, "opaque");
  const std::string algorithm = get(challenge, "algorithm");
  const auto hash = hash_of(lower(algorithm));
  if (!hash || !challenge.contains("realm") || nonce.empty()) return {};
  const auto digest = [&](const std::string& text) { return http::hexdigest(*hash, text); };

  const std::string path = path_of(url);
  nonce_count = nonce == last_nonce ? nonce_count + 1 : 1;
  char count[9];
  std::snprintf(count, sizeof count, "%08x", static_cast<unsigned>(nonce_count));
  const std::string cnonce = http::random_hex(8);

  std::string one = digest(username + ":" + realm + ":" + password);
  if (lower(algorithm) == "md5-sess") one = digest(one + ":" + nonce + ":" + cnonce);
  const std::string two = digest(std::string(method) + ":" + path);
  std::string response;
  if (qop.empty())
    response = digest(one + ":" + nonce + ":" + two);
  else if (offers_auth(qop))
    response = digest(one + ":" + nonce + ":" + count + ":" + cnonce + ":auth:" + two);
  else
    return {};
  last_nonce = nonce;

  std::string text = "Digest username=" + quoted(username) + ", realm=" + quoted(realm) +
                     ", nonce=" + quoted(nonce) + ", uri=" + quoted(path) + ", response=\"" +
                     response + "\"";
  if (!opaque.empty()) text += ", opaque=" + quoted(opaque);
  if (!algorithm.empty()) text += ", algorithm=" + quoted(algorithm);
  if (!qop.empty())
    text += std::string(", qop=\"auth\", nc=") + count + ", cnonce=\"" + cnonce + "\"";
  return text;
}

void HTTPDigestAuth::operator()(PreparedRequest& request) const {
  const std::lock_guard lock(state_->mutex);
  if (state_->last_nonce.empty()) return;
  const std::string header = state_->build_digest_header(request.method, request.url);
  if (!header.empty()) request.headers.set("Authorization", header);
}

std::string HTTPDigestAuth::answer(std::string_view challenge, std::string_view method,
                                   std::string_view url) const {
  const auto parameters = digest_parameters(challenge);
  if (!parameters) return {};
  const std::lock_guard lock(state_->mutex);
  state_->challenge = parse_dict_header(*parameters);
  return state_->build_digest_header(method, url);
}

}  // namespace fiber::requests
