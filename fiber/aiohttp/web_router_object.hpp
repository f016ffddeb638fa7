// The objects behind UrlDispatcher and its resources.
#pragma once

#include <fiber/aiohttp/web_urldispatcher.hpp>
#include <fiber/http/pattern.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fiber::aiohttp::web::detail {

struct ApplicationObject;

struct ResourceObject {
  enum class Kind : std::uint8_t { plain, dynamic, prefix, sub_application };
  /// A literal (quoted), or a variable.
  struct Part {
    bool variable;
    std::string text;
  };
  enum class Match : std::uint8_t { none, path, path_and_method };

  /// Throws ValueError.
  ResourceObject(std::string_view path, std::string_view its_name);

  /// Fills `info` if path and method match; if only the path does, adds the methods to `allowed`.
  Match match(std::string_view path, std::string_view method, UrlMappingMatchInfo& info,
              std::vector<std::string>& allowed) const;
  bool match_path(std::string_view path, std::vector<std::string_view>& values) const;
  const AbstractRoute* route_for(std::string_view method) const noexcept;
  void add_prefix(std::string_view prefix);
  std::string url_for(const std::map<std::string, std::string>& values) const;

  Kind kind = Kind::plain;
  std::string name;
  std::string canonical;
  std::string path;  ///< plain and prefix: quoted
  std::vector<Part> parts;
  std::vector<std::string> expressions;  ///< of the variables; "" for the default
  bool simple = true;                    ///< no expression is needed to match
  http::Pattern pattern;
  std::vector<std::unique_ptr<AbstractRoute>> routes;
  std::shared_ptr<ApplicationObject> sub;

 private:
  void parse(std::string_view text);
  void compile();
};

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>()(text);
  }
};

struct RouterObject {
  std::vector<std::unique_ptr<ResourceObject>> resources;
  /// The first plain resource of each path; all others are tried one after the other.
  std::unordered_map<std::string, std::size_t, StringHash, std::equal_to<>> plain;
  std::vector<std::size_t> others;
  bool indexed = false;
  bool frozen = false;

  void index();
};

/// Returns the path as compared: unreserved characters unescaped, others escaped in capitals.
std::string normalized_path(std::string_view raw);

}  // namespace fiber::aiohttp::web::detail
