// Files below a directory, and the names of their types.
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_fileresponse.hpp>
#include <fiber/aiohttp/web_router_object.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::aiohttp::web {

namespace {

// The types of Python's mimetypes that files on servers have, and those of fonts.
struct Type {
  std::string_view extension;
  std::string_view type;
};
constexpr Type kTypes[] = {
    {"3g2", "audio/3gpp2"},
    {"3gp", "audio/3gpp"},
    {"aac", "audio/aac"},
    {"adts", "audio/aac"},
    {"aif", "audio/x-aiff"},
    {"aiff", "audio/x-aiff"},
    {"au", "audio/basic"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bat", "text/plain"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"c", "text/plain"},
    {"csh", "application/x-csh"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"dll", "application/octet-stream"},
    {"doc", "application/msword"},
    {"dvi", "application/x-dvi"},
    {"eml", "message/rfc822"},
    {"eps", "application/postscript"},
    {"exe", "application/octet-stream"},
    {"gif", "image/gif"},
    {"h", "text/plain"},
    {"heic", "image/heic"},
    {"heif", "image/heif"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/vnd.microsoft.icon"},
    {"jpe", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"ksh", "text/plain"},
    {"latex", "application/x-latex"},
    {"m3u", "application/vnd.apple.mpegurl"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"markdown", "text/markdown"},
    {"md", "text/markdown"},
    {"mht", "message/rfc822"},
    {"mhtml", "message/rfc822"},
    {"mjs", "text/javascript"},
    {"mov", "video/quicktime"},
    {"mp2", "audio/mpeg"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpa", "video/mpeg"},
    {"mpe", "video/mpeg"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"n3", "text/n3"},
    {"nq", "application/n-quads"},
    {"nt", "application/n-triples"},
    {"o", "application/octet-stream"},
    {"obj", "application/octet-stream"},
    {"ogg", "audio/ogg"},
    {"opus", "audio/opus"},
    {"otf", "font/otf"},
    {"p12", "application/x-pkcs12"},
    {"pbm", "image/x-portable-bitmap"},
    {"pdf", "application/pdf"},
    {"pfx", "application/x-pkcs12"},
    {"pgm", "image/x-portable-graymap"},
    {"pl", "text/plain"},
    {"png", "image/png"},
    {"pnm", "image/x-portable-anymap"},
    {"ppm", "image/x-portable-pixmap"},
    {"pps", "application/vnd.ms-powerpoint"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"ps", "application/postscript"},
    {"py", "text/x-python"},
    {"pyc", "application/x-python-code"},
    {"qt", "video/quicktime"},
    {"rdf", "application/xml"},
    {"rtf", "text/rtf"},
    {"sgml", "text/x-sgml"},
    {"sh", "application/x-sh"},
    {"snd", "audio/basic"},
    {"so", "application/octet-stream"},
    {"srt", "text/plain"},
    {"svg", "image/svg+xml"},
    {"swf", "application/x-shockwave-flash"},
    {"tar", "application/x-tar"},
    {"tcl", "application/x-tcl"},
    {"tex", "application/x-tex"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"trig", "application/trig"},
    {"tsv", "text/tab-separated-values"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"vcf", "text/x-vcard"},
    {"vtt", "text/vtt"},
    {"wasm", "application/wasm"},
    {"wav", "audio/x-wav"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"wsdl", "application/xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xml", "text/xml"},
    {"xsl", "application/xml"},
    {"zip", "application/zip"},
};

}  // namespace

std::string_view guess_type(std::string_view path) noexcept {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string_view::npos || path.find('/', dot) != std::string_view::npos) return {};
  const std::string_view extension = path.substr(dot + 1);
  for (const Type& one : kTypes)
    if (http::equal_ignoring_case(one.extension, extension)) return one.type;
  return {};
}

namespace detail {
namespace {

using asyncio::detail::UniqueFd;

// Whether the path stays below the directory: no "..", no zero byte, no absolute path.
bool is_below(std::string_view name) {
  if (name.find('\0') != std::string_view::npos || name.starts_with('/')) return false;
  while (!name.empty()) {
    const std::size_t slash = name.find('/');
    if (name.substr(0, slash) == "..") return false;
    name = slash == std::string_view::npos ? std::string_view() : name.substr(slash + 1);
  }
  return true;
}

// Returns whether each entry of the opened directory is a file, and its name. The target of a link
// may be missing, part of a circle of links, or forbidden: then the entry counts as a file.
std::vector<std::pair<bool, std::string>> entries_of(UniqueFd directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), ::closedir);
  if (!stream) raise_os_error(errno, "fdopendir");
  static_cast<void>(directory.release());
  std::vector<std::pair<bool, std::string>> entries;
  for (errno = 0; const dirent* entry = ::readdir(stream.get()); errno = 0) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    const bool is_directory = entry->d_type == DT_DIR ||
                              ((entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) &&
                               ::fstatat(::dirfd(stream.get()), entry->d_name, &status, 0) == 0 &&
                               S_ISDIR(status.st_mode));
    entries.emplace_back(!is_directory, name);
  }
  if (errno != 0) raise_os_error(errno, "readdir");
  std::sort(entries.begin(), entries.end());
  return entries;
}

Response index_of(const std::string& url, const std::string& shown, UniqueFd directory) {
  const auto entries = entries_of(std::move(directory));
  std::string items;
  for (const auto& [is_file, name] : entries) {
    const std::string end = is_file ? "" : "/";
    items += "<li><a href=\"" + http::quote(url + "/" + name) + "\">" +
             http::html_escape(http::valid_utf8(name) + end) + "</a></li>\n";
  }
  const std::string title = "Index of /" + http::html_escape(shown);
  return Response({.text = "<html>\n<head>\n<title>" + title + "</title>\n</head>\n<body>\n<h1>" +
                           title + "</h1>\n<ul>\n" + items + "</ul>\n</body>\n</html>",
                   .content_type = "text/html"});
}

}  // namespace

