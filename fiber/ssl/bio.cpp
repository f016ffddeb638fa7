#include <fiber/ssl/bio.hpp>

#include <fiber/ssl/exceptions.hpp>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

#include <openssl/bio.h>

namespace fiber::ssl {
namespace detail {

std::size_t Bytes::take(char* to, std::size_t size) noexcept {
  const std::size_t first = std::min(size, buffer.size());
  if (first != 0) std::memcpy(to, buffer.view().data(), first);
  buffer.consume(first);
  const std::size_t second = std::min(size - first, borrowed.size());
  if (second != 0) std::memcpy(to + first, borrowed.data(), second);
  borrowed.remove_prefix(second);
  return first + second;
}

namespace {

Bytes& bytes_of(BIO* bio) noexcept { return *static_cast<Bytes*>(::BIO_get_data(bio)); }

int read_bytes(BIO* bio, char* to, std::size_t size, std::size_t* count) noexcept {
  Bytes& bytes = bytes_of(bio);
  BIO_clear_retry_flags(bio);
  *count = bytes.take(to, size);
  if (*count != 0 || size == 0) return 1;
  if (!bytes.ended) BIO_set_retry_read(bio);
  return 0;
}

int write_bytes(BIO* bio, const char* from, std::size_t size, std::size_t* count) noexcept {
  Bytes& bytes = bytes_of(bio);
  BIO_clear_retry_flags(bio);
  *count = 0;
  try {
    bytes.buffer.append({from, size});
  } catch (const std::bad_alloc&) {
    bytes.no_memory = true;
    return 0;
  }
  *count = size;
  return 1;
}

long control(BIO* bio, int command, long, void*) noexcept {
  const Bytes& bytes = bytes_of(bio);
  const auto pending = static_cast<long>(std::min<std::size_t>(bytes.pending(), LONG_MAX));
  switch (command) {
    case BIO_CTRL_EOF: return bytes.ended && pending == 0 ? 1 : 0;
    case BIO_CTRL_PENDING: return pending;
    case BIO_CTRL_FLUSH: return 1;
    default: return 0;
  }
}

int create(BIO* bio) noexcept {
  ::BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* make_method() noexcept {
  BIO_METHOD* method = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fiber bytes");
  if (method == nullptr) return nullptr;
  ::BIO_meth_set_read_ex(method, read_bytes);
  ::BIO_meth_set_write_ex(method, write_bytes);
  ::BIO_meth_set_ctrl(method, control);
  ::BIO_meth_set_create(method, create);
  return method;
}

}  // namespace

bio_st* make_bio(Bytes& bytes) noexcept {
  static const BIO_METHOD* const method = make_method();  // never freed
  BIO* bio = method != nullptr ? ::BIO_new(method) : nullptr;
  if (bio != nullptr) ::BIO_set_data(bio, &bytes);
  return bio;
}

}  // namespace detail

std::string MemoryBIO::read(std::ptrdiff_t n) const {
  const std::size_t pending = bytes_->pending();
  std::string data(n < 0 ? pending : std::min(pending, static_cast<std::size_t>(n)), '\0');
  bytes_->take(data.data(), data.size());
  return data;
}

std::size_t MemoryBIO::write(std::string_view data) const {
  if (bytes_->ended) throw SSLError("cannot write() after write_eof()");
  bytes_->keep();
  bytes_->buffer.append(data);
  return data.size();
}

}  // namespace fiber::ssl
