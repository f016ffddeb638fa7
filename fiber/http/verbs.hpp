// The functions that clients have for the methods of HTTP.
#pragma once

#include <string_view>
#include <utility>

namespace fiber::http {

/// The base of a client with request(method, url, options), which these functions call and whose
/// result they return.
template <class Client, class Options>
class Verbs {
 public:
  /// Sends GET, as request("GET", url, options) does.
  auto get(std::string_view url) const { return call("GET", url); }
  auto get(std::string_view url, Options options) const {
    return call("GET", url, std::move(options));
  }
  /// Follows no redirects unless `allow_redirects` is set.
  auto head(std::string_view url, Options options = {}) const {
    if (!options.allow_redirects) options.allow_redirects = false;
    return call("HEAD", url, std::move(options));
  }
  /// Sends POST; the body is `data`, `json` or, of requests, `files`.
  auto post(std::string_view url) const { return call("POST", url); }
  auto post(std::string_view url, Options options) const {
    return call("POST", url, std::move(options));
  }
  /// Sends PUT, with a body as post().
  auto put(std::string_view url) const { return call("PUT", url); }
  auto put(std::string_view url, Options options) const {
    return call("PUT", url, std::move(options));
  }
  /// Sends PATCH, with a body as post().
  auto patch(std::string_view url) const { return call("PATCH", url); }
  auto patch(std::string_view url, Options options) const {
    return call("PATCH", url, std::move(options));
  }
  /// Sends DELETE. Python: delete.
  auto delete_(std::string_view url) const { return call("DELETE", url); }
  auto delete_(std::string_view url, Options options) const {
    return call("DELETE", url, std::move(options));
  }
  /// Sends OPTIONS, and follows redirects as get() does.
  auto options(std::string_view url) const { return call("OPTIONS", url); }
  auto options(std::string_view url, Options options) const {
    return call("OPTIONS", url, std::move(options));
  }

 private:
  auto call(std::string_view method, std::string_view url) const {
    return static_cast<const Client&>(*this).request(method, url);
  }
  auto call(std::string_view method, std::string_view url, Options&& options) const {
    return static_cast<const Client&>(*this).request(method, url, std::move(options));
  }
};

}  // namespace fiber::http
