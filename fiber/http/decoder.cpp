#include <fiber/http/decoder.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include <zlib.h>
#ifdef FIBER_HTTP_BROTLI
#include <brotli/decode.h>
#endif
#ifdef FIBER_HTTP_ZSTD
#include <zstd.h>
#endif

namespace fiber::http {
namespace {

constexpr std::size_t block_size = 16 * 1024;

[[noreturn]] void broken(const char* coding, const char* why) {
  throw Failure{Failure::Kind::encoding, std::string("Received response with content-encoding: ") +
                                             coding + ", but failed to decode it (" + why + ")"};
}

// Lets `step(data, size)` write behind the end of `out`; `step` returns how many bytes it wrote.
template <class Step>
std::size_t append(std::string& out, std::size_t room, Step step) {
  const std::size_t before = out.size(), size = std::min(room, block_size);
  out.resize(before + size);
  const std::size_t written = step(out.data() + before, size);
  out.resize(before + written);
  return written;
}

// Decodes gzip, with any number of members, and deflate in both of its forms.
class Zlib : public Decoder {
 public:
  explicit Zlib(bool gzip) : gzip_(gzip) {}
  Zlib(const Zlib&) = delete;
  Zlib& operator=(const Zlib&) = delete;
  ~Zlib() override {
    if (open_) inflateEnd(&stream_);
  }

  bool decode(std::string_view& in, std::string& out, std::size_t room) override {
    while (room > 0) {
      if (ended_ || !open_) {
        if (in.empty()) return false;
        begin(in.front());
      }
      if (ignoring_) {
        in = {};
        return false;
      }
      const std::size_t before = in.size();
      int code = Z_OK;
      const std::size_t written = append(
          out, room, [&](char* data, std::size_t size) { return step(in, data, size, code); });
      room -= written;
      if (code == Z_STREAM_END) {
        ended_ = true;
        ++members_;
      } else if (code == Z_MEM_ERROR) {
        throw std::bad_alloc();
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        // Bytes behind a member that begin no member are padding.
        if (members_ == 0 || stream_.total_out > 0)
          broken(name(), stream_.msg ? stream_.msg : "a preset dictionary");
        ignoring_ = true;
      } else if (written == 0 && in.size() == before) {
        return false;
      }
    }
    return true;
  }

  void finish(Rules rules) override {
    if (rules == Rules::aiohttp && !gzip_ && open_ && !ended_) broken(name(), "it is cut off");
  }

 private:
  const char* name() const { return gzip_ ? "gzip" : "deflate"; }

  // RFC 9110 has deflate in zlib's wrapping; some servers send raw deflate.
  void begin(char first) {
    if (members_ > 0 && (!gzip_ || first != '\x1f')) {
      ignoring_ = true;
      return;
    }
    const int bits = gzip_ ? MAX_WBITS + 16 : (first & 15) == Z_DEFLATED ? MAX_WBITS : -MAX_WBITS;
    if (open_ ? inflateReset(&stream_) != Z_OK : inflateInit2(&stream_, bits) != Z_OK)
      throw std::bad_alloc();
    open_ = true;
    ended_ = false;
  }

  std::size_t step(std::string_view& in, char* data, std::size_t size, int& code) {
    const std::size_t given = std::min<std::size_t>(in.size(), 1u << 30);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(given);
    stream_.next_out = reinterpret_cast<Bytef*>(data);
    stream_.avail_out = static_cast<uInt>(size);
    code = inflate(&stream_, Z_NO_FLUSH);
    in.remove_prefix(given - stream_.avail_in);
    return size - stream_.avail_out;
  }

  z_stream stream_{};
  int members_ = 0;  // complete members
  bool gzip_;
  bool open_ = false;
  bool ended_ = false;
  bool ignoring_ = false;
};

#ifdef FIBER_HTTP_BROTLI
class Brotli : public Decoder {
 public:
  Brotli() : state_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {
    if (!state_) throw std::bad_alloc();
  }
  Brotli(const Brotli&) = delete;
  Brotli& operator=(const Brotli&) = delete;
  ~Brotli() override { BrotliDecoderDestroyInstance(state_); }

  bool decode(std::string_view& in, std::string& out, std::size_t room) override {
    while (room > 0) {
      BrotliDecoderResult result{};
      room -= append(out, room, [&](char* data, std::size_t size) {
        auto* next_in = reinterpret_cast<const std::uint8_t*>(in.data());
        auto* next_out = reinterpret_cast<std::uint8_t*>(data);
        std::size_t in_left = in.size(), out_left = size;
        result = BrotliDecoderDecompressStream(state_, &in_left, &next_in, &out_left, &next_out,
                                               nullptr);
        in.remove_prefix(in.size() - in_left);
        return size - out_left;
      });
      if (result == BROTLI_DECODER_RESULT_ERROR)
        broken("br", BrotliDecoderErrorString(BrotliDecoderGetErrorCode(state_)));
      if (result == BROTLI_DECODER_RESULT_SUCCESS) in = {};
      if (result != BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) return false;
    }
    return true;
  }

