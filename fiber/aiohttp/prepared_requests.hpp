// The requests that a session has prepared. A request without options of its own depends on nothing
// but the session's options, which never change, its method and its URL: an equal one is prepared
// already. (Cookies are added to each.)
#pragma once

#include <fiber/aiohttp/recent_map.hpp>
#include <fiber/http/prepared.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::aiohttp::detail {

class PreparedRequests {
 public:
  std::shared_ptr<const http::Prepared> find(std::string_view method, std::string_view url) {
    const auto* found = requests_.find(Names<std::string_view>{method, url});
    return found == nullptr ? nullptr : found->second;
  }

  void keep(std::string_view method, std::string_view url,
            const std::shared_ptr<const http::Prepared>& prepared) {
    if (method.size() + url.size() > longest) return;
    if (requests_.size() >= most) requests_.clear();
    requests_.entry({std::string(method), std::string(url)}).second = prepared;
  }

 private:
  static constexpr std::size_t most = 100;
  static constexpr std::size_t longest = 1000;  // bytes

  // The key: method and URL as the caller gave them.
  template <class Text>
  struct Names {
    Text method, url;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const auto& names) const noexcept {
      return std::hash<std::string_view>()(names.url);
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const noexcept {
      return a.method == b.method && a.url == b.url;
    }
  };

  RecentMap<Names<std::string>, std::shared_ptr<const http::Prepared>, Hash, Equal> requests_;
};

}  // namespace fiber::aiohttp::detail
