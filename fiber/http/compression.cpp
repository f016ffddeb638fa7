#include <fiber/http/compression.hpp>

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <limits>

#include <zlib.h>

namespace fiber::http {
namespace {

int bits_of(Wrapping wrapping, int window_bits) noexcept {
  switch (wrapping) {
    case Wrapping::gzip: return window_bits + 16;
    case Wrapping::zlib: return window_bits;
    case Wrapping::raw: return -window_bits;
  }
  return window_bits;
}

Bytef* bytes(std::string_view data) noexcept {  // zlib does not write to its input
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data()));
}

uInt clamped(std::size_t size) noexcept {
  return static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
}

}  // namespace

struct Compressor::State {
  State(Wrapping wrapping, int level, int window_bits) {
    if (::deflateInit2(&stream, level, Z_DEFLATED, bits_of(wrapping, window_bits), 8,
                       Z_DEFAULT_STRATEGY) != Z_OK)
      throw MemoryError("no memory to compress with");
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ::deflateEnd(&stream); }
  z_stream stream{};
};

Compressor::Compressor(Wrapping wrapping, int level, int window_bits)
    : state_(std::make_unique<State>(wrapping, level, window_bits)) {}
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;
Compressor::~Compressor() = default;

void Compressor::run(std::string_view data, int flush, std::string& out) {
  z_stream& stream = state_->stream;
  do {
    stream.next_in = bytes(data);
    stream.avail_in = clamped(data.size());
    const bool last = stream.avail_in == data.size();
    const uInt given = stream.avail_in;
    do {
      char block[16 * 1024];
      stream.next_out = reinterpret_cast<Bytef*>(block);
      stream.avail_out = sizeof block;
      ::deflate(&stream, last ? flush : Z_NO_FLUSH);
      out.append(block, sizeof block - stream.avail_out);
    } while (stream.avail_out == 0);
    data.remove_prefix(given);
  } while (!data.empty());
}

void Compressor::feed(std::string_view data, std::string& out) {
  if (!data.empty()) run(data, Z_NO_FLUSH, out);
}
void Compressor::flush(std::string& out) { run({}, Z_SYNC_FLUSH, out); }
void Compressor::finish(std::string& out) { run({}, Z_FINISH, out); }
void Compressor::reset() { ::deflateReset(&state_->stream); }

struct Decompressor::State {
  State(Wrapping its_wrapping, int window_bits) : wrapping(its_wrapping) {
    if (::inflateInit2(&stream, bits_of(wrapping, window_bits)) != Z_OK)
      throw MemoryError("no memory to decompress with");
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ::inflateEnd(&stream); }
  z_stream stream{};
  Wrapping wrapping;
  bool ended = false;
  bool started = false;
  bool any_member = false;
};

Decompressor::Decompressor(Wrapping wrapping, int window_bits)
    : state_(std::make_unique<State>(wrapping, window_bits)) {}
Decompressor::Decompressor(Decompressor&&) noexcept = default;
Decompressor& Decompressor::operator=(Decompressor&&) noexcept = default;
Decompressor::~Decompressor() = default;

Decompressor::Result Decompressor::feed(std::string_view& data, std::string& out,
                                        std::size_t limit) {
  State& state = *state_;
  z_stream& stream = state.stream;
  for (;;) {
    if (state.ended) {
      if (data.empty()) return Result::end;
      if (state.wrapping != Wrapping::gzip) return Result::corrupt;
      ::inflateReset(&stream);  // another gzip member follows
      state.ended = false;
      state.started = false;
    }
    char block[16 * 1024];
    const std::size_t room = std::min(limit, sizeof block);
    if (room == 0) return Result::more_output;
    stream.next_in = bytes(data);
    stream.avail_in = clamped(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = static_cast<uInt>(room);
    const uInt given = stream.avail_in;
    const int result = ::inflate(&stream, Z_SYNC_FLUSH);
    const std::size_t made = room - stream.avail_out;
    if (given != stream.avail_in) state.started = true;
    data.remove_prefix(given - stream.avail_in);
    out.append(block, made);
    limit -= made;
    if (result == Z_STREAM_END) {
      state.ended = state.any_member = true;
      // A WebSocket's stream may go on behind its last block, once the caller has reset this.
      if (data.empty() || state.wrapping == Wrapping::raw) return Result::end;
      continue;
    }
    if (result == Z_MEM_ERROR) throw MemoryError("no memory to decompress with");
    if (result != Z_OK && result != Z_BUF_ERROR) return Result::corrupt;
    if (stream.avail_out != 0 && data.empty()) return Result::more_input;
    if (made == 0 && stream.avail_out != 0) return Result::corrupt;  // no progress is possible
  }
}

bool Decompressor::complete() const noexcept {
  return state_->ended || (!state_->started && state_->any_member);
}

void Decompressor::reset() {
  ::inflateReset(&state_->stream);
  state_->ended = state_->started = state_->any_member = false;
}

}  // namespace fiber::http
