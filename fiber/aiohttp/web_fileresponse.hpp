// Files as responses, and static resources. Python: aiohttp.web_fileresponse.
#pragma once

#include <fiber/aiohttp/web_response_object.hpp>
#include <fiber/aiohttp/web_urldispatcher.hpp>

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
  bool answered_by_conditions(Request& request, const struct stat& status);
  bool pick_range(Request& request, const struct stat& status, std::int64_t& start,
                  std::int64_t& count);
  void send_file(Request& request, int fd, std::int64_t start, std::int64_t count);
  void copy(int fd, std::int64_t start, std::int64_t count);

  std::string path_;
};

/// Returns the handler of files below a directory.
Handler static_handler(std::string prefix, std::string directory, StaticOptions options);

}  // namespace fiber::aiohttp::web::detail