Handler static_handler(std::string directory, StaticOptions options) {
  return [root = std::move(directory), options](Request& request) -> StreamResponse {
    const std::string name = request.match_info()["filename"];
    if (!is_below(name)) throw HTTPForbidden();
    const std::string path = root + "/" + name;
    UniqueFd fd = open_to_serve(path);
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) raise_os_error(errno, path);
    // The opened file is checked, not the name, which may have changed meanwhile.
    const std::string real = platform::path_of(fd.get(), path);
    if (!options.follow_symlinks && real != root && !real.starts_with(root + "/"))
      throw HTTPNotFound();
    if (S_ISDIR(status.st_mode)) {
      if (!options.show_index) throw HTTPForbidden();
      std::string url(request.path());
      while (url.ends_with('/')) url.pop_back();
      return index_of(url, name, std::move(fd));
    }
    if (!S_ISREG(status.st_mode)) throw HTTPNotFound();
    // For a link its target decides: the target's name gives the type, and a ".gz" is looked for
    // beside it.
    FileResponse response(real.empty() ? path : real, {.chunk_size = options.chunk_size});
    static_cast<FileResponseObject&>(response.object()).opened = fd.release();
    return response;
  };
}

}  // namespace detail

Resource UrlDispatcher::add_static(std::string_view prefix, std::string directory,
                                   StaticOptions options) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(directory, error);
  if (error || !std::filesystem::is_directory(real))
    throw ValueError("No directory exists at '" + directory + "'");
  if (object_->frozen)
    throw RuntimeError("Cannot register a resource into frozen router: the application runs");
  auto made = std::make_unique<detail::ResourceObject>(prefix, options.name);
  if (made->kind != detail::ResourceObject::Kind::plain)
    throw ValueError("the prefix of static files cannot have variables");
  made->kind = detail::ResourceObject::Kind::prefix;
  object_->resources.push_back(std::move(made));
  object_->indexed = false;
  const Resource resource(*object_->resources.back());
  const Handler handler =
      detail::static_handler(real == "/" ? std::string() : real.string(), std::move(options));
  resource.add_route("GET", handler);
  resource.add_route("HEAD", handler);
  return resource;
}

}  // namespace fiber::aiohttp::web
