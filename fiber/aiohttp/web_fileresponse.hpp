// Files as responses, and static resources. Python: aiohttp.web_fileresponse.
#pragma once

#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/aiohttp/web_urldispatcher.hpp>
#include <fiber/asyncio/file_descriptor.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/stat.h>

namespace fiber::aiohttp::web::detail {

class FileResponseObject final : public ResponseObject {
 public:
  explicit FileResponseObject(std::string its_path) : path_(std::move(its_path)) {}
  void prepare(Request& request) override;
  void finish(Request& request) override;

  std::size_t chunk_size = 256 * 1024;
  /// The descriptor of a file that the creator has opened and checked; -1: prepare() opens the
  /// path.
  int opened = -1;
  ~FileResponseObject() override;

 private:
  bool answered_by_conditions(Request& request, const struct stat& status, bool coded);
  bool pick_range(Request& request, const struct stat& status, std::int64_t& start,
                  std::int64_t& count);
  void send_file(Request& request, int fd, std::int64_t start, std::int64_t count);
  std::int64_t append_file(int fd, std::int64_t start, std::int64_t count, std::string& out);
  void copy(int fd, std::int64_t start, std::int64_t count);

  std::string path_;
};

/// Opens a file for reading. Throws HTTPForbidden and HTTPNotFound for what the client asked for,
/// OSError for what the server lacks.
asyncio::detail::UniqueFd open_to_serve(const std::string& path);

/// Returns the handler of files below a directory; "" is the root of the file system.
Handler static_handler(std::string directory, StaticOptions options);

}  // namespace fiber::aiohttp::web::detail