 private:
  BrotliDecoderState* state_;
};
#endif

#ifdef FIBER_HTTP_ZSTD
class Zstd : public Decoder {
 public:
  Zstd() : stream_(ZSTD_createDStream()) {
    if (!stream_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, 23);  // RFC 9659
  }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  ~Zstd() override { ZSTD_freeDStream(stream_); }

  bool decode(std::string_view& in, std::string& out, std::size_t room) override {
    while (room > 0) {
      const std::size_t before = in.size();
      // NOLINTNEXTLINE(readability-non-const-parameter): the output buffer is written to
      const std::size_t written = append(out, room, [&](char* data, std::size_t size) {
        ZSTD_inBuffer input{in.data(), in.size(), 0};
        ZSTD_outBuffer output{data, size, 0};
        const std::size_t code = ZSTD_decompressStream(stream_, &output, &input);
        if (ZSTD_isError(code)) broken("zstd", ZSTD_getErrorName(code));
        in.remove_prefix(input.pos);
        if (input.pos > 0 || output.pos > 0) ended_ = code == 0;
        return output.pos;
      });
      room -= written;
      if (written == 0 && in.size() == before) return false;
    }
    return true;
  }

  void finish(Rules) override {
    if (!ended_) broken("zstd", "it is cut off");
  }

 private:
  ZSTD_DStream* stream_;
  bool ended_ = true;
};
#endif

// Undoes two codings, first the one that was applied last.
class Chain : public Decoder {
 public:
  Chain(std::unique_ptr<Decoder> outer, std::unique_ptr<Decoder> inner)
      : outer_(std::move(outer)), inner_(std::move(inner)) {}

  bool decode(std::string_view& in, std::string& out, std::size_t room) override {
    for (;;) {
      const std::size_t before = out.size();
      std::string_view middle = middle_;
      const bool full = inner_->decode(middle, out, room);
      const std::size_t consumed = middle_.size() - middle.size();
      middle_.erase(0, consumed);
      room -= out.size() - before;
      fruitless_ = out.size() == before ? fruitless_ + consumed : 0;
      if (fruitless_ > kMostFruitless)
        throw Failure{Failure::Kind::encoding,
                      "Received a response whose nested content encodings expand without "
                      "yielding any content"};
      if (full || room == 0) return true;
      if (in.empty() && !outer_has_more_) return false;
      outer_has_more_ = outer_->decode(in, middle_, block_size);
      if (middle_.empty() && !outer_has_more_) return false;
    }
  }

  void finish(Rules rules) override {
    outer_->finish(rules);
    inner_->finish(rules);
  }

 private:
  std::unique_ptr<Decoder> outer_, inner_;
  std::string middle_;
  bool outer_has_more_ = false;
  // Bytes between the two codings since the last byte of content. A compressed stream of empty
  // members costs its sender next to nothing, and max_body_size does not count them.
  std::size_t fruitless_ = 0;
  static constexpr std::size_t kMostFruitless = std::size_t{16} * 1024 * 1024;
};

std::unique_ptr<Decoder> make_one(std::string_view coding) {
  if (equal_ignoring_case(coding, "gzip") || equal_ignoring_case(coding, "x-gzip"))
    return std::make_unique<Zlib>(true);
  if (equal_ignoring_case(coding, "deflate")) return std::make_unique<Zlib>(false);
#ifdef FIBER_HTTP_BROTLI
  if (equal_ignoring_case(coding, "br")) return std::make_unique<Brotli>();
#endif
#ifdef FIBER_HTTP_ZSTD
  if (equal_ignoring_case(coding, "zstd")) return std::make_unique<Zstd>();
#endif
  return nullptr;
}

}  // namespace

const char* const accepted_encodings =
    "gzip, deflate"
#ifdef FIBER_HTTP_BROTLI
    ", br"
#endif
#ifdef FIBER_HTTP_ZSTD
    ", zstd"
#endif
    ;

std::unique_ptr<Decoder> make_decoder(std::string_view content_encoding, Rules rules) {
  std::vector<std::unique_ptr<Decoder>> decoders;
  while (!content_encoding.empty()) {
    const std::string_view coding = take_item(content_encoding);
    if (coding.empty() || equal_ignoring_case(coding, "identity")) continue;
    if (decoders.size() == 5)
      throw Failure{Failure::Kind::encoding, "Too many content encodings in the chain: above 5"};
    decoders.push_back(make_one(coding));
    if (!decoders.back()) return nullptr;
  }
  if (rules == Rules::aiohttp && decoders.size() > 1) return nullptr;
  std::unique_ptr<Decoder> whole;
  for (; !decoders.empty(); decoders.pop_back())
    whole = whole ? std::make_unique<Chain>(std::move(whole), std::move(decoders.back()))
                  : std::move(decoders.back());
  return whole;
}

}  // namespace fiber::http
