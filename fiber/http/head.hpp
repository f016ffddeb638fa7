// Parses the head of a response, line by line.
#pragma once

#include <fiber/http/outgoing.hpp>
#include <fiber/http/packed_headers.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace fiber::http {

// Has Python's limits: a line of 65 536 bytes and 99 fields (requests, http.client), 8 190
// bytes and 128 fields (aiohttp). All heads and trailers of one exchange: 1 MiB.
class HeadReader {
 public:
  explicit HeadReader(Rules rules) : rules_(rules) {}

  // Begins anew.
  void begin() {
    if (size_ > 0) *this = HeadReader(rules_);
  }

  // Takes one line, its end included. Returns true if the line ended the head of the final
  // response. Throws Failure (bad_response) for a line that exceeds the limits or is not HTTP.
  bool add(std::string_view line);

  const ResponseHead& head() const noexcept { return head_; }
  ResponseHead& head() noexcept { return head_; }
  bool complete() const noexcept { return complete_; }
  // Whether a status line was received whose head has not ended.
  bool in_head() const noexcept { return in_head_; }
  // Whether the last line ended an interim head, which another head follows.
  bool interim() const noexcept { return interim_; }
  // Whether version and Connection allow another exchange on the connection.
  bool keeps_alive() const noexcept { return keeps_alive_; }
  // The fields on which the client itself acts: whether the head has them.
  struct Known {
    bool chunked = false;  // by Transfer-Encoding
    bool connection = false;
    bool content_encoding = false;
    bool content_length = false;
    bool set_cookie = false;
    bool transfer_encoding = false;
  };
  const Known& known() const noexcept { return known_; }
  // The digits of Content-Length, once the head is complete.
  std::string_view content_length() const noexcept { return content_length_; }

 private:
  void status_line(std::string_view line);
  void field(std::string_view line);
  void note(std::string_view name) noexcept;
  void check_lengths();
  void check_codings();
  void check_connection();

  Rules rules_;
  ResponseHead head_;
  core::Ref<detail::PackedHeaders> fields_;  // of head_; the next line may continue the last one
  Known known_;
  std::size_t lengths_ = 0;       // how many fields Content-Length there are
  std::size_t length_place_ = 0;  // of the first one in fields_
  std::string_view content_length_;
  std::size_t size_ = 0;
  bool in_head_ = false;  // the status line was received
  bool old_ = false;      // HTTP/1.0 or older
  bool interim_ = false;
  bool keeps_alive_ = false;
  bool complete_ = false;
};

}  // namespace fiber::http
