// The objects behind the response handles.
#pragma once

#include <fiber/aiohttp/web_response.hpp>
#include <fiber/http/compression.hpp>
#include <fiber/http/headers.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::aiohttp::web::detail {

class Connection;

class ResponseObject : public core::Counted<ResponseObject> {
 public:
  ResponseObject() = default;
  virtual ~ResponseObject();

  /// Sends the head, unless it was sent before.
  virtual void prepare(Request& request);
  /// Called when the handler has returned the response: sends the unsent parts.
  virtual void finish(Request& request);
  virtual void write(std::string_view data);
  virtual void write_eof(std::string_view data);
  void drain();

  /// Throws RuntimeError once the head was sent.
  void check_fresh(const char* what) const;
  bool prepared() const noexcept { return prepared_; }
  /// Ends the response with its request: later writes throw ConnectionResetError.
  virtual void leave() noexcept { connection_ = nullptr; }
  bool ended() const noexcept { return ended_; }
  Connection* connection() const noexcept { return connection_; }
  /// Whether the connection is closed after the response.
  bool closes() const noexcept { return closes_; }
  std::uint64_t sent() const noexcept { return sent_; }
  const std::string& content_type_header() const;

  int status = 200;
  std::string reason;  ///< "" for the default of the status
  CIMultiDict headers;
  std::string content_type;  ///< "" for the default; Content-Type in `headers` has priority
  std::string charset;
  std::vector<std::pair<std::string, std::string>> cookies;  ///< name, and the value of Set-Cookie
  std::optional<std::uint64_t> length;
  std::optional<bool> keep_alive;
  bool chunked = false;
  bool compresses = false;
  std::optional<ContentCoding> coding;

 protected:
  /// Appends the head. `body_size`: the size of the body, if known.
  void append_head(Request& request, std::optional<std::size_t> body_size, std::string& out);
  /// Marks the response as begun: its head is to be sent.
  void begin(Request& request);
  /// Begins the response, and returns the connection's scratch with its head.
  std::string& make_head(Request& request);
  /// For a response that was begun: throws RuntimeError unless for this request.
  void check_request(const Request& request) const;
  /// A piece of the body, framed. Does not wait.
  void send_piece(std::string_view data);
  /// Whether the status or the request's method forbids a body.
  bool bodiless(const Request& request) const noexcept;
  /// Returns a coding that the request accepts; nothing for no compression.
  ContentCoding suitable_coding(const Request& request) const;
  std::optional<http::Wrapping> choose_coding(const Request& request);

  /// Throws ConnectionResetError once the request is over.
  Connection& connection_for_writing() const;

  Connection* connection_ = nullptr;  ///< until leave()
  bool prepared_ = false;
  bool head_only_ = false;
  bool ended_ = false;
  bool closes_ = false;
  bool lengthless_ = false;  ///< no length and no chunks are announced: 304, 101
  std::uint64_t sent_ = 0;
  std::optional<std::uint64_t> left_;  ///< bytes of the announced length that are unsent
  std::optional<http::Compressor> compressor_;

 private:
  void append_status(std::string& out, int version) const;
};

class BodyResponseObject final : public ResponseObject {
 public:
  void prepare(Request& request) override;
  void write_eof(std::string_view data) override;

  std::string body;
  bool has_body = false;
};

}  // namespace fiber::aiohttp::web::detail
